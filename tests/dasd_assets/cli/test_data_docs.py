"""`dasd data-docs` and `dasd expectations`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from checks.expectations import Measurement, judge
from checks.kept_results import keep
from dasd_assets.cli.main import app
from dasd_assets.profile import load_profile
from dasd_assets.profile.data_contracts import CONTRACTS
from resources.lake.lake import Lake
from resources.lake.tables import TABLES

pytestmark = pytest.mark.slow


def test_pages_name_the_assets_that_fall_short(lake: Lake) -> None:
    result = CliRunner().invoke(app, ["data-docs"])
    assert result.exit_code == 2 and "no check has run yet" in result.output
    settings = load_profile("tiny").checks.of("questions")
    verdicts = judge([Measurement("none_lost", {"drop-01": 1.0})], settings)
    keep(lake, "questions", {"question_shard": "drop-01"}, "drop-01", verdicts)
    result = CliRunner().invoke(app, ["data-docs"])
    assert result.exit_code == 0, result.output
    said, page = result.stdout.splitlines()
    assert said == "questions: 1 expectation(s) do not hold"
    assert Path(page).is_file()


def test_suites_are_written_as_json(lake: Lake, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["expectations", str(tmp_path / "suites")])
    assert result.exit_code == 0, result.output
    written = {
        file.name.removesuffix(".json"): json.loads(file.read_text())
        for file in tmp_path.glob("suites/*.json")
    }
    assert set(written) == {*CONTRACTS, *(f"{table}.rows" for table in TABLES)}
    assert all(suite["name"] == name for name, suite in written.items())
