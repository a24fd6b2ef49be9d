"""The documentation is in step with the code: reference pages, links, and command lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from dasd_assets.cli.main import app
from dasd_assets.profile import PROJECT_ROOT
from tools.reference.__main__ import FOLDER, pages
from tools.reference.settings import groups

pytestmark = pytest.mark.slow

PAGES = [
    PROJECT_ROOT / "README.md",
    PROJECT_ROOT / "ARCHITECTURE.md",
    PROJECT_ROOT / "benchmarks" / "README.md",
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
]
IDS = [str(page.relative_to(PROJECT_ROOT)) for page in PAGES]
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"^(\| \w.*)\n\|[-|]+\|\n((?:\|.*\n?)+)", re.MULTILINE)
DESCRIPTIONS = ("what it is", "what is measured", "does")
COMMAND = re.compile(
    r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(dasd(?: \S.*)?)$", re.MULTILINE
)


def test_the_reference_is_in_step_with_the_code() -> None:
    for name, text in pages().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run `make reference`"


def test_every_setting_says_what_it_is() -> None:
    unsaid = [
        f"{group.title}.{name}"
        for group in groups()
        if group.model is not None
        for name in group.leaves
        if not group.model.model_fields[name].description
    ]
    assert unsaid == []


def test_every_line_of_the_reference_says_something() -> None:
    """Columns and checks have descriptions, and so has every setting of every kind."""
    unsaid, n_lines = [], 0
    for page in sorted(FOLDER.glob("*.md")):
        for header, rows in TABLE.findall(page.read_text(encoding="utf-8")):
            titles = cells(header)
            said = next(titles.index(title) for title in DESCRIPTIONS if title in titles)
            for row in rows.splitlines():
                n_lines += 1
                unsaid += [f"{page.name}: {row}"] if not cells(row)[said] else []
    assert unsaid == []
    assert n_lines > 400


def cells(row: str) -> list[str]:
    """Texts of a row of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as they are made on GitHub, and those set by hand."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    made = {
        re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    return made | set(re.findall(r'<a name="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target)
        ):
            broken.append(link)
    assert broken == []


def command_lines(page: Path) -> Iterator[str]:
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield from COMMAND.findall(re.sub(r"\\\n\s*", "", block.group()))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_and_their_options_exist(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {
        name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for name, command in commands.items()
    }
    for line in command_lines(page):
        plain = re.sub(r"'[^']*'?|\"[^\"]*\"?", "TEXT", line).partition(" #")[0]
        words = [word for word in plain.split()[1:] if not word.startswith("[")]
        if not words or words[0].isupper() or words[0].startswith("-"):
            continue
        assert words[0] in known, line
        options = {word.split("=")[0] for word in words[1:] if re.match(r"--[a-z]", word)}
        assert options <= known[words[0]] | {"--help"}, line


def test_the_index_names_every_page() -> None:
    docs = PROJECT_ROOT / "docs"
    named = LINK.findall((docs / "README.md").read_text(encoding="utf-8"))
    there = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    assert there - {"README.md"} <= set(named)
