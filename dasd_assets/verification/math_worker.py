"""The process that reads and compares mathematical expressions, to be killed when it hangs.

It is started by `math_workers.py`. One JSON request per line on stdin, one JSON reply per line on
stdout. Memory and, per request, processor time are limited by the kernel, so that a worker whose
starter has died does not run on.

math-verify reads the expressions and compares sets, intervals, equations and matrices; two numbers
in them are compared here, as it rounds to six decimals.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

# It is started isolated, so that no folder of the caller stands among its modules.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dasd_assets.verification.exact_numbers import (
    RELATIVE_TOLERANCE,
    Number,
    rational,
    same_number,
)

MEMORY_BYTES = 2 << 30
SPARE_CPU_SECONDS = 5
DIGITS = 60
"""Irrational numbers are evaluated to that many digits, and must agree in all but a few."""


def main() -> None:
    """Answer requests until stdin is closed."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the libraries print must not stand among the replies
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    import math_verify.grader  # it takes a second, once

    math_verify.grader.sympy_numeric_eq = _same_value

    _say(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        most = math.ceil(used + request["seconds"]) + SPARE_CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
        _say(replies, _compare(request["reference"], request["answer"]))


def _say(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _compare(reference: str, answer: str) -> dict[str, Any]:
    from math_verify import verify

    expected = _expressions(reference)
    if not expected:
        return {"verdict": "unusable_reference"}
    found = _expressions(answer)
    if not found:
        return {"verdict": "not_an_expression"}
    try:
        # The library's own time limit is a signal, which a long computation in C does not see.
        is_equal = verify(expected, found, timeout_seconds=None)
    except (Exception, RecursionError, MemoryError) as error:
        return {"verdict": "not_comparable", "detail": type(error).__name__}
    return {"verdict": "correct" if is_equal else "not_equal"}


def _expressions(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    try:
        return list(
            parse(
                rf"\boxed{{{text}}}",
                # Its other way of reading takes the last number out of any text.
                [LatexExtractionConfig()],
                fallback_mode="no_fallback",
                parsing_timeout=None,
            )
        )
    except (Exception, RecursionError, MemoryError):
        return []


def _same_value(gold: Any, found: Any, float_rounding: int, numeric_precision: int) -> bool:
    """In place of the library's comparison, which rounds: see `same_number`."""
    from sympy import MatrixBase

    gold, found = _evaluated(gold), _evaluated(found)
    if isinstance(gold, MatrixBase) or isinstance(found, MatrixBase):
        return (
            isinstance(gold, MatrixBase)
            and isinstance(found, MatrixBase)
            and gold.shape == found.shape
            and all(
                _same_value(one, other, float_rounding, numeric_precision)
                for one, other in zip(gold.flat(), found.flat(), strict=True)
            )
        )
    one, other = _number(gold), _number(found)
    if one is not None and other is not None:
        return same_number(one, other)
    difference = _without_floats(gold) - _without_floats(found)
    if difference.free_symbols:
        return bool(difference.expand() == 0)
    size = abs(_without_floats(gold).evalf(DIGITS))
    error = abs(difference.evalf(DIGITS, maxn=4 * DIGITS))
    if not (size.is_comparable and error.is_comparable):
        return False
    is_decimal = one is not None and one.is_decimal
    tolerance = float(RELATIVE_TOLERANCE) if is_decimal else 10.0 ** (10 - DIGITS)
    return bool(error <= size * tolerance)


def _evaluated(value: Any) -> Any:
    try:
        return value.doit()
    except Exception:
        return value


def _number(value: Any) -> Number | None:
    """A rational or a decimal with its places; None for anything else."""
    from sympy import Float, Rational

    if isinstance(value, Rational):
        return rational(Fraction(int(value.p), int(value.q)))
    if isinstance(value, Float):
        exact = rational(Fraction(str(value)))
        return Number(exact.value, exact.places, is_decimal=True)
    return None


def _without_floats(value: Any) -> Any:
    from sympy import Float, Rational

    return value.xreplace({one: Rational(str(one)) for one in value.atoms(Float)})


if __name__ == "__main__":
    main()
