r"""Graders: is a final answer right, by the rules of its domain.

`grade` takes the text of the final channel (what follows `</think>`) and the reference as it
came with the question. Model text is never trusted: whatever cannot be read is a wrong answer with
a reason, not an exception, and it is executed in a sandbox or not at all. References:

- `math`: a number or an expression, plain or in LaTeX; the answer's last `\boxed{...}` is compared
  by value.
- `code`: `{"tests": [{"input": text, "output": text}, ...]}` for a program that reads standard
  input; `{"entry_point": name, "assertions": ["assert name(1) == 2", ...]}` for a function or
  class (each list of assertions, where there are several, is a test with limits of its own); both
  together; in each a `preamble` may stand, which runs before the program; or `{"function": name,
  "tests": [[arguments, expected], ...]}` for one function with one returned expression, which is
  evaluated and never run. Judged is the last code block.
- `science`: the letter of the right option; the last one that is boxed or stated as the answer is
  compared.
- `instruction_following`: the exact text, or `{"constraints": [{"type": ..., ...}, ...]}` with
  the types of `dasd_assets.verification.instructions.CONSTRAINTS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa

from dasd_assets.profile import Verification
from dasd_assets.verification.grade import Grade
from dasd_assets.verification.instructions import grade_instruction_following
from dasd_assets.verification.math_answers import grade_math
from dasd_assets.verification.options import grade_option
from dasd_assets.verification.programs import grade_code
from dasd_assets.verification.sandbox import Limits, check_sandbox

MAX_ANSWER_CHARACTERS: Final = 200_000
DEFAULT_SETTINGS: Final = Verification()


def grade(
    domain: str, answer: str, reference: Any, settings: Verification = DEFAULT_SETTINGS
) -> Grade:
    """Judge an answer's final text against the reference of its question.

    Raises:
        ValueError: the domain has no grader, or the reference is malformed. Text in `answer`
            never raises.
        SandboxError: the answer is a program, and this machine has no sandbox to run it in.
    """
    if domain not in GRADERS:
        raise ValueError(f"no grader for domain {domain!r}; known: {', '.join(sorted(GRADERS))}")
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return Grade(False, "answer_too_long")
    if not answer.strip():
        return Grade(False, "empty_answer")
    return GRADERS[domain](answer, reference, settings)


def check_reference(domain: str, reference: Any) -> None:
    """Raise ValueError unless the grader of a domain can use a reference; no program is run."""
    if domain != "math":
        grade(domain, "?", reference)
        return
    itself = grade(domain, rf"\boxed{{{reference}}}", reference)
    if not itself.is_correct:
        raise ValueError(f"no answer could be right: {itself.reason} for the reference itself")


def require_sandbox(questions: pa.Table) -> None:
    """Refuse to begin where programs are to be run and cannot be.

    Args:
        questions: their columns `domain` and `answer`.

    Raises:
        SandboxError: a question needs a sandbox, and this machine has none; says what to do.
    """
    for domain, answer in zip(questions["domain"], questions["answer"], strict=True):
        # Read one by one, up to the first that needs one: tests can take 100 MB.
        reference = json.loads(answer.as_py()) if domain.as_py() == "code" else None
        if isinstance(reference, Mapping) and "function" not in reference:
            check_sandbox()
            return


def _math(answer: str, reference: Any, settings: Verification) -> Grade:
    return grade_math(answer, reference, settings.math_seconds)


def _code(answer: str, reference: Any, settings: Verification) -> Grade:
    limits = Limits(cpu_seconds=settings.code_seconds, memory_mib=settings.code_memory_mib)
    return grade_code(answer, reference, limits)


GRADERS: Final[Mapping[str, Callable[[str, Any, Verification], Grade]]] = {
    "math": _math,
    "code": _code,
    "science": lambda answer, reference, _: grade_option(answer, reference),
    "instruction_following": lambda answer, reference, _: grade_instruction_following(
        answer, reference
    ),
}
