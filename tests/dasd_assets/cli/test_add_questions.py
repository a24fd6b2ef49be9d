"""`dasd add-questions`: drops are looked at, then appear whole in the inbox, never over another."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dasd_assets.cli import add_questions as module
from dasd_assets.cli.main import app
from dasd_assets.profile import SHIPPED


def add(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["add-questions", *map(str, arguments)])


def row(question: str, **others: Any) -> str:
    return json.dumps({"question": question, "domain": "math", "answer": "1", **others})


@pytest.fixture
def drop(project: Path) -> Path:
    """Three new questions, one of them twice, one that the example has, two unusable rows."""
    example = (project / "inbox" / "example.jsonl").read_text(encoding="utf-8").splitlines()[0]
    file = project.parent / "new.jsonl"
    lines = [row("One?"), row("Two?"), row("Three?"), row(" two? "), example,
             row("Odd?", domain="cooking"), "not json"]  # fmt: skip
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def inbox(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "inbox").iterdir())


def test_what_is_in_a_drop_is_said_and_it_is_copied(project: Path, drop: Path) -> None:
    result = add(drop)
    assert result.exit_code == 0, result.output
    assert "new: 5 usable row(s), 3 new question(s)" in result.output
    assert "to quarantine: 1 invalid_json" in result.output
    assert "to quarantine: 1 unknown_domain" in result.output
    assert "new.jsonl:6: unknown_domain: 'cooking'; known:" in result.output
    assert "asked more than once in this drop: 1" in result.output
    assert "already in question_shard example: 1" in result.output
    (shards,) = [line for line in result.output.splitlines() if "partition new of" in line]
    for asset in ("raw_questions", "questions", "student_rollouts", "teacher_continuations"):
        assert f" {asset}" in shards
    assert "partitions new|low, new|high of teacher_responses, filtered_responses" in result.output
    assert inbox(project) == ["example.jsonl", "new.jsonl"]
    assert (project / "inbox" / "new.jsonl").read_bytes() == drop.read_bytes()


def test_the_inbox_that_is_shipped_stays_as_it_is(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    result = add(drop)
    assert result.exit_code == 2 and "`dasd init FOLDER` begins" in result.output
    assert not (SHIPPED / "tiny_world" / "inbox" / "new.jsonl").exists()
    assert "would be added" in add(drop, "--dry-run").output


def test_a_pipe_is_refused_and_not_waited_for(project: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    result = add(pipe)
    assert result.exit_code != 0
    assert "pipe.jsonl: neither a file nor a folder" in result.output


def test_files_of_a_folder_that_are_not_read_are_said(project: Path, drop: Path) -> None:
    folder = project.parent / "folder"
    folder.mkdir()
    drop.rename(folder / "a.jsonl")
    (folder / "B.JSONL").touch()
    result = add(folder, "--dry-run")
    assert "passed over, as its name is no data file's: B.JSONL" in result.output


def test_a_dry_run_adds_nothing(project: Path, drop: Path) -> None:
    result = add(drop, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would be added" in result.output
    assert inbox(project) == ["example.jsonl"]


def test_a_name_that_is_taken_is_refused(project: Path, drop: Path) -> None:
    before = (project / "inbox" / "example.jsonl").read_bytes()
    result = add(drop, "--name", "example")
    assert result.exit_code == 2
    assert "there is a question_shard 'example' already" in result.stderr
    assert "Choose another --name" in result.stderr
    assert (project / "inbox" / "example.jsonl").read_bytes() == before
    assert add(drop, drop).exit_code == 2
    assert inbox(project) == ["example.jsonl"]  # the first of two is not added either


def test_the_same_content_under_another_name_is_refused(project: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    again.write_bytes((project / "inbox" / "example.jsonl").read_bytes())
    result = add(again)
    assert result.exit_code == 2
    assert "the very content of the drop 'example'" in result.stderr
    again.write_text((again.read_text(encoding="utf-8")).replace("?", "? "), encoding="utf-8")
    result = add(again)
    assert result.exit_code == 2
    assert "every question is there already" in result.stderr


def test_a_folder_is_a_drop_too(project: Path, drop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    drop.rename(folder / "part.jsonl")
    result = add(folder, "--name", "whole-set")
    assert result.exit_code == 0, result.output
    assert (project / "inbox" / "whole-set" / "part.jsonl").is_file()


def test_what_appears_is_whole(project: Path, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(hidden: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "link", killed)
    result = add(drop)
    assert result.exit_code == 2
    assert "disk full" in result.stderr
    assert inbox(project) == ["example.jsonl"]


def test_who_is_first_wins(project: Path, drop: Path) -> None:
    target = project / "inbox" / "new.jsonl"
    target.write_text("somebody else's")
    with pytest.raises(FileExistsError):
        module._put(drop, target)
    assert target.read_text() == "somebody else's"
    assert inbox(project) == ["example.jsonl", "new.jsonl"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "empty.jsonl", "no usable row"),
        ("nonsense\n", "bad.jsonl", "no usable row"),
        ("x", "notes.txt", "no drop; expected a name ending in .jsonl"),
        ("x", "torn.parquet", "torn.parquet"),
        (row("One?"), "a b.jsonl", "cannot be a question shard: the name has ' '"),
    ],
)
def test_what_is_no_drop_is_refused(
    project: Path, tmp_path: Path, content: str, name: str, message: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    result = add(file)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert inbox(project) == ["example.jsonl"]


def test_files_that_are_not_there_and_one_name_for_two(project: Path, drop: Path) -> None:
    assert "no such file or folder" in add("nowhere.jsonl").stderr
    assert "--name names one drop" in add(drop, drop, "--name", "x").stderr


@pytest.fixture
def mapped(project: Path) -> Path:
    """A file with other columns, and layouts in the profile that know them."""
    layout = {"question": "problem", "domain": {"value": "math"}, "answer": "solution"}
    profile = project / "profile.yaml"
    settings = yaml.safe_load(profile.read_text(encoding="utf-8"))
    settings["questions"]["layouts"] = {"r1-*": layout, "r1-special": layout, "other": layout}
    profile.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    file = project.parent / "math.jsonl"
    file.write_text(json.dumps({"problem": "What is 3 + 5?", "solution": "8"}))
    return file


def test_a_layout_names_the_drop_so_that_it_fits(project: Path, mapped: Path) -> None:
    assert "no usable row" in add(mapped).stderr
    result = add(mapped, "--layout", "r1-*")
    assert result.exit_code == 0, result.output
    assert inbox(project) == ["example.jsonl", "r1-math.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layout", "r2"], "no layout 'r2' in the profile; there are r1-*, r1-special, other"),
        (["--layout", "r1-*", "--name", "x"], "'x' is read with none of the profile's layouts"),
        (["--layout", "r1-special"], "is read with layout 'r1-*'"),
    ],
)
def test_a_layout_that_would_not_be_used_is_refused(
    mapped: Path, arguments: list[str], message: str
) -> None:
    result = add(mapped, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_inbox_in_an_object_store_is_left_to_its_tool(project: Path, drop: Path) -> None:
    profile = project / "profile.yaml"
    text = profile.read_text(encoding="utf-8")
    profile.write_text(text.replace("inbox: inbox", "inbox: s3://bucket/inbox"), encoding="utf-8")
    result = add(drop)
    assert result.exit_code == 2
    assert "the inbox is s3://bucket/inbox" in result.stderr
