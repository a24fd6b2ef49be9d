"""`dasd` over `fault_location`, for each line of stdin; a line of JSON tells what came of it.

Imported by the process that runs are forked from, it loads the job, so that they need not.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dagster as dg
from support import fault_location

from dasd_assets.dagster_internals import CheckStatus, keys_of
from dasd_assets.declaring.out_of_date import Staleness
from dasd_assets.profile.home import active_profile
from dasd_assets.profile.open_lake import open_lake
from dasd_assets.running import local_runner, run_process

local_runner.DEFINITIONS_MODULE = fault_location.__name__
run_process.LOADED = ("dasd_assets.cli.main", "support.fault_runs")
graph = local_runner.all_assets_job().get_definition().asset_layer.asset_graph


def command(arguments: list[str]) -> tuple[int, str, str]:
    """Exit code of a command, what it printed, and what it printed as errors."""
    from typer.testing import CliRunner

    from dasd_assets.cli.main import app

    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def records() -> dict[str, dict[str, Any]]:
    """Of each partition that was made: data version, how often, files, and checks that passed."""
    with dg.DagsterInstance.get() as instance:
        staleness = Staleness(graph, instance, open_lake(active_profile()))
        found = {}
        outcomes = staleness.check_outcomes(set(graph.get_all_asset_keys()))
        passed = [
            (one.key.asset_key, one.partition, one.key.name)
            for one in outcomes
            if one.status is CheckStatus.PASSED
        ]
        for key in graph.toposorted_asset_keys:
            made: dict[str | None, list[Any]] = {}
            for record in instance.fetch_materializations(key, limit=10_000).records:
                made.setdefault(record.partition_key, []).append(record.asset_materialization)
            for partition in sorted(keys_of(staleness.made(key)), key=str):
                events = made[partition]
                found[f"{'__'.join(key.path)}[{partition or ''}]"] = {
                    "version": events[0].tags["dagster/data_version"],
                    "times": len(events),
                    "files": list(staleness.stored.names(key, partition)),
                    "checks": sorted(
                        name for asset, of, name in passed if (asset, of) == (key, partition)
                    ),
                }
    return found


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(command(asked) if asked else records()), flush=True)
