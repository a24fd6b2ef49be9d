"""`dg dev` in a new project: the location of `dasd ui`, its records, and a run by its queue."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from support.daemon import until
from support.webserver import served
from typer.testing import CliRunner

from dasd_assets.cli.main import app
from dasd_assets.profile import PROJECT_ROOT
from dasd_assets.profile.home import dagster_home
from resources.lake.lake import Lake

pytestmark = [pytest.mark.slow, pytest.mark.deployment("dg-dev")]

ASSET = "benchmark_questions"
LOCATION = """{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename } } } } }"""
MADE = """{ assetsOrError { ... on AssetConnection { nodes {
    key { path } assetMaterializations(limit: 1) { runId } } } } }"""
LAUNCH = """mutation($asked: ExecutionParams!) { launchRun(executionParams: $asked) {
    ... on LaunchRunSuccess { run { runId } } } }"""


def test_dg_dev_shows_what_is_there_and_makes_what_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    assert CliRunner().invoke(app, ["init", str(folder)]).exit_code == 0
    data = folder / ".dasd" / "mine"
    for name in [name for name in os.environ if name.startswith("DA")]:
        monkeypatch.delenv(name)
    instance = dg.DagsterInstance.from_config(str(dagster_home(data)))
    instance.report_runless_asset_event(dg.AssetMaterialization("teacher_model"))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    with served(["dg", "dev"], folder, environment, tmp_path / "log") as ui:

        def asked(query: str, **variables: Any) -> dict[str, Any]:
            sent = {"query": query, "variables": variables}
            return dict(httpx.post(f"{ui}/graphql", json=sent, timeout=60).json()["data"])

        def made() -> set[str]:
            nodes = asked(MADE)["assetsOrError"]["nodes"]
            return {"/".join(n["key"]["path"]) for n in nodes if n["assetMaterializations"]}

        until(lambda: "LOADING" not in str(asked(LOCATION)))
        [location] = asked(LOCATION)["workspaceOrError"]["locationEntries"]
        assert location["name"] == "dasd"
        assert location["locationOrLoadError"] == {"__typename": "RepositoryLocation"}
        assert re.search(r'"telemetryEnabled": *false', httpx.get(ui).text)
        assert made() == {"teacher_model"}  # recorded before

        repository = {"repositoryLocationName": "dasd", "repositoryName": "__repository__"}
        chosen = {"pipelineName": "__ASSET_JOB", "assetSelection": [{"path": [ASSET]}]}
        partition = {"tags": [{"key": "dagster/partition", "value": "math"}]}
        selector = {"selector": repository | chosen, "mode": "default"}
        asked(LAUNCH, asked=selector | {"executionMetadata": partition})
        until(lambda: ASSET in made())
    # Where `dasd ui` and `dasd status` look.
    assert instance.get_materialized_partitions(dg.AssetKey(ASSET)) == {"math"}
    assert Lake(root=str(data / "lake")).read(ASSET, {"benchmark": "math"}).num_rows == 48
