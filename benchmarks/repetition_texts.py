"""Labelled texts for the repetition rules: what honest answers repeat, and what loops are like.

Made from a seed, so that there are many of each kind; no text is copied from a data set.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PER_KIND: Final = 12


@dataclass(frozen=True)
class LabelledText:
    """A text with what it is.

    Attributes:
        kind: of text.
        text: reasoning.
        rules: those that must fire, any of them; empty for an honest text.
    """

    kind: str
    text: str
    rules: frozenset[str] = frozenset()


def _prose(random_: random.Random, n: int) -> str:
    """Sentences that are all different."""
    subjects = "the sum,this term,our bound,the area,that ratio,the second root,a divisor,the limit"
    verbs = "equals,exceeds,divides,approaches,comes to,is close to,differs from,replaces"
    ends = "as we saw,so we go on,by the lemma,which is odd,after all,in this case,and that is it"
    pick = random_.choice
    return " ".join(
        f"{pick(['So', 'Now', 'Then', 'Hence', 'But', 'Here'])} {pick(subjects.split(','))} "
        f"{pick(verbs.split(','))} {random_.randint(2, 99999)}, {pick(ends.split(','))}."
        for _ in range(n)
    )


def _table(r: random.Random) -> str:
    word = r.choice(["no", "yes", "0", "x", "-"])
    return "\n".join(f"| {i} |" + f" {word} |" * 3 for i in range(1, r.randint(12, 60)))


def _truth_table(r: random.Random) -> str:
    n = r.randint(4, 6)
    rows = (f"{i:0{n}b}" for i in range(2**n))
    return "\n".join("| " + " | ".join(row) + f" | {row.count('1') % 2} |" for row in rows)


def _identity(r: random.Random) -> str:
    n = r.randint(8, 16)
    rows = (" & ".join(str(int(i == j)) for j in range(n)) for i in range(n))
    return "\\begin{pmatrix}\n" + " \\\\\n".join(rows) + "\n\\end{pmatrix}"


def _bare_identity(r: random.Random) -> str:
    n = r.randint(9, 16)
    return "\n".join(" ".join(str(int(i == j)) for j in range(n)) for i in range(n))


def _zeros(r: random.Random) -> str:
    n = r.randint(6, 11)
    return "\\begin{bmatrix}\n" + " \\\\\n".join([" & ".join("0" * n)] * n) + "\n\\end{bmatrix}"


def _code(r: random.Random) -> str:
    cases = "\n".join(
        f"    if value == {i} and not seen[{i}]:\n        result = result + 1\n"
        "        seen = mark(seen, value, result)\n        continue to the next value"
        for i in range(r.randint(8, 30))
    )
    return f"```python\nfor value in values:\n{cases}\n```"


def _drafts(r: random.Random) -> str:
    code = (
        f"```python\ndef f(n):\n    return sum(i * i for i in range(n)) + {r.randint(1, 99)}\n```"
    )
    return "\n\n".join(f"{_prose(r, 2)}\n\n{code}" for _ in range(r.randint(4, 7)))


def _cases(r: random.Random) -> str:
    name, mod = r.choice("nkmx"), r.randint(3, 9)
    return "\n".join(
        f"For {name} = {i}: {i} squared is {i * i}, which is not divisible by {mod} without a rest."
        for i in range(1, r.randint(14, 60))
    )


def _list(r: random.Random) -> str:
    mark = r.choice(["- ", "* ", "{}. ", "({}) ", "{}) "])
    return "\n".join(
        f"{mark.format(i)}the number {i * 7} is not a prime and not a square"
        for i in range(12, r.randint(30, 70))
    )


def _aligned(r: random.Random) -> str:
    lines = " \\\\\n".join(
        f"a_{{{i + 1}}} &= 2 a_{{{i}}} + 3 = 2 \\cdot {i} + 3 = {2 * i + 3}"
        for i in range(r.randint(12, 40))
    )
    return f"\\begin{{aligned}}\n{lines}\n\\end{{aligned}}"


def _trace(r: random.Random) -> str:
    return "\n".join(
        f"i = {i}, the stack is empty, push {r.randint(0, 99)} and go to the right child"
        for i in range(r.randint(12, 50))
    )


def _numbers(r: random.Random) -> str:
    return "\n".join(
        " ".join(str(r.choice([0, 0, 0, 0, 1])) for _ in range(20)) for _ in range(r.randint(8, 20))
    )


def _interjections(r: random.Random) -> str:
    return " ".join(f"Wait. {_prose(r, 1)} Hmm. So." for _ in range(r.randint(20, 80)))


def _chinese(r: random.Random) -> str:
    return "".join(f"第{i}步得到{r.randint(10, 9999)}，于是" for i in range(r.randint(20, 60)))


def _json(r: random.Random) -> str:
    rows = ",\n".join(
        f'  {{"id": {i}, "name": "n{r.randint(1, 999)}", "ok": true, "tags": [ ], "next": null }}'
        for i in range(r.randint(12, 30))
    )
    return f"```json\n[\n{rows}\n]\n```"


HONEST: Final[dict[str, Callable[[random.Random], str]]] = {
    "prose": lambda r: _prose(r, r.randint(20, 200)), "table": _table, "truth table": _truth_table,
    "identity matrix": _identity, "matrix without marks": _bare_identity, "zero matrix": _zeros,
    "code": _code, "drafts of code": _drafts, "cases": _cases, "list": _list,
    "aligned equations": _aligned, "trace": _trace, "rows of numbers": _numbers,
    "interjections": _interjections, "Chinese": _chinese, "JSON": _json,
}  # fmt: skip


def _sentence(r: random.Random) -> str:
    return r.choice([
        "But wait, let me check that again from the start.",
        "Hmm, this does not look right, so let us try once more.",
        "Actually, the answer must be the one that we had before.",
        "I think we should recompute the whole sum with more care.",
    ])  # fmt: skip


def _words(r: random.Random) -> str:
    return r.choice(["wait", "no", "so then", "the the", "and we", "again and again", "0", "ok,"])


def _row(r: random.Random) -> str:
    return r.choice(["| 3 | no | no | no |", "| x | 0 | 1 | 0 |", "| total | 5 | 5 | 5 |"])


_N = "repeated_ngram"
LOOPING: Final[dict[str, tuple[str, Callable[[random.Random], str]]]] = {
    "words": (_N, lambda r: (_words(r) + " ") * r.randint(100, 3000)),
    "sentence": ("repeated_sentence", lambda r: (_sentence(r) + " ") * r.randint(12, 400)),
    "two sentences": ("repeated_sentence", lambda r: f"{_sentence(r)} {_prose(r, 1)} " * 30),
    "line": ("repeated_sentence", lambda r: (_sentence(r) + "\n") * r.randint(12, 400)),
    "paragraph": ("repeated_paragraph", lambda r: f"{_prose(r, 3)}\n\n" * r.randint(5, 60)),
    "long paragraph": ("repeated_paragraph", lambda r: f"{_prose(r, 40)}\n\n" * r.randint(4, 9)),
    "characters": ("repeated_characters", lambda r: r.choice(["ha", "=-", "abc", "1,"]) * 900),
    "Chinese": (_N, lambda r: r.choice(["我们再想想看", "不对", "等一下，"]) * r.randint(60, 900)),
    "emoji": (_N, lambda r: r.choice("🙂🎉✅🔥") * r.randint(1200, 3000)),
    "row of a table": (_N, lambda r: (_row(r) + "\n") * r.randint(60, 900)),
    "line in code": (
        _N,
        lambda r: "```python\n" + f"total = total + value[{r.randint(0, 9)}] if value else 0 + 1\n"
        * r.randint(90, 600) + "```",
    ),
    "one line in code": (_N, lambda r: "```\n" + "x = x + 1; " * r.randint(200, 900) + "\n```"),
    "item of a list": (_N, lambda r: f"- {_sentence(r)}\n" * r.randint(60, 400)),
    "open code": (_N, lambda r: "```python\n" + "print(a, b, c, d)\n" * r.randint(200, 900)),
    "phrase in new sentences": (
        _N,
        lambda r: " ".join(
            f"{r.randint(1, 9**9)} {r.choice('abcdefgh')} but it is still not clear to me why that"
            for _ in range(40)
        ),
    ),
    "matrix without an end": (_N, lambda r: "\\begin{pmatrix}\n" + "0 & 0 & 0 & 0 \\\\\n" * 400),
}  # fmt: skip


def labelled_texts(seed: int = 0) -> list[LabelledText]:
    """Honest and looping texts, PER_KIND of each kind; each in prose that repeats nothing."""
    random_ = random.Random(seed)

    def within(text: str) -> str:
        return f"{_prose(random_, 8)}\n\n{text.strip()}\n\n{_prose(random_, 8)}"

    texts = [LabelledText(kind, within(make(random_)))
             for kind, make in HONEST.items() for _ in range(PER_KIND)]  # fmt: skip
    texts += [LabelledText(kind, within(make(random_)), frozenset({rule}))
              for kind, (rule, make) in LOOPING.items() for _ in range(PER_KIND)]  # fmt: skip
    return texts
