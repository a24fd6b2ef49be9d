"""`dasd compare-policies` on a lake: prints, plots, changes nothing, and says what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.candidates import candidate_rows, put_into_lake
from typer.testing import CliRunner, Result

from dasd_assets.cli.main import app
from dasd_assets.divergence_sampling.policies import POLICIES
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("DASD_HOME", str(tmp_path))
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    return Lake(root=str(tmp_path / "lake"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare-policies", *arguments])


def files(lake: Lake) -> dict[str, bytes]:
    root = Path(lake.root)
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def test_it_prints_and_plots_every_policy_and_changes_no_table(lake: Lake) -> None:
    put_into_lake(lake, candidate_rows(1_500), "low")
    put_into_lake(lake, candidate_rows(90, seed=1), "high")
    before = files(lake)
    result = run()
    assert result.exit_code == 0, result.output
    assert "temperature low: 1,500 candidates, budget 900 samples" in result.output
    assert "temperature high: 90 candidates, budget 900 samples" in result.output
    assert "divergence_count *" in result.output
    for policy in POLICIES:
        assert result.output.count(f" {policy}") >= 2 * 3
    after = files(lake)
    assert set(after) - set(before) == {"policy_comparison.html"}
    assert {name: after[name] for name in before} == before
    assert after["policy_comparison.html"].startswith(b"<!DOCTYPE html>")


def test_one_temperature_and_a_page_elsewhere(lake: Lake, tmp_path: Path) -> None:
    put_into_lake(lake, candidate_rows(), "low")
    put_into_lake(lake, candidate_rows(), "high")
    page = tmp_path / "page.html"
    result = run("--temperature", "high", "--page", str(page))
    assert result.exit_code == 0, result.output
    assert "temperature low" not in result.output
    assert page.is_file()
    assert not Path(lake.root, "policy_comparison.html").exists()
    missing = run("--page", str(tmp_path / "nowhere" / "page.html"))
    assert missing.exit_code == 2
    assert "nowhere" in missing.output


def test_a_temperature_that_is_not_there_yet_is_left_out_and_said(lake: Lake) -> None:
    put_into_lake(lake, candidate_rows(), "low")
    result = run()
    assert result.exit_code == 0, result.output
    assert "high: no provenance yet, left out" in result.output


def test_before_anything_was_made_it_says_what_to_run(lake: Lake) -> None:
    result = run()
    assert result.exit_code == 2
    assert "no provenance of the answers at the temperature low or high yet" in result.output
    assert "Run `dasd run`" in result.output
    assert not Path(lake.root).exists()


def test_unknown_temperatures_and_half_a_shard_are_named(lake: Lake) -> None:
    result = run("--temperature", "hot")
    assert result.exit_code == 2
    assert "no temperature hot in the profile tiny; there are low, high" in result.output
    put_into_lake(lake, candidate_rows(), "low")
    cell = {"temperature": "low", "question_shard": "drop-1"}
    shutil.rmtree(lake.path("filtered_responses", cell).parent)
    result = run()
    assert result.exit_code == 0, result.output
    said = "low/drop-1 is in response_provenance, but not in filtered_responses: left out"
    assert said in result.output
