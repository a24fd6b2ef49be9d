r"""Rows of public evaluation sets as questions: one small function a format.

What models are asked is the question with the instructions that are usual for its set: think step
by step, and box the answer. The question alone is what training questions are compared with, so
that instructions which many training questions share contaminate none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dasd_assets.questions.benchmarks.livecodebench import program_prompt, program_reference
from dasd_assets.questions.reading.row_fields import integer_or_text, text_of
from dasd_assets.questions.reading.unusable import UnusableRowError
from dasd_assets.verification.exact_numbers import read_number

BOXED: Final = r"Please reason step by step, and put your final answer within \boxed{}."
BOXED_LETTER: Final = (
    "Please reason step by step, and put the letter of the right option, and nothing else, within "
    r"\boxed{}."
)
LETTERS: Final = "ABCD"
_AIME_ANSWER: Final = re.compile(r"0*(\d{1,3})(?:\^\{?\\circ\}?)?")


@dataclass(frozen=True)
class BenchmarkQuestion:
    """One question of an evaluation set.

    Attributes:
        question: the question alone.
        prompt: what a model is asked.
        answer: the reference, as the domain's grader takes it.
    """

    domain: str
    question: str
    prompt: str
    answer: Any


def aime(row: Mapping[str, Any], seed: int) -> BenchmarkQuestion:
    """A problem of the AIME; the answer is an integer from 0 to 999."""
    problem = text_of(row, "problem", "Problem", "question")
    answer = integer_or_text(row, "answer", "Answer")
    found = _AIME_ANSWER.fullmatch(answer)
    if found is None:
        raise UnusableRowError("no_aime_answer", f"{answer!r} is no integer from 0 to 999")
    return _mathematics(problem, str(int(found[1])))


def math_500(row: Mapping[str, Any], seed: int) -> BenchmarkQuestion:
    """A problem of MATH-500; the answer is LaTeX."""
    return _mathematics(text_of(row, "problem"), text_of(row, "answer"))


def gsm8k(row: Mapping[str, Any], seed: int) -> BenchmarkQuestion:
    """A word problem of GSM8K; the answer stands behind the last `####` of its solution."""
    solution = text_of(row, "answer")
    _, mark, answer = solution.rpartition("####")
    number = answer.strip().replace(",", "").removeprefix("$").removesuffix(".")
    if not mark or read_number(number) is None:
        raise UnusableRowError("no_gsm8k_answer", f"no number behind ####: {solution[-80:]!r}")
    return _mathematics(text_of(row, "question"), number)


def gpqa(row: Mapping[str, Any], seed: int) -> BenchmarkQuestion:
    """A question of GPQA with its four options in an order that hash and seed give."""
    stem = text_of(row, "Question")
    right = text_of(row, "Correct Answer")
    wrong = [text_of(row, f"Incorrect Answer {number}") for number in (1, 2, 3)]
    if right in wrong:
        raise UnusableRowError("ambiguous_options", f"{right!r} is right and wrong")
    options = sorted([right, *wrong], key=lambda option: _order(seed, stem, option))
    lettered = [f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return BenchmarkQuestion(
        domain="science",
        # The same whatever the seed: it names the question.
        question="\n".join([stem, *sorted(options)]),
        prompt="\n\n".join([stem, "\n".join(lettered), BOXED_LETTER]),
        answer=LETTERS[options.index(right)],
    )


def livecodebench(row: Mapping[str, Any], seed: int) -> BenchmarkQuestion:
    """A programming problem of LiveCodeBench with its public and its hidden tests."""
    return BenchmarkQuestion(
        domain="code",
        question=text_of(row, "question_content"),
        prompt=program_prompt(row),
        answer=program_reference(row),
    )


FORMATS: Final[Mapping[str, Callable[[Mapping[str, Any], int], BenchmarkQuestion]]] = {
    "aime": aime,
    "gpqa": gpqa,
    "gsm8k": gsm8k,
    "livecodebench": livecodebench,
    "math_500": math_500,
}
"""`format` of the profile -> what makes a question of a row; the second argument is the seed.

Raises UnusableRowError for a row that it cannot use."""


def _mathematics(problem: str, answer: str) -> BenchmarkQuestion:
    return BenchmarkQuestion("math", problem, f"{problem}\n\n{BOXED}", answer)


def _order(seed: int, stem: str, option: str) -> bytes:
    return hashlib.sha256("\x1f".join([str(seed), stem, option]).encode()).digest()
