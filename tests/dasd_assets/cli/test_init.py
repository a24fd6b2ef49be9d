"""`dasd init`: what it makes works at once, and nothing is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.whole_drops import read_whole_drop
from typer.testing import CliRunner, Result

from dasd_assets.cli.completion import profiles
from dasd_assets.cli.main import app
from dasd_assets.profile import PROFILE_FOLDER, PROJECT_ROOT, load_profile
from dasd_assets.profile.home import home
from dasd_assets.profile.yaml_file import parse_yaml


def init(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments])


@pytest.mark.parametrize("base", profiles(""))
def test_the_profile_is_the_shipped_one_with_a_name_and_an_inbox_of_its_own(
    tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DASD_HOME", raising=False)
    folder = tmp_path / "My Project!"
    result = init(str(folder), "--from", base)
    assert result.exit_code == 0, result.output
    mine = parse_yaml((folder / "profile.yaml").read_text(encoding="utf-8"))
    shipped = parse_yaml((PROFILE_FOLDER / f"{base}.yaml").read_text(encoding="utf-8"))
    for settings in (mine, shipped):
        settings.get("questions", {}).pop("inbox", None)
    assert mine.pop("name") == "my-project"
    assert mine == {name: setting for name, setting in shipped.items() if name != "name"}
    text = (folder / "profile.yaml").read_text(encoding="utf-8")
    n_comments = (PROFILE_FOLDER / f"{base}.yaml").read_text(encoding="utf-8").count("#")
    assert text.count("#") >= n_comments + 4
    profile = load_profile(str(folder / "profile.yaml"))
    assert profile.questions.inbox == str(folder / "inbox")
    assert home(profile) == folder / ".dasd" / "my-project"
    assert (folder / ".gitignore").read_text() == ".dasd/\n.env\n"


def test_the_example_drop_is_usable_and_has_every_domain(project: Path) -> None:
    drop = read_whole_drop(project / "inbox" / "example.jsonl", None, 10**6)
    assert drop.quarantined.num_rows == 0
    assert set(drop.rows["domain"].to_pylist()) == {
        "math", "code", "science", "instruction_following",
    }  # fmt: skip


def test_the_command_that_it_prints_names_a_profile_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = init("new one")
    (line,) = [line for line in result.output.splitlines() if line.startswith("now: ")]
    assert line == "now: DASD_PROFILE='new one/profile.yaml' dasd run"
    assert Path("new one/profile.yaml").is_file()
    assert "doctor" not in result.output
    assert "dasd doctor" in init("big", "--from", "dasd-4b").output


def test_nothing_is_overwritten_and_nothing_half_made(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    result = init(str(tmp_path))
    assert result.exit_code == 2
    assert "README.md is there already, and nothing is overwritten" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--from", "huge"], "huge: no profile of that name is shipped: dasd-1.7b, "),
        ([str(PROJECT_ROOT)], "is the project's own"),
        ([str(PROJECT_ROOT / "LICENSE")], "is no folder"),
    ],
)
def test_bad_input_is_refused(arguments: list[str], message: str) -> None:
    result = init(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_folder_that_holds_other_things_may_become_a_project(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "own.jsonl").write_text(
        json.dumps({"question": "What is 2 + 2?", "domain": "math", "answer": "4"})
    )
    assert init(str(tmp_path)).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "inbox").iterdir()) == [
        "example.jsonl", "own.jsonl",
    ]  # fmt: skip
