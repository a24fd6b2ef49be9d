"""Automation asks for each partition once, however runs and ticks fall, and whoever made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.stub_station import StubStation

from dasd_assets.declaring.automation import DRAW, DRAW_FROM_ALL, KEEP_UP_TO_DATE
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, question_shards

temperatures = dg.StaticPartitionsDefinition(["low"])
grid = dg.MultiPartitionsDefinition({TEMPERATURE: temperatures, QUESTION_SHARD: question_shards})
HERE = ["a|low", "b|low"]


class Drawing:
    """Answers, their scores and the samples, over an instance: the pipeline's shape and conditions.

    Attributes:
        made: how often a partition was made since the last look.
        content: what is in a partition when it is made; else always the same.
        failing: partitions whose runs fail.
        passed: whether answers pass their blocking check.
    """

    def __init__(self, draw: dg.AutomationCondition = DRAW) -> None:
        self.made: Counter[str] = Counter()
        self.content: dict[str, str] = {}
        self.failing: set[str] = set()
        self.passed = True
        self.draw = draw
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions(QUESTION_SHARD, ["a", "b"])
        self._cursor: Any = None
        self.load("1")

    def load(self, code_version: str) -> None:
        """Read the definitions anew, with other settings of the answers."""

        def make(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            cell = f"{context.asset_key.to_user_string()} {context.partition_key}"
            if cell in self.failing:
                raise dg.Failure(cell, allow_retries=False)
            self.made[cell] += 1
            return dg.MaterializeResult(data_version=dg.DataVersion(self.content.get(cell, "-")))

        def asset(name: str, parts: dg.PartitionsDefinition, **named: object) -> object:
            def body(context):
                return make(context)

            return dg.asset(name=name, partitions_def=parts, **named)(body)  # type: ignore[call-overload]

        answers = asset(
            "answers", grid, code_version=code_version, automation_condition=KEEP_UP_TO_DATE
        )
        scores = asset(
            "scores", grid, deps=[answers], code_version="1", automation_condition=KEEP_UP_TO_DATE
        )
        same = dg.MultiToSingleDimensionPartitionMapping(TEMPERATURE)
        sample = asset(
            "sample", temperatures, deps=[dg.AssetDep(scores, partition_mapping=same)],
            code_version="1", automation_condition=self.draw,
        )  # fmt: skip

        @dg.asset_check(asset="answers", blocking=True, partitions_def=grid)
        def good() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=self.passed)

        self.definitions = dg.Definitions(
            [answers, scores, sample], asset_checks=[good], executor=dg.in_process_executor
        )
        self._job = self.definitions.resolve_implicit_global_asset_job_def()

    def tick(self) -> dict[str, list[str]]:
        """Partition -> assets that are asked for."""
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, cursor=self._cursor
        )
        self._cursor = result.cursor
        asked: dict[str, list[str]] = {}
        for name in ("answers", "scores", "sample"):
            for partition in sorted(result.get_requested_partitions(dg.AssetKey(name)), key=str):
                asked.setdefault(str(partition), []).append(name)
        return asked

    def run(self, partition: str, *names: str) -> None:
        self._job.execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in names],
        )  # fmt: skip

    def queued(self, partition: str, *names: str) -> dg.DagsterRun:
        """A run that has not come to its first step."""
        return self.instance.create_run_for_job(
            self._job, tags={"dagster/partition": partition}, status=dg.DagsterRunStatus.STARTED,
            asset_selection={dg.AssetKey(name) for name in names},
        )  # fmt: skip

    def live(self) -> Counter[str]:
        """Tick and run as the daemon does: ticks pass while runs start, several end between two."""
        while asked := self.tick():
            waiting = [self.queued(partition, *names) for partition, names in asked.items()]
            assert self.tick() == {}, "what has been asked for is not asked for again"
            for run, (partition, names) in zip(waiting, asked.items(), strict=True):
                self.instance.report_run_canceled(run)  # the one that is executed takes its place
                self.run(partition, *names)
        made, self.made = self.made, Counter()
        return made

    def change(self, *cells: str) -> None:
        self.content |= {cell: f"another than {self.content.get(cell)}" for cell in cells}


@pytest.fixture
def drawing() -> Drawing:
    """Two shards, all that is made of them up to date."""
    drawing = Drawing()
    everything = {f"{name} {cell}" for name in ("answers", "scores") for cell in HERE}
    assert drawing.live() == dict.fromkeys(everything | {"sample low"}, 1)
    return drawing


def by_hand(drawing: Drawing) -> None:
    """All answers have other content, and all that is below was made of it."""
    drawing.change(*(f"answers {cell}" for cell in HERE))
    for cell in HERE:
        drawing.run(cell, "answers", "scores")


def half_by_hand(drawing: Drawing) -> None:
    """As above, but scores were made of one shard only, and have other content, too."""
    drawing.change(*(f"{name} {cell}" for name in ("answers", "scores") for cell in HERE))
    for cell in HERE:
        drawing.run(cell, "answers")
        if cell.startswith("a"):
            drawing.run(cell, "scores")


def settings_by_hand(drawing: Drawing) -> None:
    """Other settings, followed by hand for one of two partitions."""
    drawing.load("2")
    drawing.run("a|low", "answers")


def again_the_same(drawing: Drawing) -> None:
    """Made again, with the content that was there."""
    for cell in HERE:
        drawing.run(cell, "answers")


@pytest.mark.parametrize(
    ("in_the_pause", "then"),
    [
        (by_hand, set()),
        (half_by_hand, {"scores b|low", "sample low"}),
        (settings_by_hand, {"answers b|low"}),
        (again_the_same, set()),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_after_a_pause_only_what_was_not_made_by_hand_is_asked_for(
    drawing: Drawing, in_the_pause: Callable[[Drawing], None], then: set[str]
) -> None:
    in_the_pause(drawing)
    drawing.made.clear()
    assert drawing.live() == dict.fromkeys(then, 1)


def test_settings_that_are_taken_back_ask_for_nothing_more(drawing: Drawing) -> None:
    drawing.load("2")
    assert len(drawing.tick()) == 2  # whose runs are cancelled before they start
    drawing.load("1")
    assert drawing.live() == {}


def test_new_shards_that_end_between_the_same_two_ticks(drawing: Drawing) -> None:
    drawing.instance.add_dynamic_partitions(QUESTION_SHARD, ["c", "d"])
    made = drawing.live()
    assert set(made.values()) == {1}
    assert made.total() == 2 * 2 + 1


def test_an_input_that_changes_while_its_child_is_made_is_not_forgotten(drawing: Drawing) -> None:
    drawing.change("answers a|low")
    drawing.run("a|low", "answers")
    assert drawing.tick() == {"a|low": ["scores"]}
    drawing.run("a|low", "scores")
    drawing.change("answers a|low")
    drawing.run("a|low", "answers")
    drawing.made.clear()
    assert drawing.live() == {"scores a|low": 1}


def test_a_failed_run_is_asked_for_once(drawing: Drawing) -> None:
    drawing.failing = {"scores a|low"}
    drawing.change("answers a|low", "scores a|low")
    drawing.run("a|low", "answers")
    assert drawing.tick() == {"a|low": ["scores"]}
    drawing.run("a|low", "scores")
    assert drawing.tick() == {}


def test_the_sample_waits_for_what_is_being_made_anew(drawing: Drawing) -> None:
    """Scores of one shard are there, those of the other are not even asked for yet."""
    drawing.load("2")
    drawing.change(*(f"{name} {cell}" for name in ("answers", "scores") for cell in HERE))
    asked = drawing.tick()
    assert set(asked) == set(HERE)
    drawing.run("a|low", "answers")
    assert drawing.tick() == {"a|low": ["scores"]}
    drawing.run("a|low", "scores")
    drawing.run("b|low", "answers")
    assert drawing.tick() == {"b|low": ["scores"]}
    drawing.run("b|low", "scores")
    assert drawing.tick() == {"low": ["sample"]}


def test_the_sample_does_not_wait_for_what_failed(drawing: Drawing) -> None:
    drawing.failing = {"answers c|low"}
    drawing.instance.add_dynamic_partitions(QUESTION_SHARD, ["c"])
    drawing.change("answers a|low", "scores a|low")
    drawing.run("a|low", "answers")
    made = drawing.live()
    assert made["sample low"] == 1
    assert "scores c|low" not in made


def test_the_sample_of_a_profile_that_requires_all_shards_waits() -> None:
    drawing = Drawing(DRAW_FROM_ALL)
    drawing.failing = {"answers b|low"}
    assert "sample low" not in drawing.live()
    drawing.failing = set()
    drawing.run("b|low", "answers")
    assert drawing.live()["sample low"] == 1


def test_the_sample_does_not_wait_for_answers_that_failed_their_check(drawing: Drawing) -> None:
    drawing.passed = False
    drawing.instance.add_dynamic_partitions(QUESTION_SHARD, ["c"])
    made = drawing.live()
    assert made["answers c|low"] == 1
    assert "scores c|low" not in made
    drawing.change("scores a|low")
    drawing.run("a|low", "scores")
    assert drawing.live()["sample low"] == 1


def test_a_drop_of_forty_questions_is_twelve_materializations(tmp_path: Path) -> None:
    """The whole graph, its sensor and its conditions; sixteen were made of it once."""
    station = StubStation(tmp_path)
    station.settle()
    for drop, n in {"a": 6, "b": 40}.items():
        station.put_drop(drop, 0, n)
        station.made = Counter()
        assert station.sensor_tick() == [drop]
        while asked := station.requested():
            assert station.requested() == {}
            for partition, names in asked.items():
                station.run(names, partition)
    cells = [f"b|{temperature}" for temperature in ("low", "high")]
    names = ("teacher_responses", "filtered_responses", "student_scores", "sentence_provenance")
    expected = {("raw_questions", "b"), ("questions", "b")}
    expected |= {(name, cell) for name in names for cell in cells}
    expected |= {("divergence_sample", temperature) for temperature in ("low", "high")}
    assert station.made == dict.fromkeys(expected, 1)
    assert station.made.total() == 12
