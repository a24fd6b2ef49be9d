"""A whole plan: shards, sums, disk."""

from __future__ import annotations

import pytest
from support.planned import ANNOUNCED, quantities, small_profile

from dasd_assets.plan.pipeline import Plan, plan_pipeline
from dasd_assets.plan.shards import fitting_shard, shard_findings
from dasd_assets.plan.sizes import ShardSize, Sizes, shape_of
from dasd_assets.profile import PROJECT_ROOT, ModelShape, PlanSettings, Profile, load_profile
from resources.engines.settings import OpenAiSettings

SHAPE = ModelShape(parameters=1e6, layers=2, kv_heads=2, head_dim=8, hidden_size=32, vocab_size=100)


def planned(profile: Profile | None = None, sizes: Sizes = ANNOUNCED, free: int = 10**12) -> Plan:
    profile = profile or small_profile()
    return plan_pipeline(profile, sizes, PlanSettings(), {}, SHAPE, SHAPE, free)


def test_sums_are_those_of_the_lines() -> None:
    plan = planned()
    assert plan.requests == sum(a.requests for a in plan.assets) == 500 + 450 + 75 + 4 * 192
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
    profile = small_profile()
    assert fitting_shard(profile, quantities(profile), 100_000) == 48_000
    assert fitting_shard(profile, quantities(profile), 9_000_000) == 91_000  # fewer than 100 shards
    short = small_profile(plan={"hours_per_partition": 0.001})
    assert fitting_shard(short, quantities(short), 100) == 24
    unknown = small_profile(plan={"teacher_tokens_per_second": None})
    assert fitting_shard(unknown, quantities(unknown), 100) is None


def test_announced_questions_are_cut_into_fitting_shards() -> None:
    assert planned(small_profile(plan={"hours_per_partition": 0.001})).n_shards == 5
    assert planned().n_shards == 1


def test_large_and_many_shards_are_named() -> None:
    large = Sizes((ShardSize("big", 100, 100), ShardSize("small", 10, 10)), 0, {})
    texts = [f.text for f in shard_findings(large, 24, 2, 100)]
    assert texts[0] == "a shard of about 24 questions fits"
    assert texts[1].startswith("question_shard big has 100 questions")
    assert len(texts) == 2
    many = shard_findings(Sizes((), 1, {}), None, 100, 60_000)
    assert [f.level for f in many] == ["hint", "warning"]


def test_the_disk_that_is_not_there_is_said_first() -> None:
    assert planned().findings[0].about != "disk"
    first = planned(free=1_000).findings[0]
    assert (first.level, first.about) == ("warning", "disk")


def test_a_models_size_is_that_of_its_files_or_the_profiles() -> None:
    tiny = load_profile("tiny")
    shape, source = shape_of(tiny.base_student, SHAPE)
    assert source == "its files"
    assert shape is not None
    assert (shape.parameters, shape.layers, shape.kv_heads) == (488_400, 3, 2)
    teacher, _ = shape_of(tiny.teacher, None)
    assert teacher is not None
    assert teacher.full_attention_layers == 1
    size = (PROJECT_ROOT / "tiny_world/models/teacher/model.safetensors").stat().st_size
    assert teacher.weight_bytes == size
    missing = tiny.teacher.model_copy(update={"path": "no/such/model"})
    assert shape_of(missing, SHAPE) == (SHAPE, "profile")
    assert shape_of(missing, None)[0] is None
    served = OpenAiSettings(base_url="http://x/v1", served_model="m")
    assert shape_of(tiny.teacher.model_copy(update={"engine": served}), None)[0] is None


@pytest.mark.parametrize("name", ["dasd-4b", "dasd-4b-api"])
def test_the_papers_profiles_fit_into_the_compute_that_they_declare(name: str) -> None:
    profile = load_profile(name)
    sizes = Sizes((), 105_000, {})
    plan = plan_pipeline(
        profile, sizes, PlanSettings(), {}, profile.plan.teacher, profile.plan.base_student, 10**15
    )
    assert not [finding for finding in plan.findings if finding.level == "problem"]
    selected = {a.part: a.rows for a in plan.assets if a.asset == "divergence_sample"}
    assert selected == {"low": 105_000, "high": 330_000}  # the paper's
