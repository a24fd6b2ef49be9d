"""`dasd verify` and `dasd status` over a lake in which something is not what was written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg
import pytest
from support.checked_lake import put
from typer.testing import CliRunner, Result

from dasd_assets.cli.main import app
from dasd_assets.cli.prepare import prepare
from dasd_assets.declaring.stored_data import STORED, TABLE
from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.profile.open_lake import open_lake
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

SHARDS = ["example", "other"]
PLACE = {"question_shard": "example"}


@pytest.fixture
def lake(project: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Two shards that were read, and a report."""

    @dg.asset(
        partitions_def=dg.DynamicPartitionsDefinition(name=QUESTION_SHARD),
        metadata={TABLE: "raw_questions"},
    )
    def raw_questions() -> None:
        """As the pipeline's."""

    @dg.asset(metadata={STORED: "stage_report.html"})
    def stage_report() -> None:
        """As the pipeline's."""

    @dg.asset(metadata={STORED: "releases/model"})
    def model_release() -> None:
        """Not made yet."""

    found = dg.Definitions([raw_questions, stage_report, model_release])
    monkeypatch.setattr("dasd_assets.definitions.defs", found)
    lake = open_lake(*prepare())
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, SHARDS)
        for shard in SHARDS:
            for table in ("quarantined_rows", "raw_questions"):
                put(lake, table, {"question_shard": shard}, {"line": 1})
            made = dg.AssetMaterialization("raw_questions", partition=shard)
            instance.report_runless_asset_event(made)
        lake.publish_page("stage_report.html", b"<p>")
        instance.report_runless_asset_event(dg.AssetMaterialization("stage_report"))
    return lake


def dasd(command: str) -> Result:
    return CliRunner().invoke(app, [command])


def test_what_is_gone_cut_or_altered_is_named_with_asset_partition_and_file(lake: Lake) -> None:
    assert dasd("status").exit_code == 0
    found = dasd("verify")
    assert (found.exit_code, found.stdout) == (0, "5 in the lake, each what was written\n")

    for file in (lake.path("raw_questions", PLACE), lake.path("quarantined_rows", PLACE)):
        os.truncate(file, file.stat().st_size - 3)
    shutil.rmtree(Path(lake.root, "raw_questions", "question_shard=other"))
    lake.file("stage_report.html").write_text("<P>", encoding="utf-8")
    raw = "raw_questions/question_shard="
    for command in ("status", "verify"):
        found = dasd(command)
        assert found.exit_code == 1
        told = found.stderr
        for line in (
            f"raw_questions [example]: {raw}example/data.parquet has ",
            "raw_questions [example]: quarantined_rows/question_shard=example/data.parquet has ",
            f"raw_questions [other]: {raw}other/data.parquet is gone",
            "stage_report: stage_report.html has bytes that are not what was written",
        ):
            assert line in told, command
    assert "4 of 5 gone or damaged; `dasd run` makes them again" in told


def test_what_no_glance_sees_verify_finds_and_status_tells_from_then_on(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lake, "is_touched", lambda *_: False)
    file = lake.path("raw_questions", PLACE)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert dasd("status").exit_code == 0
    assert dasd("verify").exit_code == 1
    found = dasd("status")
    assert found.exit_code == 1
    assert "has bytes that are not what was written" in found.stderr


def test_files_of_before_there_were_manifests_are_said_to_be(lake: Lake) -> None:
    file = lake.path("raw_questions", PLACE)
    file.with_name("data.parquet.manifest.json").unlink()
    found = dasd("verify")
    assert found.exit_code == 0
    assert "1 were written before there were checksums" in found.stdout
