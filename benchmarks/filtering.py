"""Repetition rules against datatrove's Gopher repetition filter on the same text, and verification.

    python -m benchmarks.filtering [--answers 12] [--words 45000] [--rounds 3] [--programs 10]

The texts are synthetic reasoning: sentences of random words, numbers and formulas in paragraphs,
none of which repeats, so that neither filter may stop early: both must look at everything. Both
find the repetition at paragraph, line (sentence) and n-gram level. datatrove's own English word
splitter needs spaCy; here it splits at white space by `str.split`, which costs it next to nothing.

Taking apart: Harmony answers into their parts, their tokens compared with the text, and the
student's tokens counted, against the Harmony library, a join of bytes and the tokenizer's own call,
answer by answer.

Linear time is shown by texts of one and of four times the length, honest and of one endless loop.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from openai_harmony import HarmonyEncodingName, Role, load_harmony_encoding

from dasd_assets.profile import PROJECT_ROOT, load_profile
from dasd_assets.response_filtering.rules import RULES, Response
from dasd_assets.verification.graders import grade
from formats.encoding import encode_all
from formats.harmony import ANALYSIS_OPEN, FINAL_OPEN, NEXT_MESSAGE
from formats.model_format import model_format, student_format
from resources.engines.load import load_tokenizer

REPETITION = ("repeated_paragraph", "repeated_sentence", "repeated_ngram", "repeated_characters")
SETTINGS = load_profile("dasd-4b").response_filtering
PAPER_ANSWERS = 435_000
N_DIFFERENT_WORDS = 20_000
"""As many words that an answer uses as keep Gopher's n-gram fractions below their thresholds."""


def main() -> None:
    """Print characters/s of both and their ratio, times by length, and answers verified/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=12)
    parser.add_argument("--words", type=int, default=45_000, help="of one answer; about 64K tokens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--programs", type=int, default=10, help="and mathematical answers")
    arguments = parser.parse_args()
    for n_words in (arguments.words // 20, arguments.words):
        texts = [
            reasoning(n_words, seed)
            for seed in range(arguments.answers * arguments.words // n_words)
        ]
        compare(texts, n_words, arguments.rounds)
    taking_apart(arguments.answers, arguments.words // 10, arguments.rounds)
    print("\nour seconds for one answer, by length (linear: four times as much)")
    for name, make in (("honest", reasoning), ("one word", endless), ("no spaces", unbroken)):
        short, long = make(arguments.words, 0), make(4 * arguments.words, 0)
        times = [best(ours, [text], arguments.rounds) for text in (short, long)]
        print(f"{name:>10}: {times[0]:.4f} for {len(short):,} characters, {times[1]:.4f} for "
              f"{len(long):,}: {times[1] / times[0]:.1f} times")  # fmt: skip
    verification(arguments.programs)
    print(f"\npeak memory: {peak_mib():,.0f} MiB")


def compare(texts: list[str], n_words: int, rounds: int) -> None:
    """Both filters on the same texts, round by round."""
    theirs = gopher()
    n_characters = sum(map(len, texts))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):  # interleaved: the machine's noise meets both
        seconds["ours"].append(timed(ours, texts))
        seconds["theirs"].append(timed(theirs, texts))
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    print(f"\n{len(texts):,} answers of {n_words:,} words, {n_characters:,} characters, "
          f"{rounds} rounds")  # fmt: skip
    for name, values in seconds.items():
        print(f"{name:>10}: {n_characters / min(values):>14,.0f} characters/s")
    print(f"     ratio: {statistics.median(ratios):.1f} (median; {min(ratios):.1f} to "
          f"{max(ratios):.1f})")  # fmt: skip
    hours = min(seconds["ours"]) / len(texts) * PAPER_ANSWERS / 3600
    print(f"{PAPER_ANSWERS:,} such answers: {hours:.2f} hours on one core")


def ours(texts: Sequence[str]) -> None:
    """All rules of repetition; they must not find any in honest texts."""
    for text in texts:
        response = Response(text, "It is 4.", 1)
        for name in REPETITION:
            RULES[name](response, SETTINGS)


def taking_apart(n: int, n_words: int, rounds: int) -> None:
    """Both ways on the same answers, round by round."""
    models = PROJECT_ROOT / "tiny_world" / "models"
    teacher = model_format(load_tokenizer(models / "teacher"))
    student = student_format(load_tokenizer(models / "student"))
    end = f"{NEXT_MESSAGE}{FINAL_OPEN}It is 4.<|return|>"
    wires = [f"{ANALYSIS_OPEN}{reasoning(n_words, seed).strip()}{end}" for seed in range(n)]
    ids = [np.asarray(each, np.int32) for each in encode_all(teacher.tokenizer, wires)]
    spelled = teacher.token_bytes.pieces
    library = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)

    def ours() -> list[Any]:
        found = [
            teacher.format.parse(tokens, teacher.token_bytes, wire)
            for tokens, wire in zip(ids, wires, strict=True)
        ]
        return student.n_tokens([(parts.reasoning, parts.answer) for parts in found])

    def plain() -> list[Any]:
        counted = []
        for wire, tokens in zip(wires, ids, strict=True):
            read = library.encode(wire, allowed_special="all")
            parsed = library.parse_messages_from_completion_tokens(read, role=Role.ASSISTANT)
            assert b"".join(spelled[i] for i in tokens).decode() == wire
            written = student.written_text(*(message.content[0].text for message in parsed))
            counted.append(len(student.tokenizer(written)["input_ids"]) + 1)
        return counted

    assert ours() == plain()
    ratios = []
    for _ in range(rounds):
        seconds = []
        for work in (ours, plain):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    print(f"\ntaking {n} Harmony answers of {n_words:,} words apart: {n / seconds[0]:,.1f}/s, "
          f"{statistics.median(ratios):.1f} times the plain way (median; {min(ratios):.1f} to "
          f"{max(ratios):.1f})")  # fmt: skip


def gopher() -> Callable[[Sequence[str]], None]:
    """datatrove's filter with its defaults; a text that it stops at early is an error."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import GopherRepetitionFilter
    from datatrove.utils.word_tokenizers import WordTokenizer

    class AtWhiteSpace(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            raise NotImplementedError

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    words: Any = AtWhiteSpace()
    repetition = GopherRepetitionFilter(language=words)

    def run(texts: Sequence[str]) -> None:
        for text in texts:
            verdict = repetition.filter(Document(text=text, id=""))
            assert verdict is True, verdict

    return run


def verification(n: int) -> None:
    """Answers per second of each way of verification."""
    tests = {"tests": [{"input": f"{i} 1\n", "output": f"{i + 1}\n"} for i in range(10)]}
    program = "```python\nprint(sum(map(int, input().split())))\n```"
    function = {"function": "f", "tests": [[[0], 2], [[3], 8]]}
    ways: dict[str, tuple[str, str, Any]] = {
        "program in the sandbox, 10 tests": ("code", program, tests),
        "program in the sandbox, 1 test": ("code", program, {"tests": tests["tests"][:1]}),
        "function of one expression": (
            "code", "```python\ndef f(x):\n    return x * 2 + 2\n```", function,
        ),
        "expression by math-verify": ("math", r"\boxed{\frac{\sqrt{2}}{2}}", r"\frac{1}{\sqrt{2}}"),
        "plain number": ("math", r"\boxed{632}", "632"),
    }  # fmt: skip
    print("\nverification, one thread")
    for name, (domain, answer, reference) in ways.items():
        assert grade(domain, answer, reference).is_correct
        start = time.perf_counter()
        for _ in range(n):
            grade(domain, answer, reference)
        seconds = (time.perf_counter() - start) / n
        print(f"{name:>34}: {seconds * 1e3:8.2f} ms")


def reasoning(n_words: int, seed: int) -> str:
    """Sentences, formulas and paragraphs of words that occur again, as sentences do not."""
    rng = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    vocabulary = [
        "".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(N_DIFFERENT_WORDS)
    ]
    pieces: list[str] = []
    while len(pieces) < n_words:
        sentence = rng.choices(vocabulary, k=rng.randint(6, 24))
        if rng.random() < 0.3:
            sentence.append(f"${rng.choice('xyz')}_{{{rng.randint(0, 99)}}} = {rng.random():.4f}$")
        sentence[-1] += rng.choice([".", ".", "?", ".\n", ".\n\n"])
        pieces += sentence
    return " ".join(pieces)


def endless(n_words: int, seed: int) -> str:
    """One word, over and over."""
    return "wait " * n_words


def unbroken(n_words: int, seed: int) -> str:
    """One token, over and over, without a space."""
    return "haha!" * n_words


def timed(work: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work(texts)
    return time.perf_counter() - start


def best(work: Callable[[Sequence[str]], Any], texts: Sequence[str], rounds: int) -> float:
    """Least seconds of several calls."""
    return min(timed(work, texts) for _ in range(rounds))


def peak_mib() -> float:
    """Most memory the process has held (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
