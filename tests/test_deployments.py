"""What a test stands on is found in the files, and a deployment that passed on it is left out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.deployment_hooks import ALL, CHANGED, VERIFY, DeploymentTests
from support.deployments import (
    RECORD,
    Verified,
    contents,
    files_of_tests,
    note_verified,
    read_record,
    unchanged,
    uncommitted,
)
from support.source_closure import IMPORTED_AHEAD, Sources

from dasd_assets.profile import PROJECT_ROOT

pytestmark = pytest.mark.slow

PROJECT = {
    "pyproject.toml": '[project.scripts]\nprog = "box.cli:app"\n[tool.dg.project]\n'
    'code_location_target_module = "box.defs"\n',
    "box/__init__.py": "",
    "box/__main__.py": "import box.main",
    "box/main.py": "", "box/cli.py": "", "box/defs.py": "", "box/lazy.py": "", "box/typed.py": "",
    "box/a.py": "from box import b\nif TYPE_CHECKING:\n    import box.typed\n",
    "box/b.py": "def late():\n    import box.lazy\n",
    "box/launcher.py": "", "box/alone.py": '"""Not box.lazy."""\nX = 1\n"""box.lazy as well."""\n',
    "box/loaded.py": "", "box/late.py": "", "box/starts.py": 'Path(f).with_name("late.py")',
    "deploy/local/server.yaml": "launcher:\n  module: box.launcher\n",
    "tests/conftest.py": "import box.loaded\nimport pytest\n@pytest.fixture\ndef all_of_it(base):\n"
    "    import box.defs\n@pytest.fixture\ndef base():\n    import box.cli\n"
    "@pytest.fixture(autouse=True)\ndef always():\n    import box.main\n",
    "tests/support/child.py": "import box.alone",
    "docs/page.md": "text", "docs/picture.png": "1", "data/rows.jsonl": "1",
}  # fmt: skip
"""A project's files."""

ALWAYS = {"box/__init__.py", "box/__main__.py", "box/loaded.py", "box/main.py", "tests/conftest.py"}

CASES = {
    "an import of an import, lazy too": ("import box.a", {"box/a.py", "box/b.py", "box/lazy.py"}),
    "a name from a package": ("from box import a", {"box/a.py", "box/b.py", "box/lazy.py"}),
    "a module that is started": ('["python", "-m", "box.cli"]', {"box/cli.py"}),
    "a program in a text": (
        '"""x"""\nP = "import support.child; support.child.run()"',
        {"tests/support/child.py", "box/alone.py"},
    ),
    "a program of the project": ('Path(exe).with_name("prog")', {"box/cli.py"}),
    "the first word of a command": ('run(["prog", "x"])', {"box/cli.py"}),
    "a word that is a program's by chance": ('name = "prog"', set()),
    "Dagster's own program": ('Path(exe).with_name("dagster")', {"box/defs.py"}),
    "a server's settings": ('open("server.yaml")', {"box/launcher.py"}),
    "a file beside another that starts it": ("import box.starts", {"box/starts.py", "box/late.py"}),
    "what stands in a docstring": ('"""box.lazy"""\ndef f():\n    """box.lazy"""', set()),
    "a fixture, and one that it uses": (
        "def test_x(all_of_it): ...",
        {"box/defs.py", "box/cli.py"},
    ),
    "a fixture that is asked for by its name": ('get("base")', {"box/cli.py"}),
    "what is not of the project": ("import json.decoder, os.path", set()),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_what_a_test_stands_on(case: str, root: Path) -> None:
    text, expected = CASES[case]
    file = root / "tests" / "test_x.py"
    file.write_text(text, encoding="utf-8")
    found = {each.relative_to(root).as_posix() for each in Sources(root).closure(file)}
    assert found - {"tests/test_x.py"} == ALWAYS | expected


def test_what_is_imported_ahead_only_is_still_told_so() -> None:
    """A cut that nothing cuts any more would hide what comes in its place."""
    for place, ahead in IMPORTED_AHEAD.items():
        module = ahead.removesuffix(".py").replace("/", ".")
        text = (PROJECT_ROOT / place).read_text(encoding="utf-8")
        assert text.count(module) == text.count(f'"{module}"') == 1
        assert "preload" in next(line for line in text.splitlines() if f'"{module}"' in line)


@pytest.fixture
def repository(root: Path) -> Path:
    (root / "tests" / "test_server.py").write_text(
        'import box.a\npytestmark = [pytest.mark.deployment("server")]\n', encoding="utf-8"
    )
    (root / "tests" / "test_plain.py").write_text("import box.cli\n", encoding="utf-8")
    git(root, "init", "-q")
    commit(root)
    return root


def git(root: Path, *arguments: str) -> None:
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *name, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "x")


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "nothing": (lambda root: None, True),
    "what it stands on": (lambda root: (root / "box/lazy.py").write_text("X = 1"), False),
    "its own file": (lambda root: (root / "tests/test_server.py").open("a").write("#"), False),
    "another module": (lambda root: (root / "box/cli.py").write_text("X = 1"), True),
    "another test": (lambda root: (root / "tests/test_plain.py").write_text("X = 1"), True),
    "a page and its pictures": (lambda root: (root / "docs/picture.png").write_text("2"), True),
    "data": (lambda root: (root / "data/rows.jsonl").write_text("2"), False),
    "new data that is not added yet": (lambda root: (root / "data/n").write_text("2"), False),
    "the record, of another content": (
        lambda root: (root / RECORD).write_text("server 0 abc\n"), False,
    ),
    "no record": (lambda root: (root / RECORD).unlink(), False),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_deployment_is_left_out_while_all_it_stands_on_is_as_it_was(
    change: str, repository: Path
) -> None:
    assert files_of_tests(repository) == {"server": [repository / "tests" / "test_server.py"]}
    assert unchanged(repository, contents(repository)) == {}
    note_verified(repository, contents(repository))
    commit(repository)
    do, holds = CHANGES[change]
    do(repository)
    assert (list(unchanged(repository, contents(repository))) == ["server"]) == holds


def test_what_is_noted_is_of_a_commit_and_forgets_what_is_gone(repository: Path) -> None:
    (repository / RECORD).write_text("gone 0 abc\n", encoding="utf-8")
    note_verified(repository, contents(repository))
    (content,) = contents(repository).values()
    ((name, noted),) = read_record(repository).items()
    assert (name, noted.content) == ("server", content)
    assert uncommitted(repository) == []
    (repository / "box" / "new.py").write_text("", encoding="utf-8")
    assert uncommitted(repository) == ["box/new.py"]
    assert noted == Verified(content, noted.commit) and len(noted.commit) == 12


def pytest_with(how: str, root: Path, keyword: str = "", **more: Any) -> DeploymentTests:
    source = pytest.Config.ArgsSource.TESTPATHS
    options = {"deployments": how, "--deployments": how, "keyword": keyword, "markexpr": ""}
    config = SimpleNamespace(getoption=options.get, rootpath=root, args_source=source, **more)
    return DeploymentTests(config)  # type: ignore[arg-type]


@pytest.mark.parametrize("how, verified, left_out", [
    (ALL, True, []), (CHANGED, False, []), (CHANGED, True, ["test_server.py"]),
    (VERIFY, False, ["test_plain.py"]), (VERIFY, True, ["test_plain.py", "test_server.py"]),
])  # fmt: skip
def test_files_that_an_option_leaves_out(
    how: str, verified: bool, left_out: list[str], repository: Path
) -> None:
    if verified:
        note_verified(repository, contents(repository))
    here = pytest_with(how, repository)
    told = SimpleNamespace(workerinput={})
    here.pytest_configure_node(told)
    for plugin in (here, pytest_with(how, repository, workerinput=told.workerinput)):
        files = sorted((repository / "tests").glob("test_*.py"))
        assert [file.name for file in files if plugin.pytest_ignore_collect(file)] == left_out
    lines: list[str] = []
    here.pytest_terminal_summary(SimpleNamespace(write_line=lines.append))
    is_told = verified and how != ALL
    assert any("Left out: server (tests/test_server.py)" in line for line in lines) == is_told


FAILED = SimpleNamespace(passed=False, nodeid="tests/test_server.py::test_x@group")
SKIPPED = SimpleNamespace(passed=False, nodeid="tests/test_server.py::test_y")
OTHER_FAILED = SimpleNamespace(passed=False, nodeid="tests/test_other.py")


@pytest.mark.parametrize("how, exit_code, reported, keyword, noted", [
    (VERIFY, 0, [], "", True), (VERIFY, 1, [FAILED], "", False), (VERIFY, 0, [SKIPPED], "", False),
    (VERIFY, 1, [OTHER_FAILED], "", True), (VERIFY, 2, [], "", False), (VERIFY, 0, [], "x", False),
    (CHANGED, 0, [], "", False), (ALL, 0, [], "", False),
])  # fmt: skip
def test_only_what_has_passed_whole_is_noted(
    how: str,
    exit_code: int,
    reported: list[SimpleNamespace],
    keyword: str,
    noted: bool,
    repository: Path,
) -> None:
    plugin = pytest_with(how, repository, keyword)
    for report in reported:
        plugin.pytest_runtest_logreport(report)  # type: ignore[arg-type]
    plugin.pytest_sessionfinish(SimpleNamespace(), exit_code)  # type: ignore[arg-type]
    assert (list(read_record(repository)) == ["server"]) == noted


def test_what_changes_while_it_is_tried_is_not_noted(repository: Path) -> None:
    plugin = pytest_with(VERIFY, repository)
    (repository / "box" / "a.py").write_text("X = 1", encoding="utf-8")
    plugin.pytest_sessionfinish(SimpleNamespace(), 0)  # type: ignore[arg-type]
    assert read_record(repository) == {}


def test_where_all_is_verified_there_is_nothing_to_try(repository: Path) -> None:
    note_verified(repository, contents(repository))
    session = SimpleNamespace(exitstatus=pytest.ExitCode.NO_TESTS_COLLECTED)
    pytest_with(VERIFY, repository).pytest_sessionfinish(session, session.exitstatus)  # type: ignore[arg-type]
    assert session.exitstatus == pytest.ExitCode.OK


def test_what_is_not_committed_is_not_verified(repository: Path) -> None:
    (repository / "box" / "a.py").write_text("", encoding="utf-8")
    with pytest.raises(pytest.UsageError, match=r"box/a.py is not committed"):
        pytest_with(VERIFY, repository)


VARIANTS = {"browser", "dg-dev", "formats", "kills", "other-models", "postgres-pipeline"}
"""They try the whole product; each change of it runs them, a page or a test of another does not."""


def test_only_variants_of_the_pipeline_stand_on_the_whole_product() -> None:
    """Else each change would run a deployment, and it would gain nothing to be one."""
    sources, product = Sources(PROJECT_ROOT), {
        file
        for part in ("checks", "dasd_assets", "formats", "resources", "training")
        for file in (PROJECT_ROOT / part).rglob("*.py")
    }  # fmt: skip
    for deployment, files in files_of_tests(PROJECT_ROOT).items():
        closure = sources.closure(*files)
        if deployment in VARIANTS:
            assert product <= closure, deployment
        else:
            assert PROJECT_ROOT / "dasd_assets" / "graph.py" not in closure, deployment
