"""Checks without what they check: after a changed limit, nothing has to be made again.

Each partition that has checks due is checked in a run of its own, in this process, as Dagster has
no job of checks over partitions.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import dagster as dg
from pydantic import Field

from dasd_assets.dagster_internals import AssetGraph, checks_of_job, evaluations, keys_of
from dasd_assets.declaring.check_outcomes import ALLOWED, SEVERITY
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


@dataclass(frozen=True)
class Checked:
    """What holds of one partition.

    Attributes:
        n_run: checks that ran.
        n_held: checks that had judged the same data by the same limits before.
        findings: what does not pass, of both.
    """

    n_run: int
    n_held: int
    findings: tuple[Finding, ...]


def check(
    job: dg.JobDefinition,
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    selected: Collection[dg.AssetKey],
    *,
    everything: bool = False,
) -> Iterator[Checked]:
    """Run the checks of the selected assets on the partitions that were made, where they are due.

    A check is due on a partition that it never judged, or whose data was made anew since, or that
    it judged by other limits or with another severity than the profile has now.

    Args:
        job: of all assets.
        everything: run all checks, due or not.
    """
    staleness = Staleness(graph, instance)
    subsets = cache(partial(checks_of_job, job))
    for key in (each for each in graph.toposorted_asset_keys if each in selected):
        # Proposals to train have no limits, and are looked at by themselves.
        checks = {
            each
            for each in graph.get_check_keys_for_assets({key})
            if graph.get(each).automation_condition is None
        }
        if not checks:
            continue
        held = [] if everything else _held(graph, instance, staleness, key)
        for partition in sorted(keys_of(staleness.made(key)), key=str):
            judged = [one for one in held if one.partition == partition]
            due = frozenset(checks - {one.asset_check_key for one in judged})
            said = []
            if due:
                tags = {} if partition is None else _tags(graph, key, partition)
                result = subsets(due).execute_in_process(
                    instance=instance, tags=tags, raise_on_error=False
                )
                found = result.get_asset_check_evaluations()
                if len(found) < len(due):
                    said += [(error, True) for error in errors_of(instance, result.run_id)]
                judged += found
            said = [
                (_said(one), one.severity == dg.AssetCheckSeverity.ERROR)
                for one in judged
                if not one.passed
            ] + said
            name = key.to_user_string()
            findings = tuple(Finding(name, partition, *one) for one in said)
            yield Checked(len(due), len(checks) - len(due), findings)


def _held(
    graph: AssetGraph, instance: dg.DagsterInstance, staleness: Staleness, key: dg.AssetKey
) -> list[dg.AssetCheckEvaluation]:
    """What the checks of an asset saw of the data that is there, by the limits of today."""
    found = evaluations(instance, staleness.check_outcomes({key})).values()
    return [one for one in found if _judged_as_now(graph.get(one.asset_check_key).metadata, one)]


def _judged_as_now(today: Mapping[str, Any], seen: dg.AssetCheckEvaluation) -> bool:
    allowed = seen.metadata.get(ALLOWED)
    if allowed is None:  # it was not measured, and would not be by any limits
        return True
    return (allowed.value, seen.severity.value.lower()) == (
        today.get(ALLOWED), today.get(SEVERITY)
    )  # fmt: skip


def summary(found: Collection[Checked]) -> str:
    """How many checks ran, how many had no need to, and how many do not pass."""
    n_run, n_held = (sum(getattr(one, name) for one in found) for name in ("n_run", "n_held"))
    n_findings = sum(len(one.findings) for one in found)
    held = f" ({n_held} had judged the same data by the same limits)" if n_held else ""
    return f"{n_run} checks ran{held}, {n_findings} do not pass"


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
    """Which checks are run."""

    select: str = Field(
        default="",
        description="in Dagster's selection syntax, such as `group:evaluation`; empty: all",
    )
    everything: bool = Field(
        default=False,
        description="all checks, also those that judged the same data by the same limits before",
    )


def build() -> dg.JobDefinition:
    """The job that does what `dasd check` does."""

    @dg.op(name="check_what_is_there", out=dg.Out(dg.Nothing))
    def check_what_is_there(context: dg.OpExecutionContext, config: Selected) -> None:
        graph = context.repository_def.asset_graph
        job = context.repository_def.get_job(ALL_ASSETS_JOB)
        selected = selected_assets(config.select, graph)
        found = list(check(job, graph, context.instance, selected, everything=config.everything))
        findings = [finding for one in found for finding in one.findings]
        for finding in findings:
            (context.log.error if finding.is_error else context.log.warning)(str(finding))
        context.log.info(f"{summary(found)}; nothing was made")
        n_run = sum(one.n_run for one in found)
        context.add_output_metadata({"checks": n_run, "do not pass": len(findings)})

    @dg.job(
        name="check",
        description="Run the checks that are due on what is there, and make nothing: those whose "
        "limit has changed, or whose run was cancelled. The log names all that does not pass.",
        executor_def=dg.in_process_executor,
    )
    def checks_alone() -> None:
        check_what_is_there()

    return checks_alone
