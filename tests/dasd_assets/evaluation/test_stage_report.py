"""The stage report through Dagster: its date, diagnosis, data quality, and the report before it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from support.small_lake import make_small_lake

from dasd_assets.cli.summary import newest_findings
from dasd_assets.dagster_internals import DATA_VERSION_TAG
from dasd_assets.evaluation import stage_report as stage_report_module
from dasd_assets.evaluation.assets import build
from dasd_assets.evaluation.stage_report import write_stage_report
from dasd_assets.profile import load_profile
from dasd_assets.reporting.diagnosis import Finding
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

KEY = dg.AssetKey("stage_report")
PROFILE = load_profile("tiny")


def made(instance: dg.DagsterInstance, data_version: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            ["evaluation", "base"], partition="math", tags={DATA_VERSION_TAG: data_version}
        )
    )


def report(lake: Lake, instance: dg.DagsterInstance) -> tuple[dict[str, Any], str]:
    """Metadata and page of a report that is made now."""
    specs = [spec for asset in build(PROFILE) for spec in asset.specs]
    graph = dg.Definitions(specs).resolve_asset_graph()

    @dg.asset
    def stage_report(context) -> dg.MaterializeResult:  # type: ignore[no-untyped-def]
        # A repository is there only in runs of other processes.
        seen: Any = SimpleNamespace(
            instance=context.instance,
            asset_key=context.asset_key,
            repository_def=SimpleNamespace(asset_graph=graph),
        )
        return write_stage_report(seen, lake, PROFILE)

    result = dg.materialize([stage_report], instance=instance)
    (event,) = result.asset_materializations_for_node("stage_report")
    page = lake.file("stage_report.html").read_text(encoding="utf-8")
    return {name: value.value for name, value in event.metadata.items()}, page


def test_a_report_has_its_date_its_findings_and_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures have tests of their own, and are what takes time.
    monkeypatch.setattr(stage_report_module, "run_pictures", lambda *given: iter(()))
    lake = Lake(root=str(tmp_path / "lake"))
    make_small_lake(lake)
    with dg.DagsterInstance.ephemeral() as instance:
        made(instance, "v1")
        first, page = report(lake, instance)
        assert first["data_as_of"] in page and first["data_as_of"].endswith(" UTC")
        assert "Since the last report" not in page
        assert "0 checks passed, none fails." in page
        assert first["numbers"]["questions"] == 2
        assert [each["rule"] for each in first["diagnosis/findings"]] == []
        assert newest_findings(instance) == []

        # The same data once more: the page is the same, and there is nothing to compare with.
        assert report(lake, instance)[1] == page

        made(instance, "v2")
        lake.path("questions", {"question_shard": "drop-02"}).unlink()
        second, page = report(lake, instance)
        assert f"before this one, of {first['data_as_of']}" in page
        assert second["numbers"]["questions"] == 1
        assert '<th scope="row">questions</th><td class="number" data-label="then">2</td>' in page
        assert '<td class="number" data-label="change">−1</td>' in page


def test_the_summary_prints_what_the_newest_report_found() -> None:
    found = {"rule": "r", "finding": "It is so.", "advice": "Do this."}
    with dg.DagsterInstance.ephemeral() as instance:
        assert newest_findings(instance) is None
        metadata = {"diagnosis/findings": dg.MetadataValue.json([found])}
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=metadata))
        assert newest_findings(instance) == [Finding("r", "It is so.", "Do this.")]
