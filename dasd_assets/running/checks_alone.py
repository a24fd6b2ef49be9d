"""Checks without what they check: after a changed limit, nothing has to be made again.

Each asset's partition that was made is checked in a run of its own, in this process, as Dagster has
no job of checks over partitions.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import Field

from dasd_assets.dagster_internals import AssetGraph, checks_of_job, keys_of
from dasd_assets.declaring.out_of_date import Staleness
from dasd_assets.running.local_runner import ALL_ASSETS_JOB, selected_assets
from dasd_assets.running.run_errors import errors_of


@dataclass(frozen=True)
class Finding:
    """A check that does not pass, or checks that could not be run.

    Attributes:
        said: the check with what it saw and what is allowed, or what went wrong.
        is_error: whether it is more than a warning.
    """

    asset: str
    partition: str | None
    said: str
    is_error: bool

    def __str__(self) -> str:
        where = f"{self.asset} [{self.partition}]" if self.partition else self.asset
        return f"{where}: {self.said}"


def check(
    job: dg.JobDefinition,
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    selected: Collection[dg.AssetKey],
) -> Iterator[tuple[int, list[Finding]]]:
    """Run all checks of the selected assets on all partitions that were made.

    Args:
        job: of all assets.

    Yields:
        How many checks ran on one partition, and which of them do not pass.
    """
    staleness = Staleness(graph, instance)
    for key in (each for each in graph.toposorted_asset_keys if each in selected):
        # Proposals to train have no limits, and are looked at by themselves.
        checks = {
            each
            for each in graph.get_check_keys_for_assets({key})
            if graph.get(each).automation_condition is None
        }
        if not checks:
            continue
        of_asset = checks_of_job(job, checks)
        for partition in sorted(keys_of(staleness.made(key)), key=str):
            tags = {} if partition is None else _tags(graph, key, partition)
            result = of_asset.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
            found = result.get_asset_check_evaluations()
            said = [
                (_said(one), one.severity == dg.AssetCheckSeverity.ERROR)
                for one in found
                if not one.passed
            ]
            if len(found) < len(checks):
                said += [(error, True) for error in errors_of(instance, result.run_id)]
            yield len(found), [Finding(key.to_user_string(), partition, *one) for one in said]


def _said(evaluation: dg.AssetCheckEvaluation) -> str:
    told = {name: value.value for name, value in evaluation.metadata.items()}
    numbers = [f"{name} {told[name]}" for name in ("observed", "allowed") if name in told]
    return f"{evaluation.check_name}: {', '.join(numbers) or 'fails'}"


def _tags(graph: AssetGraph, key: dg.AssetKey, partition: str) -> dict[str, Any]:
    partitions_def = graph.get(key).partitions_def
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        partition = partitions_def.get_partition_key_from_str(partition)
    return dict(partitions_def.get_tags_for_partition_key(partition))


class Selected(dg.Config):
    """Whose checks are run."""

    select: str = Field(
        default="",
        description="in Dagster's selection syntax, such as `group:evaluation`; empty: all",
    )


def build() -> dg.JobDefinition:
    """The job that does what `dasd check` does."""

    @dg.op(name="check_what_is_there", out=dg.Out(dg.Nothing))
    def check_what_is_there(context: dg.OpExecutionContext, config: Selected) -> None:
        graph = context.repository_def.asset_graph
        job = context.repository_def.get_job(ALL_ASSETS_JOB)
        n_checks = n_failing = 0
        for n, failing in check(
            job, graph, context.instance, selected_assets(config.select, graph)
        ):
            n_checks += n
            n_failing += len(failing)
            for finding in failing:
                (context.log.error if finding.is_error else context.log.warning)(str(finding))
        context.log.info(f"{n_checks} checks, {n_failing} do not pass; nothing was made")
        context.add_output_metadata({"checks": n_checks, "do not pass": n_failing})

    @dg.job(
        name="check",
        description="Run the checks on what is there, and make nothing: after a changed limit, or "
        "where a run was cancelled before its checks. The log names what does not pass.",
        executor_def=dg.in_process_executor,
    )
    def checks_alone() -> None:
        check_what_is_there()

    return checks_alone
