"""The plan against numbers that were reckoned by hand."""

from __future__ import annotations

from typing import Any

import pytest
from support.planned import ANNOUNCED, SHAPE, candidates, quantities, small_profile

from dasd_assets.plan.asset_plan import AssetPlan
from dasd_assets.plan.estimate import Estimate
from dasd_assets.plan.measured import Totals
from dasd_assets.plan.sizes import Sizes
from dasd_assets.profile import Profile


def estimated(
    profile: Profile, measured: Any = None, sizes: Sizes = ANNOUNCED
) -> dict[tuple[str, str], AssetPlan]:
    asked = quantities(profile, measured=measured)
    answers = candidates(profile, asked, sizes.by_domain)
    walk = Estimate(profile, sizes, asked, answers, SHAPE, n_shards=4)
    return {(asset.asset, asset.part): asset for asset in walk.assets()}


PLAN = estimated(small_profile())


@pytest.mark.parametrize(
    ("asset", "part", "partitions", "requests", "rows", "tokens"),
    [
        ("questions", "", 4, 0, 100, 0),
        ("teacher_responses", "low", 4, 200, 200, 200 * 100),
        ("teacher_responses", "high", 4, 300, 300, 300 * 200),
        ("filtered_responses", "low", 4, 0, 180, 0),
        ("student_scores", "high", 4, 270, 270, 270 * 200),
        ("sentence_provenance", "low", 4, 0, 180 * 10, 0),
        ("sentence_provenance", "high", 4, 0, 270 * 20, 0),
        # The budget, 150 of 180; then two answers to each of 100 questions, 200 of 270.
        ("divergence_sample", "low", 1, 0, 150, 0),
        ("divergence_sample", "high", 1, 0, 200, 0),
        ("low_temperature_training_set", "", 1, 0, 150, 0),
        ("mixed_policy_training_set", "", 1, 0, 34, 0),
        # Three epochs of 150 rows of 50 + 100 tokens, and of 200 rows of 50 + 200.
        ("low_temperature_checkpoint", "", 1, 0, 150, 67_500),
        ("high_temperature_checkpoint", "", 1, 0, 200, 150_000),
        # 60 rollouts, a quarter of them 1.5 times as long; the samples' mean is 55,000 / 350.
        ("student_rollouts", "", 4, 60, 60, 60 * (55_000 / 350) * 1.125),
        ("teacher_continuations", "", 4, 15, 15, 15 * (55_000 / 350) / 2),
        # 15 continuations x 0.9 = 13.5, to the even number 14, and 20 others.
        ("mixed_policy_sample", "", 1, 0, 34, 0),
        ("evaluation/dasd", "math", 1, 192, 192, 192 * 300),
        ("evaluation_teacher_scores/dasd", "math", 1, 192, 192, 192 * 300),
        ("evaluation_provenance/dasd", "math", 1, 192, 192 * 30, 192 * 300),
    ],
)
def test_counts(
    asset: str, part: str, partitions: int, requests: int, rows: int, tokens: float
) -> None:
    found = PLAN[asset, part]
    assert (found.partitions, found.requests, found.rows) == (partitions, requests, rows)
    assert found.tokens == pytest.approx(tokens)


def test_a_packed_training_set_takes_four_bytes_a_token() -> None:
    packed = PLAN["low_temperature_training_set", ""]
    assert packed.disk_bytes == 150 * (4 * (50 + 100) + 7 * 4)
    assert packed.hours is None  # nobody has measured it


def test_hours_gpu_hours_and_money() -> None:
    teacher = PLAN["teacher_responses", "high"]
    # 60,000 tokens at 1,000 a second and GPU on 4 GPUs.
    assert teacher.hours == pytest.approx(15 / 3600)
    assert teacher.gpu_hours == pytest.approx(60 / 3600)
    assert teacher.money == pytest.approx(60 / 3600 * 3)
    assert teacher.hours_per_partition == pytest.approx(15 / 3600 / 4)
    training = PLAN["low_temperature_checkpoint", ""]
    assert training.hours == pytest.approx(67_500 / (2000 * 2) / 3600)
    assert training.gpu_hours == pytest.approx(67_500 / 2000 / 3600)


def test_steps_are_counted_in_packed_sequences() -> None:
    # 22,500 tokens into 512 x 0.8 positions: 55 sequences, 7 steps of 8, three epochs.
    assert PLAN["low_temperature_checkpoint", ""].steps == 21
    # 50,000: 123 sequences, 16 steps.
    assert PLAN["high_temperature_checkpoint", ""].steps == 48


def test_disk_is_what_the_columns_hold() -> None:
    # Two lists of four bytes and four characters a token; the question; 17 other columns.
    expected = 200 * (12 * 100 + 4 * 50 + 16 * 4)
    assert PLAN["teacher_responses", "low"].disk_bytes == expected
    assert PLAN["dasd_checkpoint", ""].disk_bytes == 4 * 1e6  # float32


def test_releases_are_copies_of_weights_and_samples() -> None:
    assert PLAN["model_release", ""].disk_bytes == 4 * 1e6
    release = PLAN["dataset_release", ""]
    assert release.rows == 150 + 200 + 34
    texts = sum(PLAN[a, p].disk_bytes for a, p in [
        ("divergence_sample", "low"), ("divergence_sample", "high"), ("mixed_policy_sample", ""),
    ])  # fmt: skip
    # 12 bytes a token, question and 16 columns; a sentence of 11 columns every 10 tokens.
    tokens = 150 * (1200 + 200 + 64 + 10 * 44) + 200 * (2400 + 200 + 64 + 20 * 44)
    assert release.disk_bytes == pytest.approx(texts + tokens)
    bare = estimated(small_profile(release={"include_logprobs": False}))
    assert bare["dataset_release", ""].disk_bytes == pytest.approx(texts)


def test_a_budget_in_tokens_counts_answers_that_fit() -> None:
    sampling = {"budget_samples": {"high": 400}, "budget_tokens": {"low": 9_999}}
    plan = estimated(small_profile(divergence_sampling=sampling))
    assert plan["divergence_sample", "low"].rows == 99
    # All of them, whatever part of a token their mean has.
    odd = small_profile(
        divergence_sampling={"budget_samples": {"high": 400}, "budget_tokens": {"low": 99_999}},
        plan={"mean_answer_tokens": {"low": 33.3}},
    )
    assert estimated(odd)["divergence_sample", "low"].rows == 180


def test_lengths_and_shares_of_the_domains_make_the_totals() -> None:
    profile = small_profile(
        plan={"mean_answer_tokens": {"low": {"math": 1000, "code": 100}, "high": 200}},
        divergence_sampling={"domain_shares": {"low": {"math": 0.8, "code": 0.2}}},
    )
    plan = estimated(profile, sizes=Sizes((), {"math": 80, "code": 20}, {"math": 48}))
    assert plan["teacher_responses", "low"].tokens == 160 * 1000 + 40 * 100
    # Nine tenths are kept: 120 of 144 are wanted of mathematics, 30 of 36 of code.
    assert plan["student_scores", "low"].tokens == 144 * 1000 + 36 * 100
    assert plan["divergence_sample", "low"].rows == 150
    assert plan["low_temperature_checkpoint", ""].tokens == 3 * (120 * 1000 + 30 * 100 + 150 * 50)
    # What mathematics cannot fill goes to code.
    few = estimated(profile, sizes=Sizes((), {"math": 20, "code": 80}, {"math": 48}))
    assert few["divergence_sample", "low"].rows == 150
    assert few["low_temperature_checkpoint", ""].tokens == 3 * (36 * 1000 + 114 * 100 + 150 * 50)


def test_hours_from_flop_grow_with_the_length() -> None:
    figures = {
        "training_tokens_per_second": None, "scoring_tokens_per_second": None,
        "peak_flops_per_second": 1e9, "share_of_peak": {"training": 0.5, "scoring": 0.4},
    }  # fmt: skip
    plan = estimated(small_profile(plan=figures))
    # A token looks back at the prompt of 50 and half an answer of 100 or 200: 2M FLOP of the
    # parameters and 4 x 2 layers x 4 heads x 8 of each token looked back at; three passes.
    for stage, context in {"low": 100, "high": 150}.items():
        training = plan[f"{stage}_temperature_checkpoint", ""]
        rate = 0.5 * 1e9 / (3 * (2e6 + 256 * context))
        assert training.hours == pytest.approx(training.tokens / (rate * 2) / 3600)
        scores = plan["student_scores", stage]
        rate = 0.4 * 1e9 / (2e6 + 256 * context)
        assert scores.hours == pytest.approx(scores.tokens / (rate * 2) / 3600)


def test_without_a_rate_or_a_price_nothing_is_made_up() -> None:
    plan = estimated(small_profile(plan={"teacher_tokens_per_second": None}))
    teacher = plan["teacher_responses", "low"]
    assert (teacher.hours, teacher.gpu_hours, teacher.money) == (None, None, None)
    assert teacher.tokens == 20_000
    free = estimated(small_profile(plan={"price_per_gpu_hour": None}))
    assert free["teacher_responses", "low"].money is None
    assert free["teacher_responses", "low"].hours is not None


def test_an_api_is_paid_by_the_token() -> None:
    engine = {
        "kind": "openai", "base_url": "http://127.0.0.1:1/v1", "served_model": "m",
        "price_per_million_prompt_tokens": 0.5, "price_per_million_completion_tokens": 2.0,
    }  # fmt: skip
    plan = estimated(small_profile(teacher={"engine": engine}))
    teacher = plan["teacher_responses", "low"]
    assert teacher.money == pytest.approx((200 * 50 * 0.5 + 20_000 * 2.0) / 1e6)
    assert teacher.hours is None  # the profile's rate is of GPUs, not of somebody's server
    # Given tokens are of the prompt, and one is sampled, as the engine's own account has it.
    scores = plan["evaluation_teacher_scores/dasd", "math"]
    assert scores.money == pytest.approx(192 * ((50 + 300) * 0.5 + 2.0) / 1e6)


def test_what_was_measured_goes_before_what_the_profile_says() -> None:
    measured = {
        ("teacher_responses", "low"): Totals(
            2, rows=100, tokens=5_000, tokens_per_second=800.0, n_bytes=64_000, seconds=7
        ),
        ("filtered_responses", "low"): Totals(2, rows=80, seconds=4.0),
        ("sentence_provenance", "low"): Totals(2, rows=400),
    }
    plan = estimated(small_profile(), measured)
    teacher = plan["teacher_responses", "low"]
    assert teacher.tokens == 200 * 50
    # Of all its GPUs together; of 7 s the model took 5,000 / 800, the rest is of the 100 rows.
    assert teacher.hours == pytest.approx((200 * 50 / 800 + 200 * 0.75 / 100) / 3600)
    assert teacher.disk_bytes == 200 * 640
    filtered = plan["filtered_responses", "low"]
    assert filtered.rows == 160
    assert filtered.hours == pytest.approx(160 * 4 / 80 / 3600)
    assert plan["sentence_provenance", "low"].rows == 160 * 5
    assert plan["teacher_responses", "high"].tokens == 300 * 200


def test_time_beside_the_model_is_of_the_rows_that_were_measured() -> None:
    """Rows of the provenance of a checkpoint's answers are sentences, its requests answers."""
    name = "evaluation_provenance/dasd"
    again = {
        ("evaluation/dasd", "math"): Totals(1, rows=192, tokens=57_600),
        ("evaluation_teacher_scores/dasd", "math"): Totals(1, rows=192, tokens=57_600),
        (name, "math"): Totals(
            1, rows=1_920, tokens=57_600, tokens_per_second=800.0, seconds=72 + 96
        ),
    }
    planned = estimated(small_profile(), again)[name, "math"]
    assert (planned.requests, planned.rows) == (192, 1_920)
    assert planned.hours == pytest.approx((72 + 96) / 3600)


def test_lines_add_up_and_an_unknown_makes_the_sum_unknown() -> None:
    low, high = PLAN["teacher_responses", "low"], PLAN["teacher_responses", "high"]
    both = low + high
    assert (both.requests, both.rows, both.tokens) == (500, 500, 80_000)
    assert both.hours == pytest.approx((low.hours or 0) + (high.hours or 0))
    unknown = estimated(small_profile(plan={"teacher_tokens_per_second": None}))
    assert (low + unknown["teacher_responses", "low"]).hours is None


def test_likely_tokens_take_eight_bytes_each_beside_the_answers() -> None:
    plain = small_profile()
    asking = plain.teacher_responses.model_copy(update={"top_logprobs": 5})
    found = estimated(plain.model_copy(update={"teacher_responses": asking}))
    for part, tokens in {"low": 200 * 100, "high": 300 * 200}.items():
        place = ("teacher_responses", part)
        more = found[place].disk_bytes - PLAN[place].disk_bytes
        assert more == pytest.approx(tokens * 5 * 8)
    assert {place for place in PLAN if found[place] != PLAN[place]} == {
        ("teacher_responses", "low"), ("teacher_responses", "high"),
    }  # fmt: skip
