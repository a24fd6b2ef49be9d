"""Adding questions costs these questions: what a change makes, partition by partition, and asks.

Everything here runs for real but for the pictures: the shipped tiny models, real checks, the real
conditions and the real sensor, worked in one process in the way of Dagster's daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.station import ASKED, QUESTIONS_PER_DROP, Station

from dasd_assets.declaring import automation

pytestmark = pytest.mark.slow

TEMPERATURES = ("low", "high")
GRID = ("teacher_responses", "filtered_responses", "student_scores", "sentence_provenance")
TRAINING = ("low_temperature_checkpoint", "high_temperature_checkpoint", "dasd_checkpoint")


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A pipeline of one drop that is up to date as far as it goes without a person."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dasd_assets.reporting.figures.to_png", lambda *_: b"a picture")
        station = Station(tmp_path_factory.mktemp("station"))
        station.settle()
        station.put_drop("a", 0)
        assert station.sensor_tick() == ["a"]
        station.settle()
        yield station


def cells(*shards: str, temperatures: tuple[str, ...] = TEMPERATURES) -> set[tuple[str, str]]:
    return {
        (asset, f"{shard}|{temperature}")
        for asset in GRID
        for shard in shards
        for temperature in temperatures
    }


def samples(*temperatures: str) -> set[tuple[str, str]]:
    return {("divergence_sample", temperature) for temperature in temperatures}


def test_the_first_drop_is_asked_once_and_training_is_left_alone(station: Station) -> None:
    made, asked = station.taken()
    assert set(made.values()) == {1}
    assert set(made) >= cells("a") | samples("low", "high")
    assert not {name for name, _ in made} & set(TRAINING)
    assert len(asked) == len(set(asked)) == QUESTIONS_PER_DROP * len(TEMPERATURES)


def test_a_new_drop_makes_its_partitions_and_the_samples(station: Station) -> None:
    station.put_drop("b", 20)
    assert station.sensor_tick() == ["b"]
    station.settle()
    made, asked = station.taken()
    assert set(made.values()) == {1}
    assert set(made) == (
        {("raw_questions", "b"), ("questions", "b")} | cells("b") | samples("low", "high")
    )
    assert len(asked) == len(set(asked)) == QUESTIONS_PER_DROP * len(TEMPERATURES)


def test_a_filter_setting_filters_all_again_and_asks_nothing(station: Station) -> None:
    station.settings["response_filtering"]["max_sentence_repeats"] = 3
    station.load()
    station.settle()
    made, asked = station.taken()
    assert {key for name, key in made if name == "filtered_responses"} == {
        "a|low", "a|high", "b|low", "b|high",
    }  # fmt: skip
    assert set(made) <= cells("a", "b") | samples("low", "high")
    assert not [name for name, _ in made if name in ("teacher_responses", "questions")]
    assert asked == []


def test_a_new_temperature_makes_its_partitions_and_leaves_the_others_alone(
    station: Station,
) -> None:
    station.settings["teacher_responses"]["temperatures"]["mid"] = 0.8
    station.settings["teacher_responses"]["samples_per_question"]["mid"] = 1
    station.settings["divergence_sampling"]["budget_samples"]["mid"] = 9
    station.load()
    station.settle()
    made, asked = station.taken()
    grid = {(name, key) for name, key in made if name in GRID}
    assert grid == cells("a", "b", temperatures=("mid",))
    assert ("sampling_temperature", "mid") in made
    assert ("divergence_sample", "mid") in made
    # Their values are looked at again, as a code version is of all partitions, and are the same.
    others = {(name, key) for name, key in made if key in TEMPERATURES}
    assert others <= {("sampling_temperature", key) for key in TEMPERATURES} | samples(
        "low", "high"
    )
    assert len(asked) == len(set(asked)) == 2 * QUESTIONS_PER_DROP


def test_a_changed_drop_costs_the_questions_that_are_new_in_it(station: Station) -> None:
    lines = station.put_drop("b", 20).read_text(encoding="utf-8").splitlines()
    more = station.put_drop("b", 60, n=1).read_text(encoding="utf-8").splitlines()
    station.write_drop("b", lines + more)
    assert station.sensor_tick() == ["b"]
    station.settle()
    made, asked = station.taken()
    assert {key for name, key in made if name in GRID} == {"b|low", "b|high", "b|mid"}
    assert made["questions", "b"] == 1
    assert len(asked) == len(set(asked)) == 3


def test_the_same_questions_under_another_name_ask_nothing(station: Station) -> None:
    lines = station.put_drop("a", 0).read_text(encoding="utf-8").splitlines()
    station.write_drop("c", lines[::-1])  # other content, so that it is registered
    assert station.sensor_tick() == ["c"]
    station.settle()
    _, asked = station.taken()
    assert asked == []


def test_other_teacher_settings_are_a_persons_decision(station: Station) -> None:
    station.settings["teacher_responses"]["top_p"] = 0.9
    station.load()
    station.settle()
    made, asked = station.taken()
    assert not made
    assert asked == []
    station.settings["teacher_responses"]["top_p"] = 1.0
    station.load()


def test_what_failed_is_asked_for_once(station: Station) -> None:
    station.write_drop("d", ["not json"])
    assert station.sensor_tick() == ["d"]
    station.settle()
    made, asked = station.taken()
    assert asked == []
    assert ("questions", "d") not in made
    assert station.sensor_tick() == []
    assert station.requested() == {}
    station.instance.delete_dynamic_partition("question_shard", "d")


def test_training_follows_no_condition(station: Station) -> None:
    graph = station.definitions.resolve_asset_graph()
    automatic = {
        graph.get(key).group_name
        for key in graph.materializable_asset_keys
        if graph.get(key).automation_condition is not None
    }
    assert automatic == {
        "models", "questions", "teacher_responses", "response_filtering", "divergence_sampling",
    }  # fmt: skip
    for asset in TRAINING:
        assert station.instance.get_latest_materialization_event(dg.AssetKey(asset)) is None
    assert ASKED == []


def test_runs_that_it_asks_for_say_so() -> None:
    assert automation.sensor("tiny").run_tags == {"profile": "tiny", "dasd/by": "keep_up_to_date"}


@pytest.mark.parametrize("failed", [None, "none_lost"])
def test_a_failed_blocking_check_stops_what_is_below(failed: str | None, tmp_path: Path) -> None:
    """With a check that fails for a shard, nothing below the shard's questions is asked for."""
    station = Station(tmp_path)
    station.settle()
    station.put_drop("a", 0)
    station.instance.add_dynamic_partitions("question_shard", ["a"])
    for name in ("raw_questions", "questions"):
        station.instance.report_runless_asset_event(
            dg.AssetMaterialization(name, partition="a", tags={"dagster/data_version": "1"})
        )
    passed = {key.name: key.name != failed for key in station.blocking("questions")}
    assert len(passed) - sum(passed.values()) == (failed is not None)
    station.report_checks("questions", "a", passed)
    assert ("a|low" in station.requested()) == (failed is None)
