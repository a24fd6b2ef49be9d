"""What `dasd run` tells of a failed step, and what goes on when a process is killed."""

import re
import signal
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from multiprocessing.forkserver import _forkserver
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from support import killing_location

from dasd_assets.dagster_internals import CheckOutcome, job_of_file
from dasd_assets.declaring.out_of_date import DRAWN, Staleness
from dasd_assets.profile import PROJECT_ROOT
from dasd_assets.running import checks_alone, local_run, local_runner, run_errors, run_process
from dasd_assets.running.local_runner import ALL_ASSETS_JOB, Failed, LocalRunner, Outcome, Work
from dasd_assets.running.run_errors import cause_of, killed_by
from resources.compute.declared import CPUS
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

shards = dg.DynamicPartitionsDefinition(name="question_shard")


class FullDiskError(OSError):
    """Stands for an error of this project."""


@dg.asset
def told() -> None:
    try:
        raise OSError("[Errno 28] No space left on device")
    except OSError as error:
        raise FullDiskError("lake/questions: make room, then run it again") from error


@dg.asset
def plain() -> None:
    raise ValueError("row 3 has no answer")


@dg.asset
def by_dagster(context: dg.AssetExecutionContext) -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    dg.PipesSubprocessClient().run(context=context, command=command)


@dg.asset(check_specs=[
    dg.AssetCheckSpec("has_mixed_policy", asset="blocked", blocking=True),
    dg.AssetCheckSpec("domain_balance", asset="blocked"),
])  # fmt: skip
def blocked() -> Iterator[object]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(
        passed=False, check_name="has_mixed_policy", description="no rollout was continued",
        metadata={"observed": 0, "allowed": "at least 1"},
    )  # fmt: skip
    yield dg.AssetCheckResult(passed=False, check_name="domain_balance")


@dg.asset(partitions_def=shards)
def read() -> None:
    """Of a shard."""


@dg.asset(partitions_def=shards, deps=[read])
def curated() -> None:
    """Of the same shard, in the same run."""


@dg.asset(
    deps=[dg.AssetDep(curated, partition_mapping=dg.AllPartitionMapping())], metadata={CPUS: 2.0}
)
def whole() -> None:
    """Of all shards."""


VERDICT: dict[str, dg.AssetCheckResult] = {}
"""Partition -> what its check finds; nothing: it ends without a verdict, as a killed step does."""


@dg.asset_check(asset=read, blocking=True, partitions_def=shards)
def holds(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return VERDICT[context.partition_key]


defs = dg.Definitions([read, curated, whole], asset_checks=[holds], executor=dg.in_process_executor)
drawing = dg.Definitions(
    [
        read,
        curated,
        whole.map_asset_specs(lambda spec: spec.merge_attributes(metadata={DRAWN: True})),
    ]
)
"""The same, where the last can be made of those shards that are ready."""
READ, CURATED, WHOLE = read.key, curated.key, whole.key


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalRunner:
    """Over three shards that nothing was made of."""
    job = job_of_file(Path(__file__), ALL_ASSETS_JOB)
    monkeypatch.setattr(local_runner, "all_assets_job", lambda: job)
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("question_shard", ["c", "a", "b"])
    monkeypatch.setattr(
        sys.modules[__name__], "VERDICT", {key: dg.AssetCheckResult(passed=True) for key in "abc"}
    )
    return LocalRunner(instance, Lake(root=str(tmp_path)), 1, tmp_path / "log")


def make(runner: LocalRunner, work: Work) -> None:
    defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=runner._instance, asset_selection=list(work.assets),
        partition_key=work.partition_key, raise_on_error=False,
    )  # fmt: skip


def test_a_run_is_on_the_timeline_and_says_what_it_is(
    runner: LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_process, "start", lambda instance, run, log_file: run)
    monkeypatch.setattr(local_runner, "RUN_CONFIG", {})  # the executor here has no settings
    runner._tags["profile"] = "tiny"
    run = runner._start(Work((READ, CURATED), "a")).run
    stored = runner._instance.get_run_by_id(run.run_id)
    assert stored.tags["stage"] == "default"  # the group of assets that name none
    assert (stored.tags["profile"], stored.tags["dagster/partition"]) == ("tiny", "a")
    assert stored.tags["dasd/invocation"] == runner.invocation
    workspace = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    (location,) = (one["python_module"] for one in workspace["load_from"])
    # By this tag, which Dagster makes of the run's origin, the UI draws its Timeline.
    label = stored.tags_for_storage()[".dagster/repository"]
    assert label == f"__repository__@{location['location_name']}"
    assert location["module_name"] == local_runner.DEFINITIONS_MODULE


def test_group_after_group_is_made_in_the_order_of_the_shards(runner: LocalRunner) -> None:
    of_shards, of_all = runner.groups()
    assert (of_shards, of_all) == ([READ, CURATED], [WHOLE])
    todo = runner.out_of_date(of_shards)
    assert todo == [Work((READ, CURATED), shard) for shard in ("c", "a", "b")]
    assert runner.out_of_date(of_all) == [Work((WHOLE,), None)]
    for work in todo:
        make(runner, work)
    assert runner.out_of_date(of_shards) == []
    make(runner, Work((WHOLE,), None))
    assert runner.out_of_date(of_all) == []


def test_where_nothing_is_to_be_made_it_is_looked_once(
    runner: LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, asked = [], []

    class Counted(Staleness):
        def __init__(self, *given: Any) -> None:
            looks.append(1)
            super().__init__(*given)

        def check_outcomes(self, keys: AbstractSet[dg.AssetKey]) -> list[CheckOutcome]:
            asked.append(keys)
            return super().check_outcomes(keys)

    monkeypatch.setattr(local_runner, "Staleness", Counted)

    def run_group(todo: list[Work], *_: object) -> list[Outcome]:
        for work in todo:
            make(runner, work)
        return []

    monkeypatch.setattr(runner, "_run_group", run_group)
    for n_looks in (2, 1):  # after the shards were made, the second time there is nothing
        looks.clear()
        runner.run(lambda todo: None, lambda outcome: None)
        assert len(looks) == n_looks
    assert runner.tell_how_it_stands() == []
    assert asked == [{READ, CURATED, WHOLE}]


def test_models_that_do_not_fit_on_the_gpus_together_have_runs_of_their_own(
    runner: LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each partition would load both anew."""
    pools = {READ: ("teacher", 8), CURATED: ("student", 1), WHOLE: ("training", 8)}
    monkeypatch.setattr(runner, "_gpus_of_pool", pools.__getitem__)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    assert runner.groups() == [[READ], [CURATED], [WHOLE]]
    pools[READ] = ("teacher", 7)
    assert runner.groups() == [[READ, CURATED], [WHOLE]]


def test_what_is_below_in_the_same_run_is_made_along_and_the_next_group_by_what_came_of_it(
    runner: LocalRunner,
) -> None:
    of_shards, of_all = runner.groups()
    for shard in ("a", "b"):
        make(runner, Work((READ, CURATED), shard))
    make(runner, Work((WHOLE,), None))
    assert runner.out_of_date(of_shards) == [Work((READ, CURATED), "c")]
    assert runner.out_of_date(of_all) == [], "of what there is, until there is more"
    make(runner, Work((READ,), "a"))
    assert runner.out_of_date(of_shards) == [
        Work((READ, CURATED), "c"), Work((CURATED,), "a"),
    ]  # fmt: skip
    make(runner, Work((CURATED,), "a"))
    assert runner.out_of_date(of_all) == [Work((WHOLE,), None)]


def test_what_a_blocking_check_has_not_passed_is_made_and_checked_again(
    runner: LocalRunner,
) -> None:
    """Dagster holds back what is below it in that run alone."""
    of_shards, _ = runner.groups()
    warns = dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)
    VERDICT.update(a=dg.AssetCheckResult(passed=False), b=warns)
    del VERDICT["c"]
    for work in runner.out_of_date(of_shards):
        make(runner, work)
    assert runner._instance.get_materialized_partitions(READ) == {"a", "b", "c"}
    assert runner._instance.get_materialized_partitions(CURATED) == {"b"}
    again = [Work((READ, CURATED), "c"), Work((READ, CURATED), "a")]
    assert runner.out_of_date(of_shards) == again
    VERDICT["c"] = VERDICT["a"] = dg.AssetCheckResult(passed=True)
    for work in again:
        make(runner, work)
    assert runner.out_of_date(of_shards) == []
    VERDICT["a"] = dg.AssetCheckResult(passed=False)
    make(runner, Work((READ,), "a"))
    assert runner.out_of_date(of_shards) == [Work((READ, CURATED), "a")]


def test_checks_that_a_run_had_not_come_to_are_run_and_nothing_is_made(
    runner: LocalRunner,
) -> None:
    del VERDICT["c"]
    for work in runner.out_of_date(runner.groups()[0]):
        make(runner, work)
    VERDICT["c"] = dg.AssetCheckResult(passed=True)
    job = defs.resolve_implicit_global_asset_job_def()
    n_made = len(runner._instance.fetch_materializations(READ, 10).records)
    n_run = []

    def check(assets: set[dg.AssetKey]) -> None:
        assert assets == {READ}
        checked = checks_alone.check(job, runner.graph, runner._instance, assets)
        n_run.extend(one.n_run for one in checked)

    (broken,) = runner.tell_how_it_stands()
    assert (broken.asset, broken.partitions) == (READ, ("c",))
    assert runner.tell_how_it_stands(check) == []
    assert sorted(n_run) == [0, 0, 1]
    assert runner.tell_how_it_stands(check) == []
    assert len(n_run) == 3
    assert len(runner._instance.fetch_materializations(READ, 10).records) == n_made


def test_what_is_below_a_failed_partition_is_left_out_but_a_sample_is_drawn(
    runner: LocalRunner,
) -> None:
    of_all = [WHOLE]
    make(runner, Work((READ, CURATED), "a"))
    failed: Failed = {READ: {"b"}}
    assert runner.out_of_date([CURATED], failed) == [Work((CURATED,), "c")]
    assert failed[CURATED] == {"b"}
    assert runner.out_of_date(of_all, failed) == []
    assert failed[WHOLE] == {None}
    drawn = drawing.resolve_asset_graph()
    runner.graph = drawn
    assert runner.out_of_date(of_all, {CURATED: {"b"}}) == [Work((WHOLE,), None)]
    assert runner.out_of_date(of_all, {CURATED: {"a", "b", "c"}}) == []


@pytest.mark.parametrize(
    ("asset", "cause"),
    [
        (told, r"told: \S*FullDiskError: lake/questions: make room, then run it again"),
        (plain, r"plain: ValueError: row 3 has no answer"),
        (by_dagster, r"by_dagster: \S*DagsterPipesExecutionError: .* code 3"),
    ],
)
def test_a_failure_is_told_in_the_words_of_the_error_that_the_asset_raised(
    asset: dg.AssetsDefinition, cause: str
) -> None:
    result = dg.materialize([asset], raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert re.match(cause, cause_of(failed))


def test_of_a_killed_process_is_told_what_its_container_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = tmp_path / "none", tmp_path / "max", tmp_path / "limit"
    limits[1].write_text("max\n")
    limits[2].write_text(f"{3 << 29}\n")
    monkeypatch.setattr(run_errors, "CONTAINER_LIMITS", limits)
    assert "; it had 1.5 GiB" in killed_by(signal.SIGKILL)
    assert killed_by(signal.SIGTERM) == "was killed by signal 15"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance on disk, over the location whose partitions are killed."""
    monkeypatch.setenv("KILLING_LOCATION", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))  # Dagster leaves out the first: a script's folder
    monkeypatch.setattr(local_runner, "DEFINITIONS_MODULE", killing_location.__name__)
    # Nothing that takes seconds to import is needed.
    monkeypatch.setattr(local_run, "PRELOADED", "typing")
    monkeypatch.setattr(run_process, "LOADED", ())
    local_runner.all_assets_job.cache_clear()
    _forkserver._stop()  # one that is there has the environment of another test
    slots = {"concurrency": {"pools": {"default_limit": 2}}}
    with dg.DagsterInstance.local_temp(str(tmp_path), slots) as instance:
        yield instance
    local_runner.all_assets_job.cache_clear()
    _forkserver._stop()


def test_a_killed_process_fails_its_partition_by_name_and_the_others_go_on(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    runner = LocalRunner(instance, Lake(root=str(tmp_path)), 2, tmp_path / "workers.log")
    ended: list[Outcome] = []
    failures = runner.run(lambda todo: None, ended.append)
    killed = f"its process {killed_by(signal.SIGKILL)}"
    assert {str(outcome.work): outcome.errors for outcome in failures} == {
        "made [run]": (f"{killed}; what it had finished is kept",),
        "made [step]": (f"made: {killed}",),
    }
    assert instance.get_materialized_partitions(killing_location.made.key) == {"beside", "later"}
    assert "killed by signal 9, probably out of memory; it had " in killed
    assert len(ended) == 4
    runs = {run.tags["dagster/partition"]: run.status for run in instance.get_runs()}
    failed, succeeded = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    assert runs == {"run": failed, "step": failed, "beside": succeeded, "later": succeeded}
    pool = instance.event_log_storage.get_concurrency_info("p")
    assert (pool.slot_count, pool.active_slot_count) == (2, 0)


def test_without_the_process_that_they_are_forked_from_runs_end_and_the_next_get_a_new_one(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILLING_LOCATION_VICTIM", "server")
    runner = LocalRunner(instance, Lake(root=str(tmp_path)), 2, tmp_path / "workers.log")
    failures = runner.run(lambda todo: None, print)
    causes = {str(outcome.work): outcome.errors[0] for outcome in failures}
    assert causes.pop("made [step]").startswith("made: its process was killed by signal 9")
    lost = "its process ended with the one that it was forked from; what it had finished is kept"
    assert causes == {"made [run]": lost, "made [beside]": lost}
    assert instance.get_materialized_partitions(killing_location.made.key) == {"later"}


def test_the_reason_of_a_block_is_told() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([blocked], instance=instance, raise_on_error=False)
        assert run_errors.errors_of(instance, result.run_id) == (
            "blocked: check has_mixed_policy failed, which stops all below it: no rollout was "
            "continued; observed: 0, allowed: at least 1",
        )


def test_runs_go_side_by_side_while_their_declared_cores_fit(
    monkeypatch: pytest.MonkeyPatch, runner: LocalRunner
) -> None:
    monkeypatch.setattr(local_runner, "usable_cores", lambda: 2.0)
    small, large = Work((READ,), "a"), Work((WHOLE,), None)
    beside = [local_runner._Running(small, None, None)]  # type: ignore[arg-type]
    assert runner._has_room(small, beside)
    assert not runner._has_room(large, beside)
    assert runner._has_room(large, [])
    monkeypatch.setattr(runner, "_workers", None)
    assert runner._at_once([READ]) > 1_000  # by the cores alone
