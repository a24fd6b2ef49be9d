"""`dasd docs`: messages point to pages that every reader has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from dasd_assets.cli.docs import names
from dasd_assets.cli.main import app
from dasd_assets.profile import PROJECT_ROOT

NAMED = re.compile(r"dasd docs ([\w/-]+)")
PARTS = ("checks", "dasd_assets", "formats", "resources", "training")


def texts(tree: ast.AST) -> Iterator[str]:
    """Texts that a person may see: not docstrings, nor descriptions, which are for the docs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.keyword) and node.arg == "description":
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        yield from texts(node)


@pytest.mark.parametrize("part", PARTS)
def test_messages_name_pages_by_the_command_and_only_pages_that_there_are(part: str) -> None:
    wrong, there = [], names()
    for file in sorted((PROJECT_ROOT / part).rglob("*.py")):
        for text in texts(ast.parse(file.read_text(encoding="utf-8"))):
            wrong += [f"{file}: {text}"] if re.search(r"\bdocs/[\w/-]+\.md", text) else []
            wrong += [f"{file}: {name}" for name in NAMED.findall(text) if name not in there]
    assert wrong == []


def test_a_page_is_shown_and_an_unknown_one_refused() -> None:
    shown = CliRunner().invoke(app, ["docs", "reference/tables"])
    page = PROJECT_ROOT / "docs" / "reference" / "tables.md"
    assert shown.stdout.strip() == page.read_text(encoding="utf-8").strip()
    assert CliRunner().invoke(app, ["docs"]).stdout.startswith("# Documentation")
    refused = CliRunner().invoke(app, ["docs", "plann"])
    assert refused.exit_code == 2
    assert "no page 'plann'; there are README, batch-certificate," in refused.stderr
