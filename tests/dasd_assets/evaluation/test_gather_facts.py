"""Every rule of the diagnosis, over facts gathered from a small lake: a sound one, spoilt ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.small_lake import filled

from dasd_assets.evaluation.gather_facts import gather_facts
from dasd_assets.profile import Profile, load_profile
from dasd_assets.reporting.collect import stage_rows, training_logs
from dasd_assets.reporting.diagnosis import RULES, diagnose
from dasd_assets.reporting.run_facts import RunFacts, Share
from resources.lake.lake import Lake
from resources.lake.warehouse import open_warehouse

N_QUESTIONS, K, N_ANSWERS = 60, 4, 40
LEVELS = {"base": 2, "low_temperature": 5, "high_temperature": 7, "dasd": 9}
"""Right answers of ten."""
QUESTION = "What is the sum of one and one if both of them are counted twice?"
FALLING = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5]

pytestmark = pytest.mark.slow

Row = dict[str, Any]
Is = Callable[[int], bool]


def put_evaluation(lake: Lake, checkpoint: str, is_right: Is | None = None, **changes: Any) -> None:
    """Answers of a checkpoint; `changes` are of its first ten answers."""
    right = is_right or (lambda place: place % 10 < LEVELS[checkpoint])
    place = {"checkpoint": checkpoint, "benchmark": "math"}
    rows: list[Row] = [
        place | {
            "question_id": f"b{index // K}", "sample_index": index % K, "answer_id": f"a{index}",
            "finish_reason": "stop", "n_tokens": 50, "is_correct": right(index), "text": "Two.",
        } | (changes if index < 10 else {})
        for index in range(N_QUESTIONS * K)
    ]  # fmt: skip
    lake.write("evaluation", filled("evaluation", *rows), place)


def put_answers(
    lake: Lake,
    temperature: str,
    is_right: Is = lambda place: True,
    *,
    chosen: range = range(0, N_ANSWERS, 2),
    p_student: float = 0.8,
) -> None:
    """Filtered answers of a temperature; every second one is chosen, the others are the control."""
    place = {"temperature": temperature}
    cell = place | {"question_shard": "s"}
    answers = [
        {"response_id": f"r{i}", "domain": "math", "is_correct": is_right(i)}
        for i in range(N_ANSWERS)
    ]
    lake.write("filtered_responses", filled("filtered_responses", *answers), cell)
    candidates = [
        {
            "response_id": f"r{i}", "question_shard": "s", "p_teacher": 0.9, "p_student": p_student,
            "is_selected": i in chosen, "is_random_control": i not in chosen,
        }
        for i in range(N_ANSWERS)
    ]  # fmt: skip
    lake.write("divergence_candidates", filled("divergence_candidates", *candidates), place)


def put_log(lake: Lake, checkpoint: str, losses: Sequence[float], key: str = "0123abcdef") -> None:
    folder = lake.checkpoint_folder(checkpoint, key)
    folder.mkdir()
    lines = [json.dumps({"step": step, "loss": loss}) for step, loss in enumerate(losses)]
    (folder / "training_log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    lake.publish_checkpoint(checkpoint, key)


def put_mixed(lake: Lake, student_prefix_bytes: int) -> None:
    row = {"sample_id": "c1", "question": "2 + 2?", "student_prefix_bytes": student_prefix_bytes}
    lake.write("mixed_policy_sample", filled("mixed_policy_sample", row))


def put_rejected(lake: Lake, reason: str, evidence: str) -> None:
    row = {"reason": reason, "evidence": evidence}
    lake.write("rejected_questions", filled("rejected_questions", row), {"question_shard": "s"})


def put_trained_on(lake: Lake, question: str) -> None:
    row = {"question_id": "q1", "question": question}
    lake.write("divergence_sample", filled("divergence_sample", row), {"temperature": "low"})


def lost(lake: Lake) -> None:
    put_evaluation(lake, "dasd", lambda place: place % 10 < 4)


@pytest.fixture(scope="module")
def profile() -> Profile:
    tiny = load_profile("tiny")
    benchmarks = {"math": tiny.evaluation.benchmarks["math"]}
    update = {"benchmarks": benchmarks, "bootstrap_resamples": 200}
    return tiny.model_copy(update={"evaluation": tiny.evaluation.model_copy(update=update)})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of a run in which every stage gained and nothing asks for a change."""
    lake = Lake(root=str(tmp_path_factory.mktemp("sound") / "lake"))
    for checkpoint in LEVELS:
        put_evaluation(lake, checkpoint)
        if checkpoint != "base":
            put_log(lake, checkpoint, FALLING)
    for temperature in ("low", "high"):
        put_answers(lake, temperature)
    put_trained_on(lake, "What is 2 + 2?")
    put_mixed(lake, 2)
    held_out = {"question": QUESTION, "benchmark": "math"}
    lake.write(
        "benchmark_questions", filled("benchmark_questions", held_out), {"benchmark": "math"}
    )
    put_rejected(lake, "duplicate_of_shard", "drop-01")
    return Path(lake.root)


@pytest.fixture
def lake(sound: Path, tmp_path: Path) -> Lake:
    """A lake of one's own, to be spoilt."""
    shutil.copytree(sound, tmp_path / "lake")
    return Lake(root=str(tmp_path / "lake"))


def facts_of(lake: Lake, profile: Profile) -> RunFacts:
    rows = stage_rows(lake, profile)
    return gather_facts(lake, open_warehouse(Path(lake.root)), profile, rows, training_logs(lake))


SPOILT: dict[str, Callable[[Lake], object]] = {
    "stage_lost": lost,
    "wrong_training_answers": lambda lake: put_answers(lake, "low", lambda i: i % 10 != 0),
    "temperature_brings_errors": lambda lake: put_answers(lake, "high", lambda i: i % 10 != 1),
    "selection_prefers_errors": lambda lake: put_answers(lake, "low", lambda i: i % 4 != 0),
    "sample_far_from_student": lambda lake: put_answers(lake, "low", p_student=0.4),
    "mixed_policy_lost": lost,
    "answers_grew": lambda lake: put_evaluation(
        lake, "high_temperature", lambda place: place % 10 < 5, n_tokens=500
    ),
    "more_cut_off": lambda lake: put_evaluation(lake, "dasd", finish_reason="length"),
    "loops_taken_over": lambda lake: put_evaluation(
        lake, "dasd", finish_reason="length", text="So it is as we have seen above. " * 30
    ),
    "loss_still_falls": lambda lake: put_log(
        lake, "dasd", [2 - step / 50 for step in range(50)], "1123abcdef"
    ),
    "loss_rose": lambda lake: put_log(
        lake, "dasd", [1 + step / 50 for step in range(50)], "1123abcdef"
    ),
    "trained_on_evaluation_set": lambda lake: put_trained_on(lake, QUESTION),
    "evaluation_set_was_delivered": lambda lake: put_rejected(
        lake, "contaminated", "of (one) and one (math)"
    ),
    "too_few_questions": lambda lake: put_evaluation(
        lake, "high_temperature", lambda place: (place * 7 + place // 20) % 10 < 5
    ),
}
"""Rule -> what makes it hold."""


def test_in_a_sound_run_no_rule_holds(lake: Lake, profile: Profile) -> None:
    facts = facts_of(lake, profile)
    assert diagnose(facts) == []
    assert [stage.checkpoint for stage in facts.stages] == list(LEVELS)[1:]
    assert facts.stages[0].accuracy == (0.2, 0.5)
    assert facts.temperatures["high"].sampled_at == 1.0
    assert facts.temperatures["low"].chosen == {"math": Share(20, 20)}
    assert facts.temperatures["low"].answered == {"math": Share(40, 40)}
    assert facts.temperatures["low"].at_random == Share(20, 20)
    assert facts.temperatures["low"].p_student == pytest.approx(0.8)
    assert facts.with_own_prefix == Share(1, 1)


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_holds_in_a_run_of_its_kind(lake: Lake, profile: Profile, rule: str) -> None:
    SPOILT[rule](lake)
    assert rule in [each.rule for each in diagnose(facts_of(lake, profile))]


def test_cut_off_answers_that_do_not_repeat_are_no_loops(lake: Lake, profile: Profile) -> None:
    put_evaluation(lake, "dasd", finish_reason="length")
    assert facts_of(lake, profile).stages[-1].looping == (Share(0, 240), Share(0, 240))


def test_a_masked_beginning_is_none(lake: Lake, profile: Profile) -> None:
    lost(lake)
    mixed = profile.mixed_policy_distillation.model_copy(update={"mask_student_prefix": True})
    masked = profile.model_copy(update={"mixed_policy_distillation": mixed})
    rules = [each.rule for each in diagnose(facts_of(lake, masked))]
    assert "stage_lost" in rules and "mixed_policy_lost" not in rules


def test_a_lake_without_anything_has_no_facts(tmp_path: Path, profile: Profile) -> None:
    (tmp_path / "lake").mkdir()
    facts = facts_of(Lake(root=str(tmp_path / "lake")), profile)
    assert facts.stages == ()
    assert diagnose(facts) == []
