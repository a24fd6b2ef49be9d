"""Programs of an answer, run against the tests of its question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dasd_assets.verification.expressions import check_function, check_reference
from dasd_assets.verification.grade import Grade
from dasd_assets.verification.sandbox import Limits, run_tests

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MAX_PROGRAM_CHARACTERS: Final = 100_000
LANGUAGES: Final = {"python", "python3", "py", "py3"}
NO_PROGRAMS: Final = {
    "", "text", "txt", "plaintext", "plain", "output", "out", "stdout", "input", "stdin", "console",
    "terminal", "bash", "sh", "shell", "json", "markdown", "md", "diff", "pycon", "none",
}  # fmt: skip
"""Tags of what stands beside a program: what it reads and prints, how it is started."""

NUMBER_TOLERANCE: Final = 1e-6
SHOWN: Final = 40
_TAG: Final = re.compile(r"\{?\s*\.?([\w+#-]+)")


@dataclass(frozen=True)
class _Tests:
    """What a program must do: texts it must print for inputs, and what must be true of it.

    Each list of assertions is a test with limits of its own. The preamble runs before the program.
    """

    inputs: list[str]
    outputs: list[str]
    entry_point: str
    assertions: list[list[str]]
    preamble: str


def grade_code(answer: str, reference: Any, limits: Limits) -> Grade:
    """Run the answer's last code block against the reference's tests, all in one sandbox.

    Raises:
        ValueError: the reference is malformed.
        SandboxError: it needs a sandbox, and there is none.
    """
    is_expression = isinstance(reference, Mapping) and "function" in reference
    tests = None if is_expression else _read_tests(reference)
    if is_expression:
        check_reference(reference)
    code = last_code_block(answer)
    if code is None:
        return Grade(False, "no_code_block")
    if tests is None:
        reason, detail = check_function(code, reference)
    elif len(code) > MAX_PROGRAM_CHARACTERS:
        reason, detail = "code_too_long", f"{len(code)} characters"
    else:
        reason, detail = _run(code, tests, limits)
    return Grade(reason == "correct", reason, code, detail)


def last_code_block(text: str) -> str | None:
    """The program of an answer: the last closed block of code that is tagged as Python.

    Blocks are those of CommonMark, also in lists and quotations. Where no block is tagged with a
    programming language, it is the last one without a tag.

    Returns:
        Its text; None if there is none, or the last tagged block is in another language.
    """
    lines = text.splitlines()
    plain = None
    for token in reversed(_markdown().parse(text)):
        if token.type != "fence" or not token.map or not _is_closed(token, lines):
            continue
        tag = _TAG.match(token.info.lower())
        language = tag[1] if tag else ""
        if language in LANGUAGES:
            return token.content.strip("\n").rstrip()
        if language not in NO_PROGRAMS:
            return None
        if not language and plain is None:
            plain = token.content.strip("\n").rstrip()
    return plain


@cache
def _markdown() -> MarkdownIt:
    """Finds blocks alone; HTML is no block, as models put `<answer>` above a fence."""
    from markdown_it import MarkdownIt  # when it is used: the definitions import this module

    return MarkdownIt("commonmark").disable(["inline", "reference", "html_block"])


def _is_closed(token: Token, lines: list[str]) -> bool:
    assert token.map
    first, end = token.map
    last = lines[end - 1].lstrip(" \t>").rstrip() if end <= len(lines) else ""
    return end - first > 1 and len(last) >= len(token.markup) and set(last) == {token.markup[0]}


def _read_tests(reference: Any) -> _Tests:
    """Tests of a reference, see the module `graders`.

    Raises:
        ValueError: it has none, or not in that form.
    """
    has = reference if isinstance(reference, Mapping) else {}
    tests, assertions = has.get("tests") or [], has.get("assertions") or []
    entry_point, preamble = has.get("entry_point", ""), has.get("preamble", "")
    if isinstance(assertions, list) and not all(isinstance(one, list) for one in assertions):
        assertions = [assertions]
    is_usable = (
        (tests or assertions)
        and isinstance(tests, list)
        and all(
            isinstance(test, Mapping)
            and isinstance(test.get("input"), str)
            and isinstance(test.get("output"), str)
            for test in tests
        )
        and isinstance(assertions, list)
        and all(group and all(isinstance(one, str) for one in group) for group in assertions)
        and isinstance(entry_point, str)
        and isinstance(preamble, str)
        and bool(entry_point) == bool(assertions)
    )
    if not is_usable:
        raise ValueError(
            "code reference needs 'tests' of {'input': text, 'output': text}, or 'entry_point' and "
            f"a list 'assertions', or 'function' and 'tests'; found {str(reference)[:200]}"
        )
    return _Tests(
        [test["input"] for test in tests], [test["output"] for test in tests],
        entry_point, assertions, preamble,
    )  # fmt: skip


def _run(code: str, tests: _Tests, limits: Limits) -> tuple[str, str]:
    """Reason code and detail; the first test that fails decides. What is expected stays here."""
    jobs: list[dict[str, Any]] = [{"input": text} for text in tests.inputs]
    jobs += [{"input": "", "entry_point": tests.entry_point, "assertions": group}
             for group in tests.assertions]  # fmt: skip
    runs = run_tests(code, jobs, limits, tests.preamble)
    try:
        for number, run in enumerate(runs):
            is_assertions = number >= len(tests.inputs)
            is_only_one = is_assertions and len(tests.assertions) == 1
            name = "assertions" if is_only_one else f"test {number + 1}"
            if run.ended != "finished":
                last_line = next(reversed(run.errors.split("\n")[:-1]), "")
                failed = is_assertions and run.ended == "runtime_error"
                return "failed_test" if failed else run.ended, f"{name}: {last_line[:200]}"
            if is_assertions:
                if not run.held:
                    return "failed_test", f"{name}: not all were reached"
            elif not same_output(run.printed, tests.outputs[number]):
                printed, expected = run.printed.strip(), tests.outputs[number].strip()
                return "failed_test", (
                    f"{name}: printed {printed[:SHOWN]!r}, expected {expected[:SHOWN]!r}"
                )
    finally:
        runs.close()
    return "correct", ""


def same_output(printed: str, expected: str) -> bool:
    """Whether two outputs have the same words on the same lines.

    White space at the ends and between words does not count, nor do empty lines at the end; a
    number with a fraction may differ by 1e-6, absolutely or relatively.
    """
    left, right = (
        [line.split() for line in text.rstrip().split("\n")] for text in (printed, expected)
    )
    return left == right or (
        [len(line) for line in left] == [len(line) for line in right]
        and all(
            _same_word(a, b)
            for line, other in zip(left, right, strict=True)
            for a, b in zip(line, other, strict=True)
        )
    )


def _same_word(printed: str, expected: str) -> bool:
    if printed == expected:
        return True
    if "." not in expected and "e" not in expected.lower():
        return False
    try:
        a, b = float(printed), float(expected)
    except ValueError:
        return False
    return abs(a - b) <= NUMBER_TOLERANCE * max(1.0, abs(b))
