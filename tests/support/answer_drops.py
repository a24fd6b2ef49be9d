"""Drops of answers in the shape of the public ones, small: some rows are good, some are spoilt."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dasd_assets.profile import PROJECT_ROOT, Layout, load_profile

Row = dict[str, Any]

PAGE = PROJECT_ROOT / "docs" / "bring-your-own-answers.md"
PAGES_LAYOUTS = {
    name.rstrip("*"): layout
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for name, layout in yaml.safe_load(block)["questions"]["layouts"].items()
}
"""Those that the documentation gives."""

OPEN_THOUGHTS = Layout.model_validate(PAGES_LAYOUTS["openthoughts"])
"""`conversations` of `from` and `value`."""
OPEN_R1 = Layout.model_validate(PAGES_LAYOUTS["openr1"])
"""`messages` of `role` and `content`, with a reference answer."""


def _released() -> Layout:
    """The authors' release in the shipped profile, but with the tokenizer of the tiny teacher."""
    layout = load_profile("dasd-4b-released").questions.layouts["superior-reasoning*"]
    plain = layout.model_dump(exclude_unset=True)
    plain["answers"] = {k: v for k, v in plain["answers"].items() if k != "model"}
    return Layout.model_validate(plain)


RELEASED = _released()
"""Answers as JSONL in two files, tokens and logprobs in a companion."""


def question(number: int) -> str:
    return f"What is {number} + {number + 1}?"


def parts(number: int) -> tuple[str, str]:
    reasoning = f"Ones: {number} + {number + 1} = {2 * number + 1}."
    return reasoning, f"The answer is \\boxed{{{2 * number + 1}}}."


def think(number: int) -> str:
    return "<think>\n{}\n</think>\n\n{}".format(*parts(number))


def tokens(tokenizer: Any, number: int, wire: str | None = None) -> Row:
    """Tokens as the authors' companion has them: they begin inside the analysis."""
    reasoning, answer = parts(number)
    wire = wire or (
        f"{reasoning}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>"
    )
    ids = tokenizer.encode(wire, add_special_tokens=False)
    logprobs = [-0.1 - 0.4 * (place % 3) for place in range(len(ids))]
    return {"sample_uuid": f"u{number}", "token_ids": ids, "logprobs": logprobs}


def released(folder: Path, tokenizer: Any, n: int = 12) -> Path:
    """The authors' release with n good rows a stage, and one of each way to be bad in stage 1."""
    drop = folder / "superior"
    (drop / "logprob").mkdir(parents=True)

    def row(number: int, **spoilt: Any) -> Row:
        return {
            "uuid": f"u{number}", "input": question(number), "output": think(number),
            "domain": "math", "meta": "{}", **spoilt,
        }  # fmt: skip

    def tail(number: int) -> Row:
        return tokens(tokenizer, number)

    first = [row(number) for number in range(n)]
    second = [row(number) for number in range(n, 2 * n)]
    companion = [tail(number) for number in range(2 * n)]
    bad = iter(range(900, 999))
    number = next(bad)
    first.append(row(number, output=think(number).replace("Ones", "Tens")))  # not what tokens spell
    companion.append(tail(number))
    number = next(bad)
    first.append(row(number))  # its logprobs are those after temperature and top_p
    companion.append(tail(number) | {"logprobs": [-0.001] * len(tail(number)["token_ids"])})
    number = next(bad)
    first += [row(number), row(number)]  # the same id twice
    companion.append(tail(number))
    first.append(row(next(bad)))  # no companion
    number = next(bad)
    first.append(row(number))  # two companions
    companion += [tail(number)] * 2
    number = next(bad)
    first.append(row(number))  # a logprob is missing
    companion.append(tail(number) | {"logprobs": [None, *tail(number)["logprobs"][1:]]})
    number = next(bad)
    first.append(row(number))  # fewer logprobs than tokens
    companion.append(tail(number) | {"logprobs": tail(number)["logprobs"][1:]})
    number = next(bad)
    first.append(row(number))  # tokens of another tokenizer
    companion.append(tail(number) | {"token_ids": [200_002] * len(tail(number)["token_ids"])})
    number = next(bad)
    first.append(row(number, output=" "))
    companion.append(tail(number))
    number = next(bad)
    first.append(row(number, domain="law"))
    companion.append(tail(number))
    companion.append(tail(next(bad)))  # of no answer
    for stage, rows in (("stage1", first), ("stage2", second)):
        file = drop / f"Superior-Reasoning-SFT-gpt-oss-120b-{stage}-train-data.jsonl"
        file.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    # In another order than the answers, in two files.
    companion = companion[::-1]
    for index, rows in enumerate((companion[: n // 2], companion[n // 2 :])):
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, drop / "logprob" / f"train-0000{index}.parquet", row_group_size=5)
    return drop


def open_thoughts(folder: Path, n: int = 6, answers: int = 2, first: int = 100) -> Path:
    """OpenThoughts3 in Parquet: several answers to a question; the last row has none."""
    drop = folder / "openthoughts"
    drop.mkdir(parents=True)
    rows = [
        {
            "difficulty": None if number % 2 else 7, "source": "openmath", "domain": "math",
            "conversations": [
                {"from": "human", "value": question(number)}, {"from": "gpt", "value": text},
            ],
        }
        for number in range(first, first + n)
        for text in (think(number), think(number).replace("Ones", "First, the ones"))[:answers]
    ]  # fmt: skip
    rows.append({**rows[0], "conversations": rows[0]["conversations"][:1]})
    pq.write_table(pa.Table.from_pylist(rows), drop / "train-00000-of-00001.parquet")
    return drop


def open_r1(folder: Path, n: int = 6, first: int = 200) -> Path:
    """OpenR1-Math in Parquet: one row without an answer, one whose id is there twice."""
    drop = folder / "openr1"
    (drop / "data").mkdir(parents=True)
    rows = [
        {
            "problem": question(number), "answer": str(2 * number + 1), "source": "olympiads",
            "uuid": f"u{number}",
            "messages": [
                {"role": "user", "content": question(number)},
                {"role": "assistant", "content": think(number)},
            ],
        }
        for number in range(first, first + n)
    ]  # fmt: skip
    rows.append({**rows[0], "uuid": "none", "messages": None})
    rows += [{**rows[1], "uuid": "twice"}] * 2
    pq.write_table(pa.Table.from_pylist(rows), drop / "data" / "train-00000-of-00001.parquet")
    return drop
