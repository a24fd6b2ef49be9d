"""The pipeline's own assets, unchanged, on a lake in a bucket; another machine reads it."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml
from support.object_store import SECRET, Fault, ObjectStore
from support.pipeline import Pipeline, new_pipeline

from dasd_assets.cli.doctor_machine import OK, PROBLEM, write_access
from dasd_assets.graph import build_definitions
from dasd_assets.profile import PROJECT_ROOT, load_profile
from resources.lake.bucket_lake import BucketLake

pytestmark = pytest.mark.slow

CELL = dg.MultiPartitionKey({"temperature": "low", "question_shard": "drop-01"})


@pytest.fixture
def pipeline(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Six questions, and a profile that names a bucket."""
    made = new_pipeline(tmp_path)
    made.put_drop("drop-01", 0, 6)
    settings = yaml.safe_load(made.profile.read_text(encoding="utf-8"))
    made.profile.write_text(
        yaml.safe_dump(settings | {"lake": f"s3://{bucket}/team"}), encoding="utf-8"
    )
    monkeypatch.delenv("DASD_LAKE", raising=False)
    return made


def materialize(pipeline: Pipeline, machine: str, *names: str) -> bool:
    """Make assets for the drop at the low temperature, on a machine with a disk of its own."""
    profile = load_profile(str(pipeline.profile))
    folder = pipeline.folder / machine
    definitions = build_definitions(profile, folder)
    dagster_home = pipeline.home / "dagster"  # the team's: every machine sees the same instance
    dagster_home.mkdir(parents=True, exist_ok=True)
    (dagster_home / "dagster.yaml").write_bytes(
        (PROJECT_ROOT / "deploy" / "local" / "dagster.yaml").read_bytes()
    )
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        instance.add_dynamic_partitions("question_shard", ["drop-01"])
        for name in names:
            asset = definitions.resolve_assets_def(name)
            key = {"questions": "drop-01", "raw_questions": "drop-01",
                   "sampling_temperature": "low"}.get(name, CELL)  # fmt: skip
            result = dg.materialize(
                [asset], instance=instance, partition_key=key, raise_on_error=False
            )
            if not result.success:
                return False
            for event in result.asset_materializations_for_node(name):
                uri = event.metadata.get("dagster/uri", dg.MetadataValue.text("s3://"))
                assert str(uri.value).startswith("s3://")
    return True


def test_assets_run_unchanged_and_every_machine_reads_them(
    pipeline: Pipeline, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_DEPLOYMENT", "team")
    assert materialize(pipeline, "one", "raw_questions", "questions", "sampling_temperature")
    with store.failing(lambda method, path, before: (
        Fault(400, "ExpiredToken") if method == "PUT" and "teacher_responses/" in path else None
    )):  # fmt: skip
        assert not materialize(pipeline, "one", "teacher_responses")
    assert not [key for key in store.keys(bucket) if key.startswith("team/teacher_responses/")]
    pieces = [key for key in store.keys(bucket) if key.startswith("team/_journals/")]
    assert pieces
    # The credentials are renewed and the step goes on elsewhere, from the finished requests.
    assert materialize(pipeline, "two", "teacher_responses")
    assert materialize(pipeline, "three", "filtered_responses")
    assert not [key for key in store.keys(bucket) if key.startswith("team/_journals/")]
    assert "team/filtered_responses/temperature=low/question_shard=drop-01/data.parquet" in (
        store.keys(bucket)
    )

    counted = pipeline.ask("sql", "--json", "SELECT count(*) AS n FROM teacher_responses")
    assert counted.returncode == 0, counted.stderr
    lake = BucketLake(root=str(pipeline.folder / "x"), uri=f"s3://{bucket}/team", owner="team")
    cell = {"temperature": "low", "question_shard": "drop-01"}
    n_answers = lake.read("teacher_responses", cell, ["response_id"]).num_rows
    assert json.loads(counted.stdout) == {"n": n_answers} and n_answers
    status = pipeline.ask("status", "--json")
    assert status.returncode in (0, 1), status.stderr
    states = {asset["asset"]: asset["partitions"] for asset in json.loads(status.stdout)["assets"]}
    assert states["filtered_responses"]["drop-01|low"] == "up to date"

    files = [file for file in pipeline.folder.rglob("*") if file.is_file()]
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert not [
        key for key in store.keys(bucket)
        if SECRET.encode() in store.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    ]  # fmt: skip


def test_the_doctor_tries_what_a_run_will_ask_of_the_bucket(
    pipeline: Pipeline, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_HOME", str(pipeline.home))
    profile = load_profile(str(pipeline.profile))
    _, found = write_access(profile)
    assert found.level == OK and f"s3://{bucket}/team" in found.found
    assert store.keys(bucket) == ["team/_owner.json"]

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(403, "AccessDenied") if method == "PUT" else None

    with store.failing(rule):
        _, found = write_access(profile)
    assert found.level == PROBLEM and "may not do this" in found.found
