"""A changed sample is a proposal to train, with what it would take; training takes it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from checks import training_proposals
from checks.training_proposals import APPROVE, proposal
from dasd_assets.dagster_internals import job_of_file
from dasd_assets.declaring.alerts import PROPOSAL
from dasd_assets.profile import load_profile
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

N_TOKENS = dg.EnvVar("TEST_N_TOKENS")
KEY = dg.AssetKey("low_temperature_checkpoint")

temperatures = dg.StaticPartitionsDefinition(["low", "high"])


@dg.asset(partitions_def=temperatures)
def divergence_sample() -> dg.MaterializeResult[None]:
    n_tokens = int(N_TOKENS.get_value() or 0)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(str(n_tokens)),
        metadata={"n_tokens": n_tokens, "dagster/row_count": n_tokens // 10},
    )


@dg.asset(
    deps=[
        dg.AssetDep(
            divergence_sample, partition_mapping=dg.SpecificPartitionsPartitionMapping(["low"])
        )
    ]
)
def low_temperature_checkpoint() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"cost/seconds": 60.0, "cost/gpu_hours": 0.5})


@dg.asset(deps=[low_temperature_checkpoint])
def high_temperature_checkpoint() -> None:
    """Has a check of its own."""


low_check, high_check = training_proposals.build(load_profile("tiny"))
defs = dg.Definitions(
    assets=[divergence_sample, low_temperature_checkpoint, high_temperature_checkpoint],
    asset_checks=[low_check, high_check],
    jobs=[
        dg.define_asset_job("sample", [divergence_sample]),
        dg.define_asset_job("train", dg.AssetSelection.assets(low_temperature_checkpoint)),
        dg.define_asset_job("look", dg.AssetSelection.checks(low_check)),
    ],
    resources={"lake": Lake(root="/nowhere")},  # these assets keep nothing in it
    executor=dg.in_process_executor,
)


class Location:
    """The definitions of this file over an instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def run(self, job: str, partition: str | None = None) -> list[dg.AssetCheckEvaluation]:
        tags = {"dagster/partition": partition} if partition else {}
        job_of_it = job_of_file(Path(__file__), job)
        with dg.execute_job(job_of_it, instance=self._instance, tags=tags) as result:
            assert result.success
            return [
                event.asset_check_evaluation_data
                for event in result.all_events
                if event.event_type_value == "ASSET_CHECK_EVALUATION"
            ]

    def look(self) -> tuple[bool, str | None, dict[str, object]]:
        (seen,) = self.run("look")
        assert seen.check_name == PROPOSAL
        assert seen.severity == dg.AssetCheckSeverity.WARN
        return seen.passed, seen.description, {k: v.value for k, v in seen.metadata.items()}


@pytest.fixture
def location(tmp_path: Path) -> Iterator[Location]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Location(instance)


def test_a_changed_sample_is_proposed_with_what_it_takes_until_it_is_trained_on(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_N_TOKENS", "1000")
    location.run("sample", "low")
    passed, description, told = location.look()
    assert (passed, description) == (False, APPROVE)
    assert told["what_changed"] == "never trained"
    assert "`dasd plan` estimates it" in str(told["would_take"])

    (seen,) = location.run("train")
    assert seen.passed
    assert location.look()[:2] == (True, None)

    monkeypatch.setenv("TEST_N_TOKENS", "1500")
    location.run("sample", "high")
    assert location.look()[0], "the other temperature's sample is none of its business"
    location.run("sample", "low")
    passed, description, told = location.look()
    assert (passed, description) == (False, APPROVE)
    assert told["what_changed"] == "has a new dependency data version: divergence_sample [low]"
    assert told["sample_n_tokens"] == "1000 → 1500"
    assert told["sample_row_count"] == "100 → 150"
    assert (told["would_take_seconds"], told["would_take_gpu_hours"]) == (90.0, 0.75)

    location.run("train")
    assert location.look()[0]


def test_what_was_not_measured_is_not_told() -> None:
    told = proposal([], {"n_tokens": 10}, {"n_tokens": 10}, {})
    assert told == {"what_changed": "nothing", "sample_n_tokens": "10 → 10"}
