"""A whole plan: shards, sums, disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.planned import (
    ANNOUNCED,
    SHAPE,
    announced,
    candidates,
    planned_as_announced,
    quantities,
    small_profile,
)

from dasd_assets.plan.pipeline import Plan, plan_pipeline
from dasd_assets.plan.shards import fitting_shard, shard_findings
from dasd_assets.plan.sizes import ShardSize, Sizes, shape_of
from dasd_assets.profile import (
    PROJECT_ROOT,
    PlanSettings,
    Profile,
    load_profile,
    resolve_path,
)
from resources.engines.settings import OpenAiSettings, SyntheticSettings


def fitting(profile: Profile, n_questions: int) -> int | None:
    asked = quantities(profile)
    answers = candidates(profile, asked, {"": n_questions})
    return fitting_shard(profile, asked, n_questions, answers)


def planned(profile: Profile | None = None, sizes: Sizes = ANNOUNCED, free: int = 10**12) -> Plan:
    profile = profile or small_profile()
    return plan_pipeline(profile, sizes, PlanSettings(), {}, SHAPE, SHAPE, free)


def test_sums_are_those_of_the_lines() -> None:
    plan = planned()
    # The teacher; scores; rollouts and continuations; evaluations; three checkpoints' own answers.
    requests = 500 + 450 + 75 + 4 * 192 + 3 * 2 * 192
    assert plan.requests == sum(a.requests for a in plan.assets) == requests
    assert plan.gpu_hours == pytest.approx(sum(a.gpu_hours or 0.0 for a in plan.assets))
    assert plan.money == pytest.approx(3 * (plan.gpu_hours or 0))
    on_models = [a for a in plan.assets if a.requests or a.steps]
    assert plan.hours == pytest.approx(sum(a.hours or 0.0 for a in on_models))
    assert plan.restart_bytes == 1e6 * 12 * 3
    assert plan.disk_bytes == sum(a.disk_bytes for a in plan.assets) + plan.restart_bytes


def test_an_unknown_rate_makes_the_sums_unknown() -> None:
    plan = planned(small_profile(plan={"student_tokens_per_second": None}))
    assert (plan.gpu_hours, plan.hours, plan.money) == (None, None, None)


def test_a_shard_is_as_large_as_its_slowest_partition_allows() -> None:
    # High: 3 answers of 200 tokens at 4 x 1,000 a second, 0.15 s a question; 2 h hold 48,000.
    assert fitting(small_profile(), 100_000) == 48_000
    assert fitting(small_profile(), 9_000_000) == 91_000  # fewer than 100 shards
    assert fitting(small_profile(plan={"hours_per_partition": 0.001}), 100) == 24
    assert fitting(small_profile(plan={"teacher_tokens_per_second": None}), 100) is None


def test_announced_questions_are_cut_into_fitting_shards() -> None:
    assert planned(small_profile(plan={"hours_per_partition": 0.001})).n_shards == 5
    assert planned().n_shards == 1


def test_large_and_many_shards_are_named() -> None:
    shards = ShardSize("big", 100, {"math": 60, "code": 40}), ShardSize("small", 10, {"math": 10})
    large = Sizes(shards, {}, {})
    assert (large.by_domain, large.questions) == ({"math": 70, "code": 40}, 110)
    texts = [f.text for f in shard_findings(large, 24, 2, 100)]
    assert texts[0] == "a shard of about 24 questions fits"
    assert texts[1].startswith("question_shard big has 100 questions")
    assert len(texts) == 2
    many = shard_findings(Sizes((), {"": 1}, {}), None, 100, 60_000)
    assert [f.level for f in many] == ["hint", "warning"]


def test_the_disk_that_is_not_there_is_said_first() -> None:
    assert planned().findings[0].about != "disk"
    first = planned(free=1_000).findings[0]
    assert (first.level, first.about) == ("warning", "disk")


def test_a_models_size_is_that_of_its_files_or_the_profiles(tmp_path: Path) -> None:
    tiny = load_profile("tiny")
    shape, source = shape_of(tiny.base_student, SHAPE)
    assert source == "its files"
    assert shape is not None
    assert (shape.parameters, shape.layers, shape.kv_heads) == (488_400, 3, 2)
    teacher, _ = shape_of(tiny.teacher, None)
    assert teacher is not None
    assert teacher.full_attention_layers == 3
    size = (PROJECT_ROOT / "tiny_world/models/teacher/model.safetensors").stat().st_size
    assert teacher.weight_bytes == size
    sliding = Path(shutil.copytree(resolve_path(tiny.teacher.path), tmp_path / "sliding"))
    config = json.loads((sliding / "config.json").read_text(encoding="utf-8"))
    config["layer_types"][0] = "sliding_attention"
    (sliding / "config.json").write_text(json.dumps(config), encoding="utf-8")
    alternating, _ = shape_of(tiny.teacher.model_copy(update={"path": str(sliding)}), None)
    assert alternating is not None
    assert alternating.full_attention_layers == 2
    assert shape.heads == 4
    stated = SHAPE.model_copy(update={"active_parameters": 5e5})
    known, _ = shape_of(tiny.teacher, stated)
    assert known is not None
    assert known.active_parameters == 5e5  # of experts, files do not tell it
    missing = tiny.teacher.model_copy(update={"path": "no/such/model"})
    assert shape_of(missing, SHAPE) == (SHAPE, "profile")
    assert shape_of(missing, None)[0] is None
    served = OpenAiSettings(base_url="http://x/v1", served_model="m")
    assert shape_of(tiny.teacher.model_copy(update={"engine": served}), None)[0] is None


def test_answers_that_are_too_few_for_the_budget_are_named() -> None:
    # 180 of 150 wanted at low are there; at high two answers to each question, of 400 wanted.
    (finding,) = [f for f in planned().findings if f.about == "divergence_sampling"]
    assert finding.level == "warning"
    assert finding.text.startswith(
        "budget_samples.high asks for 400 samples, there will be 200 (3 answer(s) to a question, "
        "90% kept)"
    )


def test_a_domain_that_cannot_fill_its_share_is_named() -> None:
    shares = {"low": {"math": 0.5, "code": 0.3, "science": 0.2}}
    profile = small_profile(
        divergence_sampling={"domain_shares": shares, "budget_samples": {"low": 150, "high": 200}}
    )
    sizes = Sizes((), {"math": 80, "code": 20}, {"math": 48})
    problem, warning = [
        f for f in planned(profile, sizes).findings if f.about == "divergence_sampling"
    ]
    assert problem.level == "problem"
    assert problem.text.startswith("domain_shares.low names science, of which there is no question")
    assert warning.level == "warning"
    assert warning.text.startswith("domain_shares.low.code asks for 45 samples, there will be 36")


def test_the_papers_totals_come_out() -> None:
    """Fig. 8 of the report: tokens in millions by domain, 1.446B and 5.77B in all."""
    reported = {
        "low": {"math": 873.5, "code": 371.2, "science": 147.2, "instruction_following": 53.7},
        "high": {"math": 2_400, "code": 2_500, "science": 681, "instruction_following": 186.6},
    }
    profile = load_profile("dasd-4b")
    asked = quantities(profile)
    plan = planned_as_announced("dasd-4b")
    training = {a.asset: a for a in plan.assets if a.asset.endswith("_temperature_checkpoint")}
    answers = candidates(profile, asked, announced(profile))
    for temperature, (all_tokens, six_epochs) in {
        "low": (1.446e9, 8.7e9), "high": (5.77e9, 34.6e9)
    }.items():  # fmt: skip
        selected = answers[temperature].selected
        for domain, millions in reported[temperature].items():
            tokens = selected.rows[domain] * selected.lengths[domain]
            assert tokens == pytest.approx(millions * 1e6, rel=0.005), domain
        assert selected.n_tokens == pytest.approx(all_tokens, rel=0.005)
        stage = training[f"{temperature}_temperature_checkpoint"]
        prompts = 6 * selected.n_rows * asked.prompt_tokens()
        assert stage.tokens - prompts == pytest.approx(six_epochs, rel=0.005)
        assert stage.tokens == pytest.approx(six_epochs, rel=0.015)  # with the prompts
    both = [answers[temperature].selected for temperature in reported]
    mean = sum(one.n_tokens for one in both) / sum(one.n_rows for one in both)
    assert mean == pytest.approx(SyntheticSettings().mean_tokens, rel=0.005)


@pytest.mark.parametrize("name", ["dasd-4b", "dasd-4b-api"])
def test_the_papers_profiles_fit_into_the_compute_that_they_declare(name: str) -> None:
    plan = planned_as_announced(name)
    assert not [finding for finding in plan.findings if finding.level == "problem"]
    assert not [finding for finding in plan.findings if finding.about == "divergence_sampling"]
    selected = {a.part: a.rows for a in plan.assets if a.asset == "divergence_sample"}
    assert selected == {"low": 105_000, "high": 330_000}  # the paper's


def test_a_further_student_is_trained_on_the_same_answers_and_asked_before_and_after() -> None:
    plan, alone = planned_as_announced("dasd-30b-a3b"), planned_as_announced("dasd-4b")
    assert not [finding for finding in plan.findings if finding.level == "problem"]
    assets = {(a.asset, a.part): a for a in plan.assets}
    known = {(a.asset, a.part): a for a in alone.assets}
    added = {asset for asset, _ in set(assets) - set(known)}
    checkpoint, before, after = (
        "student_checkpoint/qwen3_30b_a3b", "evaluation/qwen3_30b_a3b_base",
        "evaluation/qwen3_30b_a3b",
    )  # fmt: skip
    assert added == {"student_training_set/qwen3_30b_a3b", checkpoint, before, after}
    assert {key: assets[key] for key in known} == known
    low, other = assets["low_temperature_checkpoint", ""], assets[checkpoint, ""]
    assert (other.rows, other.tokens, other.steps) == (low.rows, low.tokens, low.steps)
    assert other.disk_bytes == pytest.approx(30.5e9 * 2)
    assert plan.restart_bytes == pytest.approx(alone.restart_bytes * 30.5 / 4.02)
    (flops,) = [one for one in plan.flops if one.work == checkpoint]
    assert flops.parameters == 4 * 2 * 3.3e9  # of the experts that a token goes through
    assert {p.work for p in plan.layout} - {p.work for p in alone.layout} == {
        "students.qwen3_30b_a3b.engine", "students.qwen3_30b_a3b.training",
    }  # fmt: skip


def test_the_papers_other_teacher_fits_and_trains_on_25k_answers_a_stage() -> None:
    plan = planned_as_announced("dasd-4b-qwen3-next")
    assert not [finding for finding in plan.findings if finding.level == "problem"]
    assert not [finding for finding in plan.findings if finding.about == "divergence_sampling"]
    trained = {a.asset: a.rows for a in plan.assets if a.asset.endswith("_temperature_checkpoint")}
    assert set(trained.values()) == {25_000}
    (teacher,) = [one for one in plan.flops if one.work == "teacher_responses low"]
    assert teacher.parameters == 2 * 3e9  # of 80B, a token goes through 3B


def test_a_stage_that_is_left_out_is_named_and_not_planned() -> None:
    with_it = planned()
    plan = planned(small_profile().model_copy(update={"mixed_policy_distillation": None}))
    gone = {one.asset for one in with_it.assets} - {one.asset for one in plan.assets}
    assert {"dasd_checkpoint", "student_rollouts", "evaluation/dasd"} <= gone
    assert {"model_release", "dataset_release"} <= {one.asset for one in plan.assets}
    (hint,) = [one for one in plan.findings if one.about == "stage 3"]
    assert hint.text == "is left out: mixed_policy_distillation: off"
    assert plan.disk_bytes < with_it.disk_bytes


def test_what_likely_tokens_take_is_said() -> None:
    plain = small_profile()
    asking = plain.teacher_responses.model_copy(update={"top_logprobs": 5})
    plan = planned(plain.model_copy(update={"teacher_responses": asking}))
    (hint,) = [one for one in plan.findings if one.about == "top_logprobs"]
    assert "the 5 likeliest tokens take 40 bytes for each token of an answer" in hint.text
    assert plan.n_files == planned(plain).n_files + plan.n_shards * 2
