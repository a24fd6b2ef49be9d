"""`dasd` as a whole: help, examples, errors, exit codes, completion."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import typer
from support.fresh_python import printed
from typer.testing import CliRunner, Result

from dasd_assets.cli import report as report_module
from dasd_assets.cli.examples import EXAMPLES
from dasd_assets.cli.main import app
from dasd_assets.profile import PROJECT_ROOT
from dasd_assets.reporting.code_version import code_version
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)


def dasd(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_help_needs_nothing_of_what_the_commands_work_with() -> None:
    heavy = {"dagster", "duckdb", "jinja2", "numpy", "pyarrow", "rich", "sqlalchemy", "torch"}
    program = f"import sys, dasd_assets.cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert printed(program) == "[]"


def test_help_groups_the_commands_and_tells_exit_codes() -> None:
    text = " ".join(dasd("--help").stdout.split())
    for words in ("Start", "Look", "Analyse", "Exit codes: 0", "dasd init my-project"):
        assert words in text
    assert [name for name in COMMANDS if name not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_an_example_of_itself(command: str) -> None:
    result = dasd(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"dasd {command}" in EXAMPLES[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_use_options_that_there_are(command: str) -> None:
    options = {name for param in GROUP.commands[command].params for name in param.opts}
    given = {word.strip("`:,'") for word in EXAMPLES[command].split() if word.startswith("--")}
    assert given - options == set()


class Broken:
    """A command with an error that nobody expected."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise ZeroDivisionError("nobody expected this")


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_an_unexpected_error_is_a_message_unless_the_traceback_is_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    debug: list[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(report_module, "active_profile", Broken())
    result = dasd(*debug, "report")
    assert result.exit_code == 1
    assert "error: ZeroDivisionError: nobody expected this" in result.stderr
    traceback = "Traceback" in result.stderr + capfd.readouterr().err
    assert traceback == bool(debug)
    assert ("DASD_DEBUG=1 shows where" in result.stderr) != bool(debug)


def test_a_locked_database_says_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "runs.db"
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    def write() -> None:
        """As Dagster's storage does, but without waiting for the lock."""
        engine = sqlalchemy.create_engine(f"sqlite:///{file}", connect_args={"timeout": 0})
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE runs (id INTEGER)"))

    monkeypatch.setattr(report_module, "active_profile", write)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    result = dasd("report")
    holder.close()
    assert result.exit_code == 1
    assert f"error: {tmp_path}: another process keeps Dagster's SQLite database" in result.stderr
    assert "give the command again; what was finished is kept" in result.stderr
    assert "INSERT" not in result.stderr


def test_bad_input_keeps_its_exit_code_with_a_traceback(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_DEBUG", "1")
    monkeypatch.setenv("DASD_PROFILE", "no/such.yaml")
    result = dasd("report")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "error: no/such.yaml: no such profile" in result.stderr


@pytest.mark.parametrize("command", ["run", "ui", "status", "plan", "doctor", "report"])
def test_a_profile_that_cannot_be_used_is_bad_input(
    command: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_PROFILE", "no/such.yaml")
    result = dasd(command)
    assert result.exit_code == 2
    assert result.stderr == (
        "error: no/such.yaml: no such profile. Shipped profiles: dasd-1.7b, dasd-30b-a3b, "
        "dasd-4b, dasd-4b-api, dasd-4b-qwen3-next, dasd-4b-released, one-gpu-24gb, one-gpu-80gb, "
        "one-node-8x80gb, tiny; "
        "your own is named by the path of its YAML file.\n"
    )


def test_the_version_is_that_of_the_package_and_its_commit() -> None:
    shown = dasd("--version")
    assert shown.exit_code == 0
    assert shown.stdout.strip() == str(code_version())


def test_a_usage_error_is_bad_input_too() -> None:
    assert dasd("status", "--jsn").exit_code == 2
    assert dasd("no-such-command").exit_code == 2


def test_the_report_is_named_and_opened(
    project: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = dasd("report")
    assert missing.exit_code == 2
    assert "not made yet. `dasd run` makes it" in missing.stderr
    page = lake.publish_file("stage_report.html", b"<html>")
    assert dasd("report").stdout.strip() == str(page)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    assert dasd("report", "--open").exit_code == 0
    assert opened == [page.as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    nowhere = dasd("report", "--open")
    assert nowhere.exit_code == 1
    assert str(page) in nowhere.stdout


def completed(line: str) -> list[str]:
    """What bash is offered for a line whose last word is incomplete."""
    result = subprocess.run(
        [Path(sys.executable).with_name("dasd")],
        capture_output=True, text=True, check=False,
        env={
            **os.environ, "_DASD_COMPLETE": "complete_bash", "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        },
    )  # fmt: skip
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dasd st", ["status"]),
        ("dasd init --from one-g", ["one-gpu-24gb", "one-gpu-80gb"]),
        ("dasd plan --profile ti", ["tiny"]),
        ("dasd status teacher_", ["teacher_responses", "teacher_scores", "teacher_continuations"]),
        ("dasd trace r", ["r1"]),
        ("dasd trace q", ["q1"]),
    ],
)
def test_the_shell_completes_commands_profiles_assets_and_ids(
    lake: Lake, line: str, offered: list[str]
) -> None:
    assert completed(line) == offered


def test_completion_can_be_installed() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("dasd"), "--show-completion", "bash"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert "_DASD_COMPLETE=complete_bash" in result.stdout


def test_documents_are_in_step_with_the_commands() -> None:
    from tools.reference.commands import reference

    text = (PROJECT_ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert text.endswith(reference()), "run `python -m tools.reference.commands`"
