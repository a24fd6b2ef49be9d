"""What is used from inside Dagster does what we take it for: run against the newest release too."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alembic.script import ScriptDirectory
from dagster_ray.core.executor import RayStepHandler

from dasd_assets import dagster_internals as internals
from dasd_assets.dagster_internals import (
    CheckStatus,
    DagsterReleaseError,
    LatestEvents,
    check_outcomes,
    engine_event,
    execute_run,
    graph_view,
    health_of_worker,
    is_code_of_this_environment,
    job_of_file,
    job_of_module,
    job_of_run,
    keys_of,
    origin_in_ui,
    require_release,
    stale_resolver,
    start_backfill,
    step_failed,
    steps_started_by,
    subset_of,
)
from dasd_assets.profile import PROJECT_ROOT

THEIR_WORDS = {
    CheckStatus.PASSED: "SUCCEEDED",
    CheckStatus.FAILED: "FAILED",
    CheckStatus.BROKEN: "EXECUTION_FAILED",
}
NO_NODE = "no node can hold it"
letters = dg.StaticPartitionsDefinition(["a", "b"])


class RefusesAll(RayStepHandler):
    """Starts no step and says so."""

    def __init__(self) -> None:
        super().__init__(None, None, None, None, None, None, None)  # type: ignore[arg-type]

    def launch_step(self, step_handler_context: Any) -> Iterator[dg.DagsterEvent]:
        key = self._get_step_key(step_handler_context)
        yield step_failed(step_handler_context.get_step_context(key), NO_NODE)


@dg.executor(name="elsewhere")
def elsewhere(init_context: dg.InitExecutorContext) -> Any:
    return steps_started_by(RefusesAll(), 1, 5)


@dg.asset(partitions_def=letters)
def part() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(data_version=dg.DataVersion(os.environ.get("TEST_VERSION", "1")))


@dg.asset(deps=[part])
def whole() -> None:
    """Is made of all parts."""


@dg.asset_check(asset=part, partitions_def=letters)
def is_good() -> dg.AssetCheckResult:
    if os.environ["TEST_PASSES"] == "error":
        raise ValueError("broken")
    return dg.AssetCheckResult(passed=os.environ["TEST_PASSES"] == "yes")


CHECK = is_good.check_key

defs = dg.Definitions(
    [part, whole],
    asset_checks=[is_good],
    jobs=[
        dg.define_asset_job("make", [whole], executor_def=dg.in_process_executor),
        dg.define_asset_job("elsewhere_job", [whole], executor_def=elsewhere),
    ],
    executor=dg.in_process_executor,
)
GRAPH = defs.resolve_asset_graph()

MANAGED = """{"__class__": "ManagedGrpcPythonEnvRepositoryLocationOrigin", "location_name": "x",
"loadable_target_origin": {"__class__": "LoadableTargetOrigin", "attribute": null,
"executable_path": null, "module_name": "m", "package_name": null, "python_file": null,
"working_directory": null}}"""
SERVED = """{"__class__": "GrpcServerRepositoryLocationOrigin", "host": "localhost", "port": 1,
"socket": null, "location_name": "x"}"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def resolver(instance: dg.DagsterInstance) -> Any:
    latest = LatestEvents(instance, GRAPH.materializable_asset_keys)
    return stale_resolver(graph_view(GRAPH, instance), latest)


def make(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, key: str | None = None) -> None:
    assert dg.materialize([asset], instance=instance, partition_key=key, selection=[asset]).success


def test_a_release_outside_of_the_range_is_refused_with_what_to_do() -> None:
    declared = ["httpx>=1", "dagster<1.14,>=1.13.27", "dagster-k8s<1; extra == 'kubernetes'"]
    require_release("1.13.27", declared)
    require_release("1.13.99", declared)
    with pytest.raises(DagsterReleaseError) as raised:
        require_release("1.14.0", declared)
    said = str(raised.value)
    assert said.startswith("Dagster 1.14.0 is installed, dasd-dagster is made for dagster<1.14,>=")
    assert "uv pip install 'dagster<1.14,>=1.13.27'" in said
    assert "`make newest-dagster`" in said


def test_it_is_refused_before_anything_else_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg, "__version__", "99.0")
    with pytest.raises(ImportError, match=r"Dagster 99\.0 is installed"):
        runpy.run_path(internals.__file__)


def test_no_other_module_reaches_behind_an_underscore_of_dagster() -> None:
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=PROJECT_ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    own = list(Path(internals.__file__).parent.glob("*.py"))
    here = {*own, Path(__file__)}
    others = [PROJECT_ROOT / file for file in files if PROJECT_ROOT / file not in here]
    # An import, or the private attribute of an instance, which tests are tempted to set.
    private = re.compile(r"\bdagster\._|\binstance\._[a-z]")
    texts = {file: file.read_text(encoding="utf-8") for file in others if file.exists()}
    assert [file for file, text in texts.items() if private.search(text)] == []
    text = "\n".join(file.read_text(encoding="utf-8") for file in own)
    assert len(re.findall(r"^ *(?:from|import) dagster\._", text, re.MULTILINE)) <= 15


def test_partitions_belong_to_those_that_are_made_of_them(instance: dg.DagsterInstance) -> None:
    view = graph_view(GRAPH, instance)
    one = subset_of(view, part.key, ["a"])
    assert keys_of(one) == {"a"}
    assert keys_of(view.get_full_subset(key=part.key).compute_difference(one)) == {"b"}
    assert keys_of(one.compute_child_subset(whole.key)) == {None}
    assert keys_of(subset_of(view, whole.key, [None])) == {None}
    assert keys_of(subset_of(view, whole.key, [])) == set()


def test_what_is_stale_and_why(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(key: dg.AssetKey, partition: str | None = None) -> str:
        return resolver(instance).get_status(key, partition).name

    assert status(part.key, "a") == "MISSING"
    for key in ("a", "b"):
        make(instance, part, key)
    make(instance, whole)
    assert status(part.key, "a") == status(whole.key) == "FRESH"
    monkeypatch.setenv("TEST_VERSION", "2")
    make(instance, part, "b")
    assert status(whole.key) == "STALE"
    (cause,) = resolver(instance).get_stale_causes(whole.key)
    assert cause.reason == "has a new dependency data version"
    assert cause.dependency.asset_key == part.key
    assert cause.dependency.partition_key == "b"


def test_what_is_read_at_once_is_what_dagster_says_piece_by_piece(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def agree() -> list[str]:
        """How the checks stand; ours and Dagster's own answers are the same."""
        view = graph_view(GRAPH, instance)
        queryer = view.get_inner_queryer_for_back_compat()
        theirs = internals.CachingStaleStatusResolver(instance, GRAPH, view, queryer)
        ours = resolver(instance)
        for key, partition in ((part.key, "a"), (part.key, "b"), (whole.key, None)):
            assert ours.get_status(key, partition) == theirs.get_status(key, partition)
            assert ours.get_stale_causes(key, partition) == theirs.get_stale_causes(key, partition)
        latest = LatestEvents(instance, GRAPH.materializable_asset_keys)
        found = check_outcomes(instance, [CHECK], latest)
        said = instance.event_log_storage.get_asset_check_state([(CHECK, letters)])[CHECK].subsets
        assert sorted((THEIR_WORDS[one.status], one.partition) for one in found) == sorted(
            (status.value, partition)
            for status, subset in said.items()
            for partition in (() if subset.is_empty else subset.subset_value.get_partition_keys())
        )
        return sorted(one.status for one in found)

    def run(key: str, passes: str) -> None:
        monkeypatch.setenv("TEST_PASSES", passes)
        defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, partition_key=key, asset_selection=[part.key],
            raise_on_error=False,
        )  # fmt: skip

    assert agree() == []
    run("a", "yes")
    run("b", "no")
    make(instance, whole)
    assert agree() == ["failed", "passed"]
    run("b", "error")
    monkeypatch.setenv("TEST_VERSION", "2")
    run("a", "yes")
    assert agree() == ["broken", "passed"]
    make(instance, part, "a")  # what was checked is there no more
    assert agree() == ["broken"]
    instance.wipe_assets([part.key])
    assert agree() == []


def test_what_a_run_set_out_to_make_and_has_not_made(instance: dg.DagsterInstance) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    make(instance, part, "a")
    begun = [
        instance.create_run_for_job(
            job, asset_selection={part.key},
            tags=job.get_tags_for_partition_key(key, selected_asset_keys={part.key}),
        )
        for key in "ab"
    ]  # fmt: skip
    expected = {(part.key, key): run.run_id for key, run in zip("ab", begun, strict=True)}
    assert LatestEvents(instance, GRAPH.materializable_asset_keys).attempts() == expected
    make(instance, part, "b")
    left = LatestEvents(instance, GRAPH.materializable_asset_keys).attempts()
    assert left == {(part.key, "a"): begun[0].run_id}


def test_a_run_is_of_a_location_of_the_ui(instance: dg.DagsterInstance) -> None:
    job = job_of_file(Path(__file__), "make")
    run = instance.create_run_for_job(
        job.get_definition(), remote_job_origin=origin_in_ui("a.module", "dasd", job)
    )
    assert run.remote_job_origin.repository_origin.get_label() == "__repository__@dasd"
    assert run.remote_job_origin.job_name == "make"
    assert is_code_of_this_environment(run)


def test_a_backfill_waits_for_the_daemon(instance: dg.DagsterInstance) -> None:
    view = graph_view(GRAPH, instance)
    subsets = [subset_of(view, part.key, ["b"]), subset_of(view, whole.key, [None])]
    tags = {"profile": "tiny"}
    found = instance.get_backfill(start_backfill(instance, subsets, "title", "what", tags))
    assert found is not None and found.asset_backfill_data is not None
    assert found.tags == tags
    assert (found.status.value, found.title, found.description) == ("REQUESTED", "title", "what")
    target = found.asset_backfill_data.target_subset
    asked = {(one.asset_key, one.partition_key) for one in target.iterate_asset_partitions()}
    assert asked == {(part.key, "b"), (whole.key, None)}


def test_a_run_is_executed_with_the_job_that_it_names(instance: dg.DagsterInstance) -> None:
    job = job_of_file(Path(__file__), "make")
    run = instance.create_run_for_job(job.get_definition(), job_code_origin=job.get_python_origin())
    found = job_of_run(run)
    assert found is not None and found.get_definition().name == "make"
    execute_run(found, run, instance)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None and ended.status == dg.DagsterRunStatus.SUCCESS
    assert instance.get_latest_materialization_event(whole.key) is not None
    assert job_of_run(instance.create_run_for_job(job.get_definition())) is None


def test_a_job_of_a_module(instance: dg.DagsterInstance) -> None:
    assert job_of_module("support.gpu_location", "__ASSET_JOB").get_definition().asset_layer


def test_a_runs_event_holds_texts(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(job_of_file(Path(__file__), "make").get_definition())
    instance.report_dagster_event(engine_event(run, "begins", {"pid": "123"}), run.run_id)
    (entry,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    event = entry.get_dagster_event()
    assert (event.message, event.step_key) == ("begins", None)
    assert str(event.engine_event_data.metadata["pid"].value) == "123"


def test_what_run_monitoring_is_told() -> None:
    there = health_of_worker(is_there=True)
    assert (there.status.name, there.msg) == ("RUNNING", None)
    gone = health_of_worker(is_there=False, message="killed")
    assert (gone.status.name, gone.msg) == ("FAILED", "killed")


@pytest.mark.parametrize(("code", "is_here"), [(MANAGED, True), (SERVED, False)])
def test_where_the_code_of_a_run_is(instance: dg.DagsterInstance, code: str, is_here: bool) -> None:
    origin = dg.deserialize_value(
        '{"__class__": "ExternalPipelineOrigin", "pipeline_name": "make", '
        '"external_repository_origin": {"__class__": "ExternalRepositoryOrigin", '
        f'"repository_name": "r", "repository_location_origin": {code}}}}}'
    )
    job = job_of_file(Path(__file__), "make")
    run = instance.create_run_for_job(
        job.get_definition(), remote_job_origin=origin, job_code_origin=job.get_python_origin()
    )  # fmt: skip
    assert is_code_of_this_environment(run) == is_here
    assert not is_code_of_this_environment(instance.create_run_for_job(job.get_definition()))


def test_a_step_that_is_not_started_fails_with_the_reason(instance: dg.DagsterInstance) -> None:
    job = job_of_file(Path(__file__), "elsewhere_job")
    assert steps_started_by(RefusesAll(), 1, 5).retries.enabled
    with dg.execute_job(job, instance, raise_on_error=False) as result:
        (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert not result.success
    assert failed.step_failure_data.error.message == NO_NODE


def test_a_signal_interrupts_nothing_while_a_run_notes_it() -> None:
    with internals.capture_interrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_the_daemon_can_be_had_with_less_waiting() -> None:
    controller = importlib.import_module("dagster._daemon.controller")
    assert isinstance(controller.DEFAULT_DAEMON_INTERVAL_SECONDS, int)
    program = "from dasd_assets.dagster_internals import run_daemon; run_daemon(1)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, "run", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Run any daemons" in done.stdout


def test_what_is_loaded_beforehand_is_there() -> None:
    for name in internals.IMPORTED_BY_A_RUN:
        importlib.import_module(name)


def test_the_revisions_of_the_records_schema_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = ScriptDirectory._load_revisions

    def noted(self: ScriptDirectory) -> Any:
        read.append(self.dir)
        return load(self)

    monkeypatch.setattr(ScriptDirectory, "_load_revisions", noted)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    for _ in range(2):
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            assert instance.get_runs() == []
    assert len(read) <= 1


def test_the_newest_revision_is_found_without_executing_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = find_spec("dagster")
    assert place is not None and place.origin is not None
    scripts = ScriptDirectory(str(Path(place.origin).parent / "_core" / "storage" / "alembic"))
    newest = scripts.get_current_head()  # Alembic's own answer
    monkeypatch.setattr(ScriptDirectory, "_load_revisions", None)
    assert ScriptDirectory(scripts.dir).as_revision_number("head") == newest


def test_revisions_whose_texts_do_not_say_which_is_the_newest_are_left_to_alembic(
    tmp_path: Path,
) -> None:
    (tmp_path / "versions").mkdir()
    texts = {
        "a": 'revision = "1"\ndown_revision = None\n',
        "b": "revision = '2'\ndown_revision = '1'",
    }
    for name, text in texts.items():
        (tmp_path / "versions" / f"{name}.py").write_text(text, encoding="utf-8")
    assert ScriptDirectory(str(tmp_path)).as_revision_number("head") == "2"
