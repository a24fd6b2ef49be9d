"""Bad data does not go on: a blocking check stops all below, unless the profile says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.checked_lake import CELL, Spoil, good_rows, small_profile, spoilt

import checks
from dasd_assets.partitions import responses
from dasd_assets.profile.check_settings import Checks
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow


def positive(rows: dict[str, Any]) -> None:
    rows["student_scores"][0]["logprobs"] = [-0.1, 0.7, -0.1]


def uniform(rows: dict[str, Any]) -> None:
    for row in rows["student_scores"]:
        row["logprobs"] = [-20.0, -20.0, -20.0]


def fine(rows: dict[str, Any]) -> None:
    assert rows == good_rows()


@pytest.mark.parametrize(
    ("spoil", "settings", "goes_on"),
    [
        (fine, {}, True),
        (positive, {}, False),
        (positive, {"logprobs_not_positive": {"severity": "warn"}}, True),
        (positive, {"logprobs_not_positive": {"max": 1.0}}, True),
        (uniform, {}, True),
        (uniform, {"mean_logprob": {"severity": "error"}}, True),
    ],
    ids=["good", "blocking", "only a warning", "allowed", "not blocking", "an error, not blocking"],
)
def test_what_goes_on(
    tmp_path: Path, spoil: Spoil, settings: dict[str, Any], goes_on: bool
) -> None:
    profile = small_profile().model_copy(
        update={"checks": Checks.model_validate({"student_scores": settings})}
    )
    lake = Lake(root=str(tmp_path / "lake"))
    grid = responses(profile)
    key = dg.AssetKey("student_scores")
    group = next(g for g in checks.build(profile) if next(iter(g.check_specs)).asset_key == key)
    reached = []

    @dg.asset(partitions_def=grid)
    def student_scores(lake: Lake) -> None:
        spoilt(lake, spoil)

    @dg.asset(partitions_def=grid, deps=[student_scores])
    def sentence_provenance() -> None:
        reached.append(True)

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["s"])
        result = dg.materialize(
            [student_scores, sentence_provenance, group],
            instance=instance,
            resources={"lake": lake},
            partition_key=dg.MultiPartitionKey(CELL),
            raise_on_error=False,
        )
    assert bool(reached) == goes_on
    assert result.success == goes_on
    wrong = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert len(wrong) == (spoil is not fine and settings.get("logprobs_not_positive") != {"max": 1})
