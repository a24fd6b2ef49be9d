"""What the instance has measured: the newest of every partition, however often it was made."""

from __future__ import annotations

import dagster as dg
import pytest

from dasd_assets.cli.earlier_runs import measured
from dasd_assets.declaring import materializations


def test_a_partition_made_long_ago_counts_and_of_each_only_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(materializations, "RECORDS_AT_ONCE", 3)
    with dg.DagsterInstance.ephemeral() as instance:
        made = [("drop-01|low", 100), *(("drop-02|low", rows) for rows in range(1, 9)),
                ("drop-01|high", 7)]  # fmt: skip
        for partition, rows in made:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    "teacher_responses", partition=partition, metadata={"dagster/row_count": rows}
                )
            )
        found = {
            part: (totals.partitions, totals.rows) for part, totals in measured(instance).items()
        }
    assert found == {
        ("teacher_responses", "low"): (2, 108), ("teacher_responses", "high"): (1, 7)
    }  # fmt: skip
