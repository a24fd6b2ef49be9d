"""The line that says of an asset how many of its partitions are stale, and why."""

from __future__ import annotations

import dagster as dg
import pytest

from dasd_assets.declaring.out_of_date import Staleness, State
from dasd_assets.declaring.up_to_date import (
    N_STALE,
    UP_TO_DATE,
    build,
    report_changes,
    standing,
    standings,
)
from resources.lake.lake import Lake

CODE, INPUT = "has a new code version", "has a new dependency data version"
FRESH, MISSING = (State.FRESH, ()), (State.MISSING, ())
letters = dg.StaticPartitionsDefinition(["a", "b"])


@pytest.mark.parametrize(
    ("partitions", "line"),
    [
        ([FRESH] * 3, "yes"),
        ([], "there is nothing to make yet"),
        ([(State.STALE, [CODE])] * 9 + [FRESH] * 5,
         "9 of 14 stale: settings or code changed"),
        # Two inputs of one partition are one reason, and the frequent one comes first.
        ([(State.STALE, [INPUT, INPUT])] * 2 + [(State.STALE, [CODE, INPUT])],
         "3 of 3 stale: an input changed, settings or code changed (1)"),
        ([(State.STALE, ["a/data.parquet is gone"]), MISSING],
         "1 of 2 stale: a/data.parquet is gone; 1 of 2 missing"),
    ],
)  # fmt: skip
def test_what_is_said(partitions: list, line: str) -> None:
    assert str(standing(partitions)) == line


def graph(code_version: str) -> dg.Definitions:
    @dg.asset(partitions_def=letters, code_version=code_version)
    def parts() -> None:
        """Of a letter."""

    @dg.asset(partitions_def=letters)
    def never() -> None:
        """Not made here."""

    return dg.Definitions(
        [parts, never], executor=dg.in_process_executor, sensors=[build()],
        resources={"lake": Lake(root="/nowhere")},
    )  # fmt: skip


def test_it_is_told_once_by_whoever_looks_and_makes_nothing_stale() -> None:
    instance = dg.DagsterInstance.ephemeral()
    job = graph("1").resolve_implicit_global_asset_job_def()
    for letter in "ab":
        job.execute_in_process(
            instance=instance, partition_key=letter, asset_selection=[dg.AssetKey("parts")]
        )

    def look(code_version: str) -> int:
        assets = graph(code_version).resolve_asset_graph()
        staleness = Staleness(assets, instance, Lake(root="/nowhere"))
        return report_changes(instance, standings(staleness, assets, ()))

    def told() -> list[tuple]:
        records = instance.fetch_observations(dg.AssetKey("parts"), limit=10).records
        found = [record.asset_observation.metadata for record in records]
        return [(one[UP_TO_DATE].value, one[N_STALE].value) for one in found]

    assert (look("1"), look("1")) == (1, 0)
    assert told() == [("yes", 0)]
    assert (look("2"), look("2")) == (1, 0)
    assert told() == [("2 of 2 stale: settings or code changed", 2), ("yes", 0)]
    assert not instance.fetch_observations(dg.AssetKey("never"), limit=1).records

    changed = graph("2")
    repository = changed.get_repository_def()
    cursor = None
    for said in ("0 asset(s)", "nothing happened"):
        context = dg.build_sensor_context(
            instance, cursor=cursor, repository_def=repository,
            resources={"lake": Lake(root="/nowhere")},
        )  # fmt: skip
        skipped = repository.get_sensor_def("stale_assets")(context)
        assert isinstance(skipped, dg.SkipReason) and said in str(skipped.skip_message)
        cursor = context.cursor
