"""Checks run without what they check, those that are due, and all that does not hold is said."""

from collections.abc import Iterator

import dagster as dg
import pytest

from dasd_assets.declaring.check_outcomes import ALLOWED, SEVERITY, unmet
from dasd_assets.declaring.out_of_date import Staleness
from dasd_assets.declaring.up_to_date import standings
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE, question_shards
from dasd_assets.running.checks_alone import Checked, check, summary
from resources.lake.lake import Lake

grid = dg.MultiPartitionsDefinition(
    {TEMPERATURE: dg.StaticPartitionsDefinition(["low"]), QUESTION_SHARD: question_shards}
)
CHECKS = ("few", "named", *(f"other_{number}" for number in range(3)))
LIMITS = dict.fromkeys(CHECKS, (5.0, "error")) | {"named": (9.0, "warn")}
"""Check -> the highest that it allows, and its severity."""


@dg.asset(partitions_def=grid)
def answers() -> None:
    """Of a cell; to be made once."""


MADE_ANEW = dg.AssetMaterialization(answers.key, partition="a|low")


@dg.asset(deps=[answers])
def whole() -> None:
    """Without partitions, and without checks."""


def definitions(**changed: tuple[float, str]) -> dg.Definitions:
    """With five checks on each cell, some with other limits."""
    limits = LIMITS | changed

    @dg.multi_asset_check(
        can_subset=True,
        specs=[
            dg.AssetCheckSpec(
                name, asset="answers", blocking=True, partitions_def=grid,
                metadata={ALLOWED: f"at most {highest}", SEVERITY: severity},
            )
            for name, (highest, severity) in limits.items()
        ],
    )  # fmt: skip
    def answers_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for name in sorted(each.name for each in context.selected_asset_check_keys):
            highest, severity = limits[name]
            seen = 10.0 if (name, context.partition_key) == ("named", "b|low") else 4.0
            yield dg.AssetCheckResult(
                check_name=name, passed=seen <= highest,
                severity=dg.AssetCheckSeverity(severity.upper()),
                metadata={"observed": seen, ALLOWED: f"at most {highest}"},
            )  # fmt: skip

    return dg.Definitions(
        [answers, whole], asset_checks=[answers_checks], executor=dg.in_process_executor
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Two cells were made and checked, and a third shard is registered."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, ["a", "b", "not made"])
        for cell in ("a|low", "b|low"):
            make(instance, cell)
        yield instance


def make(instance: dg.DagsterInstance, cell: str) -> None:
    job = definitions().resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, partition_key=cell, asset_selection=[answers.key])


def run(
    instance: dg.DagsterInstance, now: dg.Definitions, *, everything: bool = False
) -> list[Checked]:
    graph, job = now.resolve_asset_graph(), now.resolve_implicit_global_asset_job_def()
    selected = {answers.key, whole.key}
    return list(check(job, graph, instance, selected, everything=everything))


def counts(found: list[Checked]) -> list[tuple[int, int]]:
    return [(one.n_run, one.n_held) for one in found]


def lines(instance: dg.DagsterInstance, now: dg.Definitions) -> list[str]:
    graph = now.resolve_asset_graph()
    return list(map(str, unmet(Staleness(graph, instance).check_outcomes({answers.key}))))


def test_only_checks_whose_limit_has_changed_run(instance: dg.DagsterInstance) -> None:
    assert lines(instance, definitions()) == ["named fails in 1 partition(s) (b|low)"]
    changed = definitions(few=(3.0, "error"))
    found = run(instance, changed)
    assert counts(found) == [(1, 4), (1, 4)]
    findings = [finding for one in found for finding in one.findings]
    assert [(str(one), one.is_error) for one in findings] == [
        ("answers [a|low]: few: observed 4.0, allowed at most 3.0", True),
        # Judged before, and told again: who asks what does not hold is to hear all of it.
        ("answers [b|low]: named: observed 10.0, allowed at most 9.0", False),
        ("answers [b|low]: few: observed 4.0, allowed at most 3.0", True),
    ]
    assert summary(found) == (
        "2 checks ran (8 had judged the same data by the same limits), 3 do not pass"
    )
    assert lines(instance, changed)[0] == "few fails in 2 partition(s) (a|low, b|low)"
    assert counts(run(instance, changed)) == [(0, 5), (0, 5)]
    assert counts(run(instance, changed, everything=True)) == [(5, 0), (5, 0)]
    assert len(instance.fetch_materializations(answers.key, 10).records) == 2


def test_a_check_is_due_by_another_severity_and_on_what_was_made_anew(
    instance: dg.DagsterInstance,
) -> None:
    severer = definitions(named=(9.0, "error"))
    found = run(instance, severer)
    assert counts(found) == [(1, 4), (1, 4)]
    assert [one.is_error for each in found for one in each.findings] == [True]
    instance.report_runless_asset_event(MADE_ANEW)
    assert counts(run(instance, severer)) == [(5, 0), (0, 5)]


def test_checks_that_cannot_be_run_are_told(instance: dg.DagsterInstance) -> None:
    first, _ = run(instance, definitions(few=("no number", "error")))  # type: ignore[arg-type]
    (finding,) = first.findings
    assert (first.n_run, finding.is_error) == (1, True)
    assert str(finding).startswith("answers [a|low]: answers_checks: ")


def test_checks_that_were_not_run_on_what_is_there_are_named_until_they_are(
    instance: dg.DagsterInstance,
) -> None:
    """A run was cancelled after it had made the data of a cell, and before the checks of it."""
    now = definitions()
    graph, job = now.resolve_asset_graph(), now.resolve_implicit_global_asset_job_def()
    both = job.get_subset(
        asset_selection={answers.key},
        asset_check_selection={dg.AssetCheckKey(answers.key, name) for name in CHECKS},
    )
    tags = grid.get_tags_for_partition_key(grid.get_partition_key_from_str("a|low"))
    cancelled = instance.create_run_for_job(both, tags=tags, asset_selection={answers.key})
    instance.report_run_canceled(cancelled)
    assert lines(instance, now) == ["named fails in 1 partition(s) (b|low)"], "nothing was made"

    instance.report_runless_asset_event(MADE_ANEW)
    assert lines(instance, now) == [
        "named fails in 1 partition(s) (b|low)",
        "5 checks were not run in 1 partition(s) (a|low)",
    ]
    staleness = Staleness(graph, instance, Lake(root="/nowhere"))
    not_held = unmet(staleness.check_outcomes({answers.key}))
    found = standings(staleness, graph, not_held)[answers.key]
    assert str(found).endswith(
        "1 of 3 missing; named fails in 1 partition(s) (b|low); "
        "5 checks were not run in 1 partition(s) (a|low)"
    )
    assert found.n_unmet == 2
    assert counts(run(instance, now)) == [(5, 0), (0, 5)]
    assert lines(instance, now) == ["named fails in 1 partition(s) (b|low)"]
