"""No code that comes with a model is run: every place that loads one says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("dasd_assets", "resources", "training", "formats", "checks", "tools", "benchmarks")


def loads(file: Path) -> Iterator[ast.Call]:
    """Calls of `….from_pretrained` in a file; an adapter, which peft loads, can have no code."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        function = node.func if isinstance(node, ast.Call) else None
        if not isinstance(function, ast.Attribute) or function.attr != "from_pretrained":
            continue
        if ast.unparse(function.value) != "PeftModel":
            yield node


@pytest.mark.parametrize("part", PARTS)
def test_whatever_loads_a_model_runs_no_code_of_it(part: str) -> None:
    unsaid = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in sorted((ROOT / part).rglob("*.py"))
        for call in loads(file)
        if not any(
            keyword.arg == "trust_remote_code"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is False
            for keyword in call.keywords
        )
    ]
    assert not unsaid
