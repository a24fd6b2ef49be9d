"""`dasd trace`: one sample's whole story."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from support.fresh_python import printed
from support.small_lake import DROP_01, HOSTILE, filled
from typer.testing import CliRunner, Result

from dasd_assets.cli.main import app
from resources.lake.lake import Lake
from training.steps_drawn import write_drawn

pytestmark = pytest.mark.slow


WHAT_IS_IMPORTED = """
import sys
from typer.testing import CliRunner
from dasd_assets.cli.main import app
result = CliRunner().invoke(app, sys.argv[1:])
assert result.exit_code == 0, result.output
print([name for name in ("dagster", "matplotlib", "sqlalchemy", "torch") if name in sys.modules])
"""


def trace(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["trace", *arguments])


@pytest.fixture(autouse=True)
def fixed_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def words(result: Result) -> str:
    """What was printed, with single spaces: lines may break anywhere."""
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_selected_answer_from_the_drop_to_the_checkpoints(lake: Lake) -> None:
    told = words(trace("r1"))
    for part in (
        "Question q1",
        "delivered drop-01.jsonl, line 1",
        "question_shard drop-01",
        "reference answer 2",
        "Rejected from drop-02.jsonl, line 1: duplicate_of_shard (drop-01)",
        "Prompt of the teacher, tiny_world/models/teacher",
        "<|start|>user<|message|>What is 1 + 1?",
        "Prompt of the student, tiny_world/models/student",
        "<|im_start|>user",
        "2 answer(s) of the teacher",
        "finish reason stop after 3 of at most 9 tokens",
        "low: 0.6, top_p",
        "Filters: kept",
        "Sentences: 1 Teacher, 0 Student, 1 Common",
        "1 reasoning teacher 0.900 0.300 Für 1 + 1.",
        "2 answer common 0.500 0.500 It is 2.",
        "rank 1 of 2 in math by divergence_share, score 0.5000; chosen",
        "Rollout o1: the student's own answer, cut off by the cap",
        "Continuation c1: cut in the reasoning",
        "kept: it is in the mixed-policy sample",
        "Checkpoint low_temperature (current 0123abcdef): as off_policy sample r1",
        "Checkpoint dasd (not trained yet): as mixed_policy sample c1",
    ):
        assert part in told, part


@pytest.mark.parametrize("command", [("trace", "r1"), ("sql", "SELECT 42")])
def test_a_command_that_asks_the_lake_imports_no_dagster(
    lake: Lake, command: tuple[str, ...]
) -> None:
    assert printed(WHAT_IS_IMPORTED, *command) == "[]"


def test_answers_that_were_not_chosen_say_why(lake: Lake) -> None:
    told = words(trace("r2"))
    assert "not chosen: of the answers to one question only the best may be" in told
    assert "these are better: r1 (rank 1)" in told
    assert "2 answer unscored – – It is 2." in told
    assert "Checkpoints: it is in no training sample." in told
    over_quota = words(trace("r4"))
    assert "went to 0 answers" in over_quota
    assert "It is in the random control." in over_quota
    assert "rejected, hit_max_tokens: 9 tokens" in over_quota  # its continuation


def test_a_rejected_answer_shows_every_rule_with_its_evidence(lake: Lake) -> None:
    told = words(trace("r3"))
    assert "Filters: rejected, hit_max_tokens: 9 tokens" in told
    assert "Filters: rejected, repeated_ngram: 4 x 'so it is'" in told
    assert "Sentences: none were scored." in told
    assert "Selection: not a candidate." in told


def test_a_question_has_the_stories_of_all_its_answers(lake: Lake) -> None:
    told = words(trace("q1"))
    assert "Answer r1" in told
    assert "Answer r2" in told
    assert "Answer r3" not in told


@pytest.mark.parametrize(("name", "response"), [("o1", "r1"), ("c2", "r4")])
def test_rollouts_and_continuations_lead_to_their_answer(
    lake: Lake, name: str, response: str
) -> None:
    told = words(trace(name))
    assert f"Answer {response}" in told
    assert told.count("Answer r") == 1


def test_a_rollout_that_cannot_be_used_says_why(lake: Lake) -> None:
    broken = {"broken_rules": [{"rule": "no_text", "evidence": "special token 1 at 4"}]}
    row = broken | {"rollout_id": "o1", "response_id": "r1", "question_id": "q1"}
    lake.write("student_rollouts", filled("student_rollouts", row), DROP_01)
    assert "not to be continued, no_text: special token 1 at 4" in words(trace("r1"))


def test_a_question_that_curation_left_out(lake: Lake) -> None:
    lake.path("questions", {"question_shard": "drop-01"}).unlink()
    for table in ("teacher_responses", "student_rollouts", "teacher_continuations"):
        for partition in lake.partitions(table):
            lake.path(table, partition).unlink()
    told = words(trace("q1"))
    assert "Left out by curation" in told
    assert "What is 1 + 1?" in told
    assert "0 answer(s) of the teacher" in told


def test_texts_are_printed_as_text(lake: Lake) -> None:
    told = trace("r1").stdout
    assert "\x1b" not in told
    assert HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}") in told


def test_a_sample_leads_to_its_packed_sequence_and_the_steps_that_saw_it(lake: Lake) -> None:
    table, name = "low_temperature_training_set", "low_temperature"
    packed = [{"sample_id": "r7", "sequence": 0}, {"sample_id": "r1", "sequence": 1, "place": 1}]
    lake.write(table, filled(table, *packed), None)
    told = words(trace("r1"))
    assert "packed sequence 1, place 1 in it; no step of this checkpoint saw it" in told
    lake.keyed_folder(f"training_sets/{name}", "abc").mkdir()
    lake.publish_keyed(f"training_sets/{name}", "abc")
    folder = lake.checkpoint_folder(name, "0123abcdef")
    orders = [np.array([1, 0], np.int32), np.array([0, 1], np.int32)]
    write_drawn([orders], 1, folder)
    settings = folder / "sft.json"
    settings.write_text(json.dumps({"training_set": "/moved/since/abc"}), encoding="utf-8")
    assert "place 1 in it; seen in step 1 (epoch 1), step 4 (epoch 2)" in words(trace("r1"))
    settings.write_text(json.dumps({"training_set": "/of/other/rows"}), encoding="utf-8")
    assert "no step of this checkpoint saw it" in words(trace("r1"))


def test_a_checkpoint_older_than_its_sample_is_not_claimed(lake: Lake) -> None:
    pointer = Path(lake.root, "checkpoints", "low_temperature", "current.json")
    os.utime(pointer, (1, 1))
    assert "whose sample was written anew since" in words(trace("r1"))


@pytest.mark.parametrize("name", ["r9", "o-nothing", "", "' OR 1=1 --"])
def test_an_unknown_id_is_refused_with_those_most_like_it(lake: Lake, name: str) -> None:
    result = trace(name)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "most like it: " in result.stderr
    assert "Traceback" not in result.output
    if name == "r9":
        assert "most like it: r1, r2, r3" in result.stderr


def test_a_model_that_is_not_there_costs_only_its_prompt(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dasd_assets.profile import PROFILE_FOLDER

    profile = tmp_path / "moved.yaml"
    shipped = (PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8")
    profile.write_text(shipped.replace("tiny_world/models/teacher", "no/such/folder/x"))
    monkeypatch.setenv("DASD_PROFILE", str(profile))
    told = words(trace("r1"))
    assert "(cannot be rendered here: " in told
    assert "Answer r1" in told


def test_html_writes_the_provenance_viewer(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "r1.html"
    result = trace("q1", "--html", str(file))
    assert result.exit_code == 0
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "1 of 2" in page
    assert "teacher · p_T 0.900 · p_S 0.300" in page
    assert "<img" not in page
    assert trace("q1", "--html", str(tmp_path / "no" / "x.html")).exit_code == 2
