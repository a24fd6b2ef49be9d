"""Problems of LiveCodeBench: what is asked, and the tests that a program must pass.

The hidden tests are stored as JSON, or as base64 of zlib of a pickled text that holds JSON. Nothing
is ever unpickled: the pickle's instructions are listed, and only those that spell one text are
accepted.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from dasd_assets.questions.reading.row_fields import text_of
from dasd_assets.questions.reading.unusable import UnusableRowError

MAX_TEST_BYTES: Final = 1 << 30
"""Of one problem's hidden tests when unpacked: a few bytes could stand for any number."""

_TEXTS: Final = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_HARMLESS: Final = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}

_MODULES: Final = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random",
    "statistics", "itertools", "functools", "operator", "io", "sys", "json", "typing",
)  # fmt: skip
PREAMBLE: Final = "\n".join(
    [
        *(f"from {module} import *" for module in _MODULES),
        "from builtins import *",
        *(f"import {module}" for module in _MODULES),
        "sys.setrecursionlimit(50_000)",
    ]
)
"""Runs before the program: the benchmark gives names of the standard library to programs that
forget to import them, and deep recursion."""

_STANDARD_INPUT: Final = (
    "Write a Python program that reads the input from standard input and writes the answer to "
    "standard output. Do not test it on the examples. Put the whole program into one code block:"
    "\n\n```python\n# YOUR CODE HERE\n```"
)
_STARTER_CODE: Final = (
    "Complete the starter code. Put the whole solution, the starter code with it, into one code "
    "block:\n\n```python\n{starter_code}\n```"
)


def contest_day(row: Mapping[str, Any]) -> date:
    """The day of the contest that a problem comes from.

    Raises:
        UnusableRowError: there is none, or it is no ISO date.
    """
    value = row.get("contest_date")
    text = value.isoformat() if isinstance(value, date) else text_of(row, "contest_date")
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise UnusableRowError("wrong_type", f"contest_date: {text!r} is no ISO date") from None


def program_prompt(row: Mapping[str, Any]) -> str:
    """The problem with how the program is to be given."""
    starter_code = row.get("starter_code") or ""
    request = _STARTER_CODE.format(starter_code=starter_code) if starter_code else _STANDARD_INPUT
    return f"{text_of(row, 'question_content')}\n\n{request}"


def program_reference(row: Mapping[str, Any]) -> dict[str, Any]:
    """All tests of a problem, public and hidden, as the grader of programs takes them.

    Raises:
        UnusableRowError: a test cannot be read, or the tests are of several kinds.
    """
    tests = _tests("public_test_cases", text_of(row, "public_test_cases"))
    hidden = text_of(row, "private_test_cases")
    tests += _tests("private_test_cases", hidden if hidden[0] in "[{" else _unpacked(hidden))
    if not tests:
        raise UnusableRowError("no_tests", "neither public nor private tests")
    kinds = {str(test.get("testtype")) for test in tests}
    if kinds == {"stdin"}:
        return {
            "preamble": PREAMBLE,
            "tests": [{"input": test["input"], "output": test["output"]} for test in tests],
        }
    if kinds == {"functional"}:
        return _functional(row, tests)
    raise UnusableRowError("unknown_tests", f"testtype: {', '.join(sorted(kinds))}")


def _functional(row: Mapping[str, Any], tests: list[dict[str, Any]]) -> dict[str, Any]:
    """Tests that call a function, each an assertion with limits of its own."""
    metadata = _json("metadata", text_of(row, "metadata"))
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name.isidentifier():
        raise UnusableRowError("unknown_tests", f"functional tests of the function {name!r}")
    is_method = "class Solution" in (row.get("starter_code") or "")
    called = f"candidate().{name}" if is_method else "candidate"
    assertions = []
    for test in tests:
        lines = test["input"].split("\n")
        for part in (*lines, test["output"]):
            _json("functional test", part)
        arguments = f"[{', '.join(lines)}]"
        # Through JSON and back, so that a tuple is as good as a list.
        assertions.append(
            [
                "import json\n"
                f"assert json.loads(json.dumps({called}(*json.loads({arguments!r})))) == "
                f"json.loads({test['output']!r})"
            ]
        )
    entry_point = "Solution" if is_method else name
    return {"preamble": PREAMBLE, "entry_point": entry_point, "assertions": assertions}


def _tests(column: str, text: str) -> list[dict[str, Any]]:
    tests = _json(column, text)
    is_usable = isinstance(tests, list) and all(
        isinstance(test, dict)
        and isinstance(test.get("input"), str)
        and isinstance(test.get("output"), str)
        for test in tests
    )
    if not is_usable:
        raise UnusableRowError(
            "unreadable_tests", f"{column}: expected a list of tests with input and output"
        )
    return list(tests)


def _json(column: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableRowError("unreadable_tests", f"{column}: no JSON: {error}") from None


def _unpacked(packed: str) -> str:
    """The JSON of hidden tests that are base64 of zlib of a pickled text."""
    try:
        unzip = zlib.decompressobj()
        pickled = unzip.decompress(base64.b64decode(packed, validate=True), MAX_TEST_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise UnusableRowError("unreadable_tests", f"private_test_cases: {error}") from None
    if not unzip.eof:
        raise UnusableRowError(
            "unreadable_tests", f"private_test_cases: cut off, or over {MAX_TEST_BYTES} bytes"
        )
    return pickled_text(pickled)


def pickled_text(pickled: bytes) -> str:
    """The text of a pickle that holds one text and nothing else; it is not unpickled.

    Raises:
        UnusableRowError: it has any other instruction.
    """
    try:
        listed = [(step.name, argument) for step, argument, _ in pickletools.genops(pickled)]
    except ValueError as error:
        raise UnusableRowError("unreadable_tests", f"private_test_cases: {error}") from None
    forbidden = [name for name, _ in listed if name not in _TEXTS | _HARMLESS]
    texts = [str(argument) for name, argument in listed if name in _TEXTS]
    if forbidden or len(texts) != 1:
        found = f"does {forbidden[0]}" if forbidden else f"holds {len(texts)} texts"
        raise UnusableRowError(
            "unsafe_tests", f"private_test_cases: a pickle that {found} is not read, only one text"
        )
    return texts[0]
