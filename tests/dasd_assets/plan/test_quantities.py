"""Where a quantity is from: option, measurement, profile, assumption, in this order."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from support.planned import quantities, small_profile

from dasd_assets.plan.measured import Totals
from dasd_assets.plan.quantities import Quantity
from dasd_assets.profile import PlanSettings

MEASURED = {("teacher_responses", "low"): Totals(1, rows=10, tokens=700, tokens_per_second=400.0)}
OPTIONS = PlanSettings(mean_answer_tokens={"low": 50}, teacher_tokens_per_second=900)


def found(name: str, all_of_them: list[Quantity]) -> Quantity:
    (quantity,) = [quantity for quantity in all_of_them if quantity.name.startswith(name)]
    return quantity


@pytest.mark.parametrize(
    ("options", "measured", "plan", "value", "source"),
    [
        (OPTIONS, MEASURED, {}, 50, "option"),
        (None, MEASURED, {}, 70, "measured"),
        (None, None, {}, 100, "profile"),
        (None, None, {"mean_answer_tokens": {}}, 160, "assumed: half of max_tokens"),
    ],
)
def test_an_answers_tokens(
    options: PlanSettings | None, measured: dict | None, plan: dict, value: float, source: str
) -> None:
    asked = quantities(small_profile(plan=plan), options, measured)
    assert asked.answer_tokens("low", "math") == value
    quantity = found("mean_answer_tokens.low", asked.used)
    assert (quantity.value, quantity.source) == (value, source)


@pytest.mark.parametrize(
    ("options", "measured", "plan", "value", "source"),
    [
        (OPTIONS, MEASURED, {}, 900, "option"),
        (None, MEASURED, {}, 100, "measured"),  # 400 on 4 GPUs
        (None, None, {}, 1000, "profile"),
        (None, None, {"teacher_tokens_per_second": None}, None, "not given"),
    ],
)
def test_a_throughput(
    options: PlanSettings | None, measured: dict | None, plan: dict, value: float, source: str
) -> None:
    asked = quantities(small_profile(plan=plan), options, measured)
    assert asked.rate("teacher", "teacher_responses", "low", 100) == value
    quantity = found("teacher_tokens_per_second", asked.used)
    assert (quantity.value, quantity.source, quantity.unit) == (value, source, "tokens/s per GPU")


def test_an_answers_tokens_by_domain() -> None:
    plan = {"mean_answer_tokens": {"low": {"math": 900, "code": 80}}}
    asked = quantities(small_profile(plan=plan))
    assert [asked.answer_tokens("low", name) for name in ("math", "code", "science")] == [
        900, 80, 160,
    ]  # fmt: skip
    assert {quantity.name: quantity.source for quantity in asked.used} == {
        "mean_answer_tokens.low.math": "profile",
        "mean_answer_tokens.low.code": "profile",
        "mean_answer_tokens.low.science": "assumed: half of max_tokens",
    }
    # A run measures the mean over all domains.
    later = quantities(small_profile(plan=plan), measured=MEASURED)
    assert {later.answer_tokens("low", name) for name in ("math", "code")} == {70}
    assert [quantity.name for quantity in later.used] == ["mean_answer_tokens.low"]


def test_a_speed_from_flop_yields_to_one_that_is_known() -> None:
    derived = {"peak_flops_per_second": 1e9, "share_of_peak": {"teacher": 0.5}}
    plan = derived | {"teacher_tokens_per_second": None}
    asked = quantities(small_profile(plan=plan))
    speed = 0.5 * 1e9 / (2e6 + 256 * 100)
    assert asked.rate("teacher", "teacher_responses", "low", 100) == pytest.approx(speed)
    assert found("teacher_tokens_per_second (teacher_responses low)", asked.used).source == (
        "share_of_peak x peak / FLOP of a token"
    )
    assert [flops.work for flops in asked.flops] == ["teacher_responses low"]
    for known, value in [
        (quantities(small_profile(plan=plan), OPTIONS), 900),
        (quantities(small_profile(plan=plan), None, MEASURED), 100),
        (quantities(small_profile(plan=derived)), 1000),
    ]:
        assert known.rate("teacher", "teacher_responses", "low", 100) == value
        assert known.flops == []


def test_a_server_has_no_gpus_to_derive_a_speed_from() -> None:
    engine = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "served_model": "m"}
    plan = {"peak_flops_per_second": 1e9, "share_of_peak": {"teacher": 0.5}}
    asked = quantities(small_profile(plan=plan, teacher={"engine": engine}))
    assert asked.rate("teacher", "teacher_responses", "low", 100) is None


def test_the_questions_of_an_evaluation_set() -> None:
    asked = quantities(small_profile(plan={"benchmark_questions": {"aime24": 30}}))
    assert asked.benchmark_questions("math", 48) == 48
    assert asked.benchmark_questions("aime24", None) == 30
    assert asked.benchmark_questions("other", None) == 100
    sources = {quantity.name: quantity.source for quantity in asked.used}
    assert sources == {
        "benchmark_questions.aime24": "profile",
        "benchmark_questions.other": "assumed: the file is not here",
    }


def test_the_profile_says_where_its_figures_are_from() -> None:
    asked = quantities(small_profile(plan={"origin": {"kept_share": "a run in May"}}))
    asked.kept_share("low")
    asked.truncated_share()
    assert [quantity.source for quantity in asked.used] == ["profile: a run in May", "profile"]
    with pytest.raises(ValidationError, match=r"kept: no setting of the section plan"):
        small_profile(plan={"origin": {"kept": "a run in May"}})


def test_only_what_was_asked_for_is_listed_and_once() -> None:
    asked = quantities(small_profile())
    asked.prompt_tokens()
    asked.prompt_tokens()
    asked.kept_share("high")
    assert [quantity.name for quantity in asked.used] == ["mean_prompt_tokens", "kept_share.high"]
