"""Checks run without what they check, and say what does not hold."""

from collections.abc import Iterator

import dagster as dg
import pytest

from dasd_assets.cli.failing_checks import lines
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, question_shards
from dasd_assets.running.checks_alone import check

grid = dg.MultiPartitionsDefinition(
    {TEMPERATURE: dg.StaticPartitionsDefinition(["low"]), QUESTION_SHARD: question_shards}
)


class Limit:
    """What is allowed now."""

    highest: float = 5.0


@dg.asset(partitions_def=grid)
def answers() -> None:
    """Of a cell; to be made once."""


@dg.asset(deps=[answers])
def whole() -> None:
    """Without partitions, and without checks."""


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec("few", asset="answers", blocking=True, partitions_def=grid),
        dg.AssetCheckSpec("named", asset="answers", partitions_def=grid),
    ]
)
def answers_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    seen = {"observed": 4.0, "allowed": f"at most {Limit.highest:g}"}
    yield dg.AssetCheckResult(check_name="few", passed=Limit.highest >= 4, metadata=seen)
    is_known = context.partition_key == "a|low"
    yield dg.AssetCheckResult(
        check_name="named", passed=is_known, severity=dg.AssetCheckSeverity.WARN
    )


DEFINITIONS = dg.Definitions(
    [answers, whole], asset_checks=[answers_checks], executor=dg.in_process_executor
)


def test_after_a_changed_limit_checks_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, job = (
        DEFINITIONS.resolve_asset_graph(),
        DEFINITIONS.resolve_implicit_global_asset_job_def(),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, ["a", "b", "not made"])
        for cell in ("a|low", "b|low"):
            job.execute_in_process(
                instance=instance, partition_key=cell, asset_selection=[answers.key]
            )
        n_made = len(instance.fetch_materializations(answers.key, 10).records)
        assert lines(instance, graph) == ["answers: named fails in 1 partition(s) (b|low)"]
        monkeypatch.setattr(Limit, "highest", 3.0)
        found = list(check(job, graph, instance, {answers.key, whole.key}))
        assert [n for n, _ in found] == [2, 2]
        failing = [finding for _, some in found for finding in some]
        assert [(str(one), one.is_error) for one in failing] == [
            ("answers [a|low]: few: observed 4.0, allowed at most 3", True),
            ("answers [b|low]: few: observed 4.0, allowed at most 3", True),
            ("answers [b|low]: named: fails", False),
        ]
        assert len(instance.fetch_materializations(answers.key, 10).records) == n_made == 2
        assert lines(instance, graph)[0] == "answers: few fails in 2 partition(s) (a|low, b|low)"


def test_checks_that_cannot_be_run_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = DEFINITIONS.resolve_asset_graph()
    job = DEFINITIONS.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, ["a"])
        job.execute_in_process(
            instance=instance, partition_key="a|low", asset_selection=[answers.key]
        )
        monkeypatch.setattr(Limit, "highest", "no number")
        ((n, (finding,)),) = check(job, graph, instance, {answers.key})
    assert (n, finding.is_error) == (0, True)
    assert str(finding).startswith("answers [a|low]: answers_checks: ValueError: ")


def test_a_check_that_was_not_run_on_what_is_there_is_named() -> None:
    graph, job = (
        DEFINITIONS.resolve_asset_graph(),
        DEFINITIONS.resolve_implicit_global_asset_job_def(),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, ["a"])
        run = instance.create_run_for_job(
            job, asset_selection={answers.key}, status=dg.DagsterRunStatus.STARTED,
            tags=grid.get_tags_for_partition_key(grid.get_partition_key_from_str("a|low")),
        )  # fmt: skip
        instance.report_run_canceled(run)
        assert "answers: few was not run in 1 partition(s) (a|low)" in lines(instance, graph)
