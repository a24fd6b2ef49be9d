"""Functions of one returned expression, evaluated without running any code.

The tiny world's programs are of this kind. simpleeval reads the expression under limits, a thousand
times faster than a sandbox starts.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final

MAX_CODE_CHARACTERS: Final = 2_000
MAX_CODE_NODES: Final = 200
MAX_INTEGER_BITS: Final = 512
MAX_ITEMS: Final = 20_000


class _RejectedError(Exception):
    """Model code that is outside the allowed subset; the message is the reason code."""


def check_reference(reference: Mapping[str, Any]) -> None:
    """Raise ValueError unless a reference is of the form that `check_function` takes."""
    tests = reference.get("tests")
    if (
        not isinstance(reference.get("function"), str)
        or not isinstance(tests, list)
        or not tests
        or not all(
            isinstance(test, list) and len(test) == 2 and isinstance(test[0], list)
            for test in tests
        )
    ):
        raise ValueError(
            "code reference needs 'function' and 'tests' of [[arguments, ...], expected], found "
            f"{str(dict(reference))[:200]}"
        )


def check_function(code: str, reference: Mapping[str, Any]) -> tuple[str, str]:
    """Evaluate the only function of the code on the reference's test cases.

    Args:
        reference: `{"function": name, "tests": [[arguments, expected], ...]}`.

    Returns:
        Reason code, `correct` when every test holds, and the detail.
    """
    try:
        parameters, expression = _read_function(code, str(reference["function"]))
        for arguments, expected in reference["tests"]:
            if len(arguments) != len(parameters):
                raise _RejectedError("wrong_parameters")
            value = _evaluate(expression, dict(zip(parameters, arguments, strict=True)))
            if isinstance(value, bool) != isinstance(expected, bool) or value != expected:
                return "failed_test", f"{arguments}: found {value!r}, expected {expected!r}"
    except _RejectedError as rejection:
        return str(rejection), ""
    return "correct", ""


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
        is_too_large = n_items * times > MAX_ITEMS
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
