"""`dasd status`: what Dagster says of every partition, on one screen."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from support.fresh_python import printed
from typer.testing import CliRunner, Result

from dasd_assets.cli import status as module
from dasd_assets.cli.main import app
from dasd_assets.cli.prepare import prepare
from dasd_assets.cli.status import FAILED, FRESH, MISSING, RUNNING, STALE, AssetStatus, statuses
from dasd_assets.partitions import QUESTION_SHARD
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

SHARDS = ["example", "other"]
LAKE = Lake(root="/nowhere")
"""The assets here keep nothing in it."""


WHAT_IS_IMPORTED = """
import sys
from typer.testing import CliRunner
from dasd_assets.cli.main import app
result = CliRunner().invoke(app, ["status"])
assert result.exit_code == 0, result.output
print([name for name in ("torch", "transformers", "great_expectations", "markdown_it",
                          "matplotlib", "sympy")
       if name in sys.modules])
"""


def status(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["status", *arguments])


def graph(code_version: str = "1", is_broken: bool = False) -> dg.Definitions:
    """Two assets: one with a partition for each shard and a check, one that reads all of them."""

    shards = dg.DynamicPartitionsDefinition(name=QUESTION_SHARD)

    @dg.asset(partitions_def=shards)
    def parts(context: dg.AssetExecutionContext) -> None:
        if is_broken and context.partition_key == "other":
            raise ValueError("broken")

    @dg.asset_check(asset=parts, partitions_def=shards)
    def is_whole() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    @dg.asset(
        deps=[dg.AssetDep(parts, partition_mapping=dg.AllPartitionMapping())],
        code_version=code_version,
    )
    def whole() -> None:
        if is_broken:
            raise ValueError("broken")

    @dg.asset_check(asset=whole)
    def is_good() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    checks = [is_whole, is_good]
    return dg.Definitions([parts, whole], asset_checks=checks, executor=dg.in_process_executor)


@pytest.fixture
def instance(project: Path) -> Iterator[dg.DagsterInstance]:
    prepare()
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, SHARDS)
        yield instance


def make(
    instance: dg.DagsterInstance, definitions: dg.Definitions, asset: str, partition: str | None
) -> None:
    """As a worker does: the run is announced, then executed."""
    job = definitions.resolve_implicit_global_asset_job_def()
    job.execute_in_process(
        instance=instance, partition_key=partition, asset_selection=[dg.AssetKey(asset)],
        raise_on_error=False,
    )  # fmt: skip


def found(
    instance: dg.DagsterInstance, definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> dict[str, AssetStatus]:
    monkeypatch.setattr("dasd_assets.definitions.defs", definitions)
    return {one.asset: one for one in statuses(instance, LAKE)}


def test_missing_fresh_stale_and_failed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, broken = graph(), graph(is_broken=True)
    before = found(instance, good, monkeypatch)
    assert before["parts"].partitions == dict.fromkeys(SHARDS, MISSING)
    assert before["whole"].partitions == {"": MISSING}
    assert before["whole"].last_run is None
    make(instance, broken, "parts", "example")
    make(instance, broken, "parts", "other")
    after = found(instance, good, monkeypatch)["parts"]
    assert after.partitions == {"example": FRESH, "other": FAILED}
    assert after.counts == {FRESH: 1, STALE: 0, MISSING: 0, FAILED: 1, RUNNING: 0}
    assert after.last_run_status == "failure"
    make(instance, good, "parts", "other")
    make(instance, good, "whole", None)
    mended = found(instance, good, monkeypatch)
    assert set(mended["parts"].partitions.values()) == {FRESH}
    assert mended["whole"].partitions == {"": FRESH}
    assert mended["whole"].last_run_status == "success"
    changed = found(instance, graph(code_version="2"), monkeypatch)["whole"]
    assert changed.partitions == {"": STALE}
    assert "code version" in changed.causes[""]
    make(instance, broken, "whole", None)
    assert found(instance, good, monkeypatch)["whole"].partitions == {"": FAILED}


def test_checks_that_fail_are_named(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = graph()
    assert found(instance, good, monkeypatch)["whole"].failing_checks == {}
    for shard in SHARDS:
        make(instance, good, "parts", shard)
    make(instance, good, "whole", None)  # its check runs along
    assert found(instance, good, monkeypatch)["whole"].failing_checks == {"is_good": 1}


def test_a_check_of_what_failed_before_it_is_not_said_to_fail(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = graph(is_broken=True)
    for shard in SHARDS:
        make(instance, broken, "parts", shard)
    make(instance, broken, "whole", None)
    seen = found(instance, broken, monkeypatch)
    assert seen["parts"].partitions == {"example": FRESH, "other": FAILED}
    assert seen["parts"].failing_checks == {"is_whole": 1}
    assert seen["whole"].partitions == {"": FAILED}
    assert seen["whole"].failing_checks == {}


def test_what_is_being_made(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at from inside the run that makes it."""
    seen: list[dict[str, str]] = []

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name=QUESTION_SHARD))
    def parts(context: dg.AssetExecutionContext) -> None:
        seen.append(
            {one.asset: one for one in statuses(context.instance, LAKE)}["parts"].partitions
        )

    looking = dg.Definitions([parts], executor=dg.in_process_executor)
    monkeypatch.setattr("dasd_assets.definitions.defs", looking)
    make(instance, looking, "parts", "example")
    assert seen == [{"example": RUNNING, "other": MISSING}]


def test_storage_is_asked_as_often_of_many_partitions_as_of_few(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = graph()
    asked: list[str] = []

    def note(*execution: Any) -> None:
        asked.append(execution[2])

    def n_asked() -> int:
        asked.clear()
        found(instance, good, monkeypatch)
        return len(asked)

    make(instance, good, "parts", "example")
    make(instance, good, "whole", None)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        few = n_asked()
        many = [f"shard-{number:02}" for number in range(50)]
        instance.add_dynamic_partitions(QUESTION_SHARD, many)
        for shard in many:
            instance.report_runless_asset_event(dg.AssetMaterialization("parts", partition=shard))
        assert n_asked() - few <= 4  # `whole` was made of another content
        assert few <= 12
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_what_models_need_is_not_imported(project: Path) -> None:
    assert printed(WHAT_IS_IMPORTED) == "[]"


def test_the_real_graph_before_anything_ran(project: Path) -> None:
    result = status()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["asset", "missing"]  # columns without a value are left out
    assert "─" not in result.stdout  # no terminal, no lines
    assert any(line.startswith("dasd_checkpoint") for line in lines)
    assert len(lines) < 45
    assert "in the inbox, not registered yet: example" in result.stdout
    told = json.loads(status("--json").stdout)
    assert told["drops_not_registered"] == ["example"]
    by_name = {asset["asset"]: asset for asset in told["assets"]}
    assert by_name["dasd_checkpoint"]["counts"]["missing"] == 1
    assert by_name["evaluation/base"]["counts"]["missing"] == 4


def test_one_asset_and_one_that_there_is_not(project: Path) -> None:
    result = status("divergence_sample")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:3]] == [
        ["low", "missing"], ["high", "missing"],
    ]  # fmt: skip
    assert "divergence_sample: 0 of 2 partition(s) up to date" in result.stdout
    unknown = status("divergence")
    assert unknown.exit_code == 2
    assert "no asset 'divergence'; there are " in unknown.stderr


def test_a_failed_partition_is_exit_code_1(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = AssetStatus("parts", {"a": FAILED, "b": STALE}, "run", "failure", 0.0, {"is_good": 2},
                      {"b": "has a new code version"})  # fmt: skip
    monkeypatch.setattr(module, "statuses", lambda instance, lake, only: [one])
    result = status()
    assert result.exit_code == 1
    assert "is_good (2)" in result.stdout
    detail = status("parts")
    assert "has a new code version" in detail.stdout
    assert "check is_good fails in 2 partition(s)" in detail.stdout
    assert os.environ["DAGSTER_HOME"].startswith(str(project))
    assert "parts" not in result.stderr
    one = AssetStatus("parts", {"a": FRESH, "b": STALE}, "run", "success", 0.0, {},
                      damage={"b": ["parts/data.parquet is gone"]})  # fmt: skip
    result = status()
    assert result.exit_code == 1
    assert "parts [b]: parts/data.parquet is gone" in result.stderr
