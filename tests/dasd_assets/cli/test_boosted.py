"""`dasd boosted` on a finished pipeline: a checkpoint judges the sentences a third time."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.judged_answers import CELL, make_judged_answers
from typer.testing import CliRunner

from dasd_assets.cli.main import app
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

JUDGED = {"checkpoint": "dasd", "temperature": "high"}


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    monkeypatch.setenv("DASD_HOME", str(tmp_path))
    lake = Lake(root=str(tmp_path / "lake"))
    make_judged_answers(lake)
    return lake


def test_the_base_student_boosts_nothing(finished: Lake) -> None:
    result = CliRunner().invoke(app, ["boosted", "--answers", "3"])
    assert result.exit_code == 0, result.output
    rows = finished.read("boosted_sentences", JUDGED)
    assert sorted(set(rows["response_id"].to_pylist())) == ["r0", "r1", "r2"]
    assert rows["p_distilled"].to_pylist() == pytest.approx(rows["p_student"].to_pylist(), abs=1e-6)
    assert "boosted" not in rows["sentence_class"].to_pylist()
    known = finished.read("sentence_provenance", CELL)
    assert rows["sentence_class"].to_pylist() == known["sentence_class"].to_pylist()[: len(rows)]
    assert f"rows: {finished.path('boosted_sentences', JUDGED)}" in result.output
    counted = CliRunner().invoke(
        app, ["sql", "--json", "SELECT checkpoint, count(*) AS n FROM boosted_sentences GROUP BY 1"]
    )
    assert json.loads(counted.output) == {"checkpoint": "dasd", "n": rows.num_rows}


def test_a_disk_that_is_full_leaves_the_earlier_rows(
    finished: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CliRunner().invoke(app, ["boosted", "--answers", "3"]).exit_code == 0
    before = finished.read("boosted_sentences", JUDGED)

    def full(writer: pq.ParquetWriter, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    result = CliRunner().invoke(app, ["boosted", "--answers", "1"])
    assert result.exit_code == 2 and "the disk is full" in result.output
    assert finished.read("boosted_sentences", JUDGED).equals(before)


def test_what_is_not_there_yet_is_said(finished: Lake) -> None:
    result = CliRunner().invoke(app, ["boosted", "--temperature", "low"])
    assert result.exit_code == 2
    assert "no sentence_provenance of temperature low" in result.output
    result = CliRunner().invoke(app, ["boosted", "--checkpoint", "low_temperature"])
    assert result.exit_code == 2
    assert "low_temperature: not trained yet" in result.output
