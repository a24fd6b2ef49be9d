"""Which checkpoint is released: a stage that lost is not, unless it is asked for by its name."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pytest

from dasd_assets.release.choice import candidates, released_row
from dasd_assets.release.folder import ReleaseError
from dasd_assets.reporting.metrics import Bootstrap
from dasd_assets.reporting.stage_table import StageRow, stage_table

N_QUESTIONS, K = 80, 4
OLD_WORLD = {"base": 26, "low_temperature": 48, "high_temperature": 41, "dasd": 39}
"""Right answers of eighty: the first tiny world's 32.3 → 59.4 → 50.8 → 48.7 %."""
EVER_BETTER = {"base": 20, "low_temperature": 40, "high_temperature": 50, "dasd": 60}


def rows(right: Mapping[str, int], shift: int = 0) -> list[StageRow]:
    """The stage table; answers beyond the right ones are wrong, whose questions `shift` moves."""
    answers = [
        {
            "checkpoint": checkpoint, "benchmark": "math", "question_id": f"q{index}",
            "finish_reason": "stop", "n_tokens": 5,
            "is_correct": (index + shift * place) % N_QUESTIONS < n_right,
        }
        for place, (checkpoint, n_right) in enumerate(right.items())
        for index in range(N_QUESTIONS) for _ in range(K)
    ]  # fmt: skip
    return stage_table(pa.Table.from_pylist(answers), ["math"], Bootstrap(resamples=1_000))


@pytest.mark.parametrize(
    ("right", "wanted", "released"),
    [
        (EVER_BETTER, "final", "dasd"),
        (EVER_BETTER, "best", "dasd"),
        (EVER_BETTER, "low_temperature", "low_temperature"),
        (OLD_WORLD, "best", "low_temperature"),
        (OLD_WORLD, "dasd", "dasd"),
        (OLD_WORLD, "high_temperature", "high_temperature"),
        (EVER_BETTER | {"dasd": 50}, "best", "dasd"),
        (EVER_BETTER | {"dasd": 49}, "final", "dasd"),
    ],
    ids=[
        "ever better", "the best is the last", "by name", "the best is the first",
        "a loss by name", "another loss by name", "of equals the last",
        "one question less tells nothing",
    ],
)  # fmt: skip
def test_the_setting_says_which(right: Mapping[str, int], wanted: str, released: str) -> None:
    assert released_row(rows(right), wanted).checkpoint == released


def test_a_last_stage_that_lost_is_refused_with_the_table_and_what_to_set() -> None:
    with pytest.raises(ReleaseError) as refused:
        released_row(rows(OLD_WORLD), "final")
    message = str(refused.value)
    assert message.startswith("dasd is worse than an earlier checkpoint on the same questions")
    assert "p < 0.05): low_temperature: -11.2 points, interval -1" in message
    assert "80 questions" in message and "base:" not in message
    assert "60.0 ±" in message and "51.2 ±" in message and "48.8 ±" in message
    assert "To release low_temperature: release.checkpoint: best." in message
    assert message.endswith("To release dasd all the same: release.checkpoint: dasd.")


def test_a_difference_within_chance_is_no_reason() -> None:
    """Two points less, of which the questions at hand cannot tell that they are any."""
    nearly = {"base": 20, "low_temperature": 40, "high_temperature": 40, "dasd": 38}
    assert released_row(rows(nearly, shift=19), "final").checkpoint == "dasd"


def test_nothing_is_released_that_lost_to_the_base_student() -> None:
    lost = {"base": 60, "low_temperature": 40, "high_temperature": 30, "dasd": 20}
    for wanted in ("best", "final"):
        with pytest.raises(ReleaseError, match="base: -"):
            released_row(rows(lost), wanted)


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        ("final", "base"), ("final", "high_temperature"), ("best", "dasd"),
        ("low_temperature", "low_temperature"), ("dasd", "base"),
    ],
)  # fmt: skip
def test_what_the_choice_rests_on_has_to_be_evaluated(wanted: str, missing: str) -> None:
    without = {name: n for name, n in EVER_BETTER.items() if name != missing}
    with pytest.raises(ReleaseError, match=rf"evaluation/{missing} \[math\] not in the lake"):
        released_row(rows(without), wanted)


def test_what_it_does_not_rest_on_need_not_be() -> None:
    without = {name: n for name, n in EVER_BETTER.items() if name != "dasd"}
    assert released_row(rows(without), "high_temperature").checkpoint == "high_temperature"


def test_the_release_is_made_of_the_checkpoints_that_it_may_be() -> None:
    assert candidates("final") == candidates("dasd") == ("dasd",)
    assert candidates("low_temperature") == ("low_temperature",)
    assert candidates("best") == ("low_temperature", "high_temperature", "dasd")
