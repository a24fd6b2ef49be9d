"""Stale or not checked, said where the UI shows it: its own mark is inside of a single partition.

For each asset one line, such as `9 of 14 stale: settings or code changed`, is kept as an
observation of the asset, a new one whenever the answer is another. As a partition is green also
where its checks failed or were not run, the line names these, too. It comes from the walk that
`dasd run` and `dasd status` use, and makes nothing out of date: an asset that is made has its data
version by materializations alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from dasd_assets.dagster_internals import AssetGraph
from dasd_assets.declaring.check_outcomes import Unmet, unmet
from dasd_assets.declaring.out_of_date import Staleness, State
from resources.lake.lake import Lake

UP_TO_DATE: Final = "up to date"
N_STALE: Final = "stale partitions"
N_UNMET: Final = "partitions with failing checks"
WORDS: Final = {
    "has a new code version": "settings or code changed",
    "has a new dependency data version": "an input changed",
    "has a new dependency materialization": "an input was made anew",
}
"""Dagster's reason -> the same for who knows the pipeline and not Dagster."""
SECONDS_BETWEEN_LOOKS: Final = 60


@dataclass(frozen=True)
class Standing:
    """How the partitions of one asset stand.

    Attributes:
        counts: state -> partitions in it.
        reasons: why partitions are stale -> how many are for that reason.
        unmet: checks that fail of what is there, or were not run on it.
    """

    counts: Mapping[State, int]
    reasons: Mapping[str, int]
    unmet: Sequence[Unmet] = ()

    def __str__(self) -> str:
        n = sum(self.counts.values())
        said = []
        if stale := self.counts.get(State.STALE, 0):
            why = ", ".join(
                reason if count == stale else f"{reason} ({count})"
                for reason, count in sorted(self.reasons.items(), key=lambda one: (-one[1], one[0]))
            )
            said.append(f"{stale} of {n} stale: {why}")
        if missing := self.counts.get(State.MISSING, 0):
            said.append(f"{missing} of {n} missing")
        if not said:
            said.append("yes" if n else "there is nothing to make yet")
        return "; ".join([*said, *map(str, self.unmet)])

    @property
    def n_unmet(self) -> int:
        """Partitions of which a check fails or was not run; an asset without them counts as one."""
        return len({name for one in self.unmet for name in one.partitions or ("",)})


def standing(
    partitions: Iterable[tuple[State, Iterable[str]]], unmet: Sequence[Unmet] = ()
) -> Standing:
    """Count partitions, each given as its state and Dagster's reasons why it is stale."""
    counts, reasons = Counter[State](), Counter[str]()
    for state, why in partitions:
        counts[state] += 1
        reasons.update({WORDS.get(reason, reason) for reason in why})
    return Standing(counts, reasons, unmet)


def standings(
    staleness: Staleness, graph: AssetGraph, found: Sequence[Unmet]
) -> dict[dg.AssetKey, Standing]:
    """Of every asset that Dagster makes.

    Args:
        found: the checks that do not hold, of these and maybe of others.
    """
    with staleness.loading():
        return {
            key: standing(
                (
                    (
                        staleness.state(key, one),
                        [cause.reason for cause in staleness.causes(key, one)],
                    )
                    for one in staleness.partitions(key)
                ),
                [one for one in found if one.asset == key],
            )
            for key in sorted(graph.materializable_asset_keys)
        }


def report_changes(instance: dg.DagsterInstance, found: Mapping[dg.AssetKey, Standing]) -> int:
    """Keep what is not the last that was told of an asset; how many that were.

    Of an asset that never was told of, nothing is said while it was never made.
    """
    told = 0
    for key, now in found.items():
        before = _last_told(instance, key)
        if str(now) == before or (before is None and now.counts.keys() <= {State.MISSING}):
            continue
        instance.report_runless_asset_event(observation(key, now))
        told += 1
    return told


def observation(key: dg.AssetKey, now: Standing) -> dg.AssetObservation:
    """What the UI shows and plots."""
    counts = {N_STALE: now.counts.get(State.STALE, 0), N_UNMET: now.n_unmet}
    return dg.AssetObservation(key, metadata={UP_TO_DATE: str(now), **counts})


def build() -> dg.SensorDefinition:
    """The sensor that keeps the lines true; it starts no run."""

    @dg.sensor(
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps the line `up to date` of each asset true: how many of its partitions "
        "are stale, and why, and of which a check fails or was not run. It makes nothing.",
    )
    def stale_assets(context: dg.SensorEvaluationContext, lake: Lake) -> dg.SkipReason:
        graph = context.repository_def.asset_graph  # type: ignore[union-attr]
        # What can change the answer: an event, or the code and settings that were loaded.
        last = context.instance.event_log_storage.get_maximum_record_id()
        versions = {
            str(key): graph.get(key).code_version for key in graph.materializable_asset_keys
        }
        seen = json.dumps([last, versions], sort_keys=True)
        if seen == context.cursor:
            return dg.SkipReason("nothing happened since the last look")
        context.update_cursor(seen)
        staleness = Staleness(graph, context.instance, lake)
        found = unmet(staleness.check_outcomes(graph.materializable_asset_keys))
        told = report_changes(context.instance, standings(staleness, graph, found))
        return dg.SkipReason(f"{told} asset(s) stand otherwise than before")

    return stale_assets


def _last_told(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    for record in instance.fetch_observations(key, limit=1).records:
        seen = record.asset_observation
        value: Any = seen.metadata.get(UP_TO_DATE) if seen is not None else None
        return str(value.value) if value is not None else None
    return None
