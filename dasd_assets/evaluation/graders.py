r"""Graders: is a final answer right, by the rules of its domain.

`grade` takes the text of the final channel (what follows `</think>`) and the reference as it
came with the question. Model text is never executed and never trusted: whatever cannot be read
is a wrong answer with a reason, not an exception. References:

- `math`: the expected number as a string; the answer's last `\boxed{...}` is compared.
- `code`: `{"function": name, "tests": [[args, expected], ...]}`; one function with one returned
  expression is read from the last code block and evaluated by simpleeval under limits.
- `science`: the letter of the right option.
- `instruction_following`: the exact text, or `{"constraints": [{"type": ..., ...}, ...]}` with
  the types of `CONSTRAINTS`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

MAX_ANSWER_CHARACTERS: Final = 20_000
MAX_CODE_CHARACTERS: Final = 2_000
MAX_CODE_NODES: Final = 200
MAX_NUMBER_CHARACTERS: Final = 100
MAX_INTEGER_BITS: Final = 512

_CODE_BLOCK: Final = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_BOXED: Final = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_STATED_LETTER: Final = re.compile(r"\banswer\b(?:\s+is|\s*:)?\s*\(?([A-Z])\b", re.IGNORECASE)
_LONE_LETTER: Final = re.compile(r"^\W*([A-Z])\W*$")
_NUMBERED_LINE: Final = re.compile(r"^\s*(\d{1,6})[.)]\s+(.*?)\s*$")


@dataclass(frozen=True)
class Grade:
    """The verdict on one answer.

    Attributes:
        is_correct: whether the answer meets the reference.
        reason: a short code: `correct`, or what is wrong.
        extracted: the part of the answer that was judged; None when there was none.
    """

    is_correct: bool
    reason: str
    extracted: str | None = None


class _RejectedError(Exception):
    """Model code that is outside the allowed subset; the message is the reason code."""


def grade(domain: str, answer: str, reference: Any) -> Grade:
    """Judge an answer's final text against the reference of its question.

    Raises:
        ValueError: the domain has no grader, or the reference is malformed. Text in `answer`
            never raises.
    """
    if domain not in GRADERS:
        raise ValueError(f"no grader for domain {domain!r}; known: {', '.join(sorted(GRADERS))}")
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return Grade(False, "answer_too_long")
    if not answer.strip():
        return Grade(False, "empty_answer")
    return GRADERS[domain](answer, reference)


def grade_math(answer: str, reference: Any) -> Grade:
    """Compare the last boxed number with the reference, by value."""
    expected = _number(str(reference))
    if expected is None:
        raise ValueError(f"math reference must be a number, found {reference!r}")
    boxed = _BOXED.findall(answer)
    if not boxed:
        return Grade(False, "no_boxed_answer")
    extracted = boxed[-1].strip()
    number = _number(extracted)
    if number is None:
        return Grade(False, "not_a_number", extracted)
    is_correct = number == expected
    return Grade(is_correct, "correct" if is_correct else "wrong_number", extracted)


def _number(text: str) -> Decimal | None:
    """A finite decimal number, thousands separated by commas or not; None for anything else."""
    plain = text.strip().strip("$").strip().rstrip(".")
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", plain):
        plain = plain.replace(",", "")
    if len(plain) > MAX_NUMBER_CHARACTERS or not re.fullmatch(r"[+-]?\d+(\.\d+)?", plain, re.ASCII):
        return None
    try:
        return Decimal(plain)
    except InvalidOperation:
        return None


def grade_science(answer: str, reference: Any) -> Grade:
    """Compare the last letter that is stated as the answer."""
    expected = str(reference).strip().upper()
    if not re.fullmatch(r"[A-Z]", expected):
        raise ValueError(f"science reference must be one letter, found {reference!r}")
    stated = _STATED_LETTER.findall(answer) or _LONE_LETTER.findall(answer)
    if not stated:
        return Grade(False, "no_option_stated")
    extracted = stated[-1].upper()
    is_correct = extracted == expected
    return Grade(is_correct, "correct" if is_correct else "wrong_option", extracted)


def grade_code(answer: str, reference: Any) -> Grade:
    """Evaluate the answer's function on the reference's test cases."""
    if not isinstance(reference, Mapping) or not {"function", "tests"} <= set(reference):
        raise ValueError(f"code reference needs 'function' and 'tests', found {reference!r}")
    blocks = _CODE_BLOCK.findall(answer)
    if not blocks:
        return Grade(False, "no_code_block")
    code = blocks[-1].strip()
    try:
        parameters, expression = _read_function(code, str(reference["function"]))
        for arguments, expected in reference["tests"]:
            if len(arguments) != len(parameters):
                raise _RejectedError("wrong_parameters")
            value = _evaluate(expression, dict(zip(parameters, arguments, strict=True)))
            if isinstance(value, bool) != isinstance(expected, bool) or value != expected:
                return Grade(False, "failed_test", code)
    except _RejectedError as rejection:
        return Grade(False, str(rejection), code)
    return Grade(True, "correct", code)


_ALLOWED_NODES: Final = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.IfExp,
    ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.Not, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd, ast.Eq, ast.NotEq, ast.Lt, ast.LtE,
    ast.Gt, ast.GtE, ast.List, ast.Tuple, ast.Subscript, ast.Slice,
)  # fmt: skip


def _read_function(code: str, name: str) -> tuple[list[str], ast.expr]:
    """Parameter names and the returned expression of the only function in the code."""
    if len(code) > MAX_CODE_CHARACTERS:
        raise _RejectedError("code_too_long")
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _RejectedError("syntax_error") from None
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        raise _RejectedError("not_a_single_function")
    function = tree.body[0]
    if function.name != name:
        raise _RejectedError("wrong_function_name")
    arguments = function.args
    has_extras = (
        arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults
        or arguments.posonlyargs or function.decorator_list
    )  # fmt: skip
    if has_extras:
        raise _RejectedError("wrong_parameters")
    body = function.body
    if len(body) == 2 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]  # a docstring does no harm
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        raise _RejectedError("not_a_single_return")
    expression = body[0].value
    nodes = list(ast.walk(expression))
    if len(nodes) > MAX_CODE_NODES or not all(isinstance(n, _ALLOWED_NODES) for n in nodes):
        raise _RejectedError("expression_not_allowed")
    return [argument.arg for argument in arguments.args], expression


def _evaluate(expression: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an allowed expression, by simpleeval with tighter bounds than its own."""
    from simpleeval import EvalWithCompoundTypes, InvalidExpression

    evaluator = EvalWithCompoundTypes(names=names, functions={})
    evaluator.operators |= {
        ast.Mult: _bounded_multiply,
        ast.Mod: _bounded_modulo,
        ast.Pow: _bounded_power,
    }
    failures = (
        InvalidExpression, ArithmeticError, TypeError, ValueError, LookupError,
        RecursionError, MemoryError,
    )  # fmt: skip
    try:
        value = evaluator.eval("", previously_parsed=expression)
    except failures:
        raise _RejectedError("evaluation_failed") from None
    return list(value) if isinstance(value, tuple) else value


def _bounded_multiply(a: Any, b: Any) -> Any:
    """Multiplication that keeps numbers and sequences small (simpleeval bounds only texts)."""
    if isinstance(a, int) and isinstance(b, int):
        is_too_large = a.bit_length() + b.bit_length() > MAX_INTEGER_BITS
    else:
        n_items = max(len(v) if isinstance(v, (str, list, tuple)) else 0 for v in (a, b))
        times = next((v for v in (a, b) if isinstance(v, int)), 0)
        is_too_large = n_items * times > MAX_ANSWER_CHARACTERS
    if is_too_large:
        raise OverflowError("product too large")
    return a * b


def _bounded_modulo(a: Any, b: Any) -> Any:
    """Remainder of numbers only: on a text, % would format, to any width."""
    if not isinstance(a, (int, float)):
        raise TypeError("% is for numbers")
    return a % b


def _bounded_power(a: Any, b: Any) -> Any:
    """Power whose result stays small."""
    if isinstance(a, int) and isinstance(b, int) and a.bit_length() * abs(b) > MAX_INTEGER_BITS:
        raise OverflowError("power too large")
    return a**b


def grade_instruction_following(answer: str, reference: Any) -> Grade:
    """Check every constraint in order; the first that is broken is the reason."""
    text = answer.strip()
    if isinstance(reference, str):
        is_correct = text == reference.strip()
        return Grade(is_correct, "correct" if is_correct else "not_exact", text)
    constraints = reference.get("constraints") if isinstance(reference, Mapping) else None
    if not isinstance(constraints, list) or not constraints:
        raise ValueError(
            "instruction_following reference must be a text or have a non-empty list "
            f"'constraints', found {reference!r}"
        )
    lines = [line.rstrip() for line in text.splitlines()]
    for constraint in constraints:
        kind = constraint.get("type") if isinstance(constraint, Mapping) else None
        if not isinstance(kind, str) or kind not in CONSTRAINTS:
            raise ValueError(
                f"unknown constraint {json.dumps(constraint, default=str)}; "
                f"known types: {', '.join(sorted(CONSTRAINTS))}"
            )
        remaining = CONSTRAINTS[kind](lines, constraint)
        if remaining is None:
            return Grade(False, f"broken_{kind}", text)
        lines = remaining
    if any(line.strip() for line in lines):
        return Grade(False, "more_than_asked", text)
    return Grade(True, "correct", text)


# A constraint takes the lines that are left and returns those it does not account for, or None
# when it is broken.
Lines = list[str]


def _last_line(lines: Lines, constraint: Mapping[str, Any]) -> Lines | None:
    return lines[:-1] if lines and lines[-1].strip() == constraint["value"] else None


def _items(lines: Lines, constraint: Mapping[str, Any]) -> Lines | None:
    items = [item.strip() for item in " ".join(lines).strip().split(constraint["separator"])]
    return [] if items == list(constraint["values"]) else None


def _numbered_lines(lines: Lines, constraint: Mapping[str, Any]) -> Lines | None:
    matches = [_NUMBERED_LINE.match(line) for line in lines if line.strip()]
    found = [(int(m[1]), m[2]) if m else None for m in matches]
    return [] if found == list(enumerate(constraint["values"], start=1)) else None


CONSTRAINTS: Final[Mapping[str, Callable[[Lines, Mapping[str, Any]], Lines | None]]] = {
    "last_line": _last_line,
    "items": _items,
    "numbered_lines": _numbered_lines,
}

GRADERS: Final[Mapping[str, Callable[[str, Any], Grade]]] = {
    "math": grade_math,
    "code": grade_code,
    "science": grade_science,
    "instruction_following": grade_instruction_following,
}
