"""A pipeline in one process, worked by sensor and automation conditions as by the daemon."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from support.pipeline import TINY_WORLD

from dasd_assets.graph import build_definitions
from dasd_assets.models.formats_of_models import QUESTION
from dasd_assets.profile import PROFILE_FOLDER, Profile
from resources.engines.inference import InferenceModel
from resources.engines.protocol import GenerationRequest, InferenceEngine

QUESTIONS_PER_DROP = 6
Made = Counter[tuple[str, str | None]]

ASKED: list[tuple[str, int]] = []
"""Every request to the teacher's engine: hash of its prompt and sampling, and its seed.

Without the question that the model is tried on."""


class CountedTeacher(InferenceModel):
    """The real teacher, with every request noted."""

    @contextmanager
    def open(self, path: str | None = None) -> Iterator[InferenceEngine]:
        with super().open(path) as engine:
            generate = engine.generate

            def counted(requests: Sequence[GenerationRequest], *rest: Any, **named: Any) -> Any:
                ASKED.extend(
                    (request.key(engine.identity), request.seed)
                    for request in requests
                    if request.prompt.messages[-1][1] != QUESTION
                )
                return generate(requests, *rest, **named)

            engine.generate = counted  # type: ignore[method-assign]
            yield engine


class Station:
    """One pipeline: its inbox, instance and definitions, and what was made since last asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.instance = dg.DagsterInstance.ephemeral()
        self._cursor: Any = None
        self._writes = 0
        self._run_keys: set[str] = set()
        self.made: Made = Counter()
        self.settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
        self.settings["questions"]["inbox"] = str(self.inbox)
        self.settings["teacher_responses"]["samples_per_question"] = {"low": 1, "high": 1}
        benchmark = folder / "math.jsonl"
        lines = (TINY_WORLD / "benchmarks" / "math.jsonl").read_text(encoding="utf-8").splitlines()
        benchmark.write_text("\n".join(lines[:4]), encoding="utf-8")
        self.settings["evaluation"]["benchmarks"] = {
            "math": {"path": str(benchmark), "max_tokens": 99}
        }
        self.load()

    def load(self) -> None:
        """Read the profile anew, as a reloaded code location does."""
        self.profile = Profile.model_validate(self.settings)
        definitions = build_definitions(self.profile, self.folder)
        resources = dict(definitions.resources or {})
        teacher = resources["teacher"]
        resources["teacher"] = CountedTeacher(**{name: getattr(teacher, name) for name in (
            "path", "revision", "engine", "threads")})  # fmt: skip
        self.definitions = dg.Definitions(
            assets=definitions.assets, asset_checks=definitions.asset_checks,
            sensors=definitions.sensors, jobs=definitions.jobs, resources=resources,
            executor=dg.in_process_executor,
        )  # fmt: skip
        self._job = self.definitions.resolve_implicit_global_asset_job_def()

    def put_drop(self, name: str, first_question: int, n: int = QUESTIONS_PER_DROP) -> Path:
        """Put questions of the shipped world into the inbox as a drop, long ago."""
        lines = (TINY_WORLD / "inbox" / "drop-01.jsonl").read_text(encoding="utf-8").splitlines()
        return self.write_drop(name, lines[first_question : first_question + n])

    def write_drop(self, name: str, lines: list[str]) -> Path:
        """Write a drop; each later one is a second younger, all are older than a minute."""
        path = self.inbox / f"{name}.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._writes += 1
        os.utime(path, (time.time() - 3_600 + self._writes,) * 2)
        return path

    def sensor(self) -> dg.SensorDefinition:
        return self.definitions.get_sensor_def("new_question_drops")

    def look(self) -> dg.SensorResult | dg.SkipReason:
        """What the inbox sensor says now, without doing it."""
        context = dg.build_sensor_context(
            instance=self.instance, definitions=self.definitions, sensor_name="new_question_drops"
        )
        return self.sensor()(context)

    def sensor_tick(self) -> list[str]:
        """Do what the inbox sensor asks for, each run key once; the shards that were run."""
        result = self.look()
        if isinstance(result, dg.SkipReason):
            return []
        return self.obey(result)

    def obey(self, result: dg.SensorResult) -> list[str]:
        """Do in the daemon's order what a tick asks for; a run key is never run twice."""
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions("question_shard", list(request.partition_keys))
        ran = []
        for request in result.run_requests or []:
            assert request.run_key is not None and request.partition_key is not None
            if request.run_key not in self._run_keys:
                self._run_keys.add(request.run_key)
                self.run(["raw_questions", "questions"], request.partition_key)
                ran.append(request.partition_key)
        return ran

    def requested(self) -> dict[str | None, list[str]]:
        """One tick of the automation sensor: partition -> assets it asks for."""
        result = dg.evaluate_automation_conditions(
            defs=self.definitions, instance=self.instance, cursor=self._cursor
        )
        self._cursor = result.cursor
        runs: defaultdict[tuple[Any, str | None], list[str]] = defaultdict(list)
        graph = self.definitions.resolve_asset_graph()
        for key in graph.toposorted_asset_keys:
            for partition in sorted(result.get_requested_partitions(key), key=str):
                runs[graph.get(key).partitions_def, partition].append(key.to_user_string())
        return {partition: names for (_, partition), names in runs.items()}

    def settle(self, most_ticks: int = 12) -> None:
        """Tick and run until nothing is asked for any more."""
        for _ in range(most_ticks):
            runs = self.requested()
            if not runs:
                return
            for partition, names in runs.items():
                self.run(names, partition)
        raise AssertionError(f"still asked for after {most_ticks} ticks: {runs}")

    def run(self, names: list[str], partition: str | None) -> bool:
        """One run of some assets; whether it succeeded."""
        result = self._job.execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False,
            asset_selection=[dg.AssetKey.from_user_string(name) for name in names],
        )  # fmt: skip
        for event in result.get_asset_materialization_events():
            self.made[event.asset_key.to_user_string(), event.partition] += 1  # type: ignore[union-attr]
        return result.success

    def blocking(self, asset: str) -> list[dg.AssetCheckKey]:
        """Blocking checks of one asset."""
        graph = self.definitions.resolve_asset_graph()
        keys = graph.get_check_keys_for_assets({dg.AssetKey(asset)})
        return sorted(key for key in keys if graph.get(key).blocking)

    def report_checks(self, asset: str, partition: str, passed: dict[str, bool]) -> None:
        """Tell results of checks without running them."""
        parts = self.definitions.resolve_asset_graph().get(dg.AssetKey(asset)).partitions_def

        @dg.multi_asset_check(
            specs=[
                dg.AssetCheckSpec(name, asset=asset, blocking=True, partitions_def=parts)
                for name in passed
            ]
        )
        def told() -> Iterator[dg.AssetCheckResult]:
            for name, success in passed.items():
                yield dg.AssetCheckResult(passed=success, check_name=name)

        job = dg.define_asset_job("told", dg.AssetSelection.all_asset_checks())
        definitions = dg.Definitions(
            [dg.AssetSpec(asset, partitions_def=parts)], asset_checks=[told], jobs=[job]
        )
        definitions.resolve_job_def("told").execute_in_process(
            instance=self.instance, tags={"dagster/partition": partition}, raise_on_error=False
        )

    def taken(self) -> tuple[Made, list[tuple[str, int]]]:
        """What was made and asked of the teacher since the last call; printed (`pytest -s`)."""
        made, asked = self.made, list(ASKED)
        partitions = Counter(name for name, _ in made.elements())
        told = ", ".join(f"{name} {n}" for name, n in partitions.items()) or "nothing"
        print(f"\n  {len(asked)} request(s) to the teacher; partitions made: {told}")
        self.made = Counter()
        ASKED.clear()
        return made, asked
