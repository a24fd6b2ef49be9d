"""What `dasd run` tries first: what is wrong ends the run, with all of it said at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dasd_assets.cli import preflight
from dasd_assets.cli.doctor_machine import OK, PROBLEM, WARNING, Result
from dasd_assets.profile import load_profile
from resources.lake.lake import Lake

TINY = load_profile("tiny")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(preflight, "untried", lambda *_: ["teacher", "base_student"])
    return Lake(root=str(tmp_path))


def test_all_that_is_wrong_is_said_and_what_holds_is_told(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        Result(OK, "the student scores"),
        Result(WARNING, "the teacher says little"),
        Result(PROBLEM, "no logprobs", "set `logprobs`"),
        Result(PROBLEM, "no end token", "set `end`"),
    ]
    monkeypatch.setattr(preflight, "_tried_apart", lambda names, log: found)
    with pytest.raises(preflight.ModelsRefusedError) as refused:
        preflight.try_models(TINY, lake, ["teacher", "base_student"], Path("log"))
    assert str(refused.value) == (
        "no logprobs\n  → set `logprobs`\nno end token\n  → set `end`\n"
        "Nothing else was asked or trained."
    )
    told = capsys.readouterr().out
    assert "trying teacher, base_student on one question" in told
    assert "  the student scores" in told and "  the teacher says little" in told


def test_a_model_that_ends_the_process_is_named_with_how_it_ended(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_tell", os.kill)  # called as a trial is, it raises
    with pytest.raises(
        preflight.ModelsRefusedError, match=r"teacher, base_student: .*exit"
    ) as said:
        preflight.try_models(TINY, lake, ["teacher"], tmp_path / "trials.log")
    assert "trials.log has its last words" in str(said.value)


def test_without_new_models_none_is_loaded(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    monkeypatch.setattr(preflight, "untried", lambda *_: [])
    monkeypatch.setattr(preflight, "_tried_apart", lambda *_: pytest.fail("loads models"))
    preflight.try_models(TINY, lake, ["teacher"], Path("log"))
