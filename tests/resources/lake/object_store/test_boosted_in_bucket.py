"""`dasd boosted` where the lake is in a bucket: its rows are everybody's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.judged_answers import make_judged_answers
from typer.testing import CliRunner

from dasd_assets.cli.main import app
from resources.lake.bucket_lake import BucketLake


def test_another_machine_reads_the_rows(
    machine: Callable[..., BucketLake], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lake = machine("one")
    make_judged_answers(lake)
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    monkeypatch.setenv("DASD_LAKE", lake.uri)
    monkeypatch.setenv("DASD_DEPLOYMENT", lake.owner)
    monkeypatch.setenv("DASD_HOME", str(tmp_path / "one"))
    result = CliRunner().invoke(app, ["boosted"])
    assert result.exit_code == 0, result.output
    judged = {"checkpoint": "dasd", "temperature": "high"}
    rows = machine("two").read("boosted_sentences", judged)
    assert sorted(set(rows["response_id"].to_pylist())) == ["r0", "r1", "r2", "r3"]
    assert f"rows: {lake.address('boosted_sentences', judged)}" in result.output
