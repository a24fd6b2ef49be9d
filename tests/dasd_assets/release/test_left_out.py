"""A shard that was taken out: nothing is released that may have been made of it before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.small_lake import filled, make_small_lake

from dasd_assets.declaring.out_of_date import Staleness
from dasd_assets.profile import Profile, load_profile
from dasd_assets.release.facts import Facts, gather
from dasd_assets.release.folder import ReleaseError
from dasd_assets.release.gate import leaves_shards_out, left_out_shards, require_as_written
from dasd_assets.release.history import require_up_to_date
from dasd_assets.release.lineage import CheckResults
from dasd_assets.reporting.code_version import CodeVersion
from resources.lake.lake import Lake
from resources.lake.manifests import mark

PROFILE = load_profile("tiny")
temperatures = dg.StaticPartitionsDefinition(["low", "high"])


def pipeline(excluded: str = "") -> list[dg.AssetsDefinition]:
    """The way from the samples to a checkpoint, as the profile that excludes a shard has it."""

    @dg.asset(partitions_def=temperatures, code_version=excluded)
    def divergence_sample() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(f"without {excluded}"))

    only = dg.SpecificPartitionsPartitionMapping(["low"])

    @dg.asset(deps=[dg.AssetDep(divergence_sample, partition_mapping=only)])
    def low_training_set() -> None: ...

    @dg.asset(deps=[low_training_set])
    def low_temperature_checkpoint() -> None: ...

    @dg.asset(deps=[low_temperature_checkpoint])
    def later() -> None: ...

    return [divergence_sample, low_training_set, low_temperature_checkpoint, later]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def make(instance: dg.DagsterInstance, *names: str, excluded: str = "") -> None:
    for name in names:
        for partition in ("low", "high") if name == "divergence_sample" else (None,):
            dg.materialize(
                pipeline(excluded), selection=[name], instance=instance, partition_key=partition
            )


def refused(instance: dg.DagsterInstance, excluded: str = "") -> str:
    graph = dg.Definitions(pipeline(excluded)).resolve_asset_graph()
    released = [dg.AssetKey("low_temperature_checkpoint")]
    try:
        require_up_to_date(graph, Staleness(graph, instance, Lake(root="/nowhere")), released)
    except ReleaseError as error:
        return str(error)
    return ""


def test_what_was_made_of_samples_before_is_refused_until_all_of_it_is_made_anew(
    instance: dg.DagsterInstance,
) -> None:
    made = ("divergence_sample", "low_training_set", "low_temperature_checkpoint")
    make(instance, *made)
    assert refused(instance) == "", "what comes after the checkpoint is not asked for"
    assert "divergence_sample [high] is stale; divergence_sample [low] is stale" in refused(
        instance, "drop-02"
    )
    make(instance, "divergence_sample", excluded="drop-02")
    message = refused(instance, "drop-02")
    assert ": low_training_set is stale. `dasd run` makes" in message, "not the checkpoint itself"
    make(instance, "low_training_set", excluded="drop-02")
    assert ": low_temperature_checkpoint is stale. `dasd run`" in refused(instance, "drop-02")
    make(instance, "low_temperature_checkpoint", excluded="drop-02")
    assert refused(instance, "drop-02") == ""


def excluding(*shards: str) -> Profile:
    sampling = PROFILE.divergence_sampling.model_copy(update={"exclude_shards": [*shards]})
    return PROFILE.model_copy(update={"divergence_sampling": sampling})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "lake"))
    make_small_lake(lake)
    return lake


def test_what_is_up_to_date_is_asked_once_a_shard_was_taken_out(lake: Lake) -> None:
    assert not leaves_shards_out(lake, PROFILE)
    assert leaves_shards_out(lake, excluding("drop-02"))
    lake.retire("questions", {"question_shard": "drop-02"})
    assert leaves_shards_out(lake, PROFILE)


def test_a_temperature_that_the_profile_no_longer_names_refuses_nothing(lake: Lake) -> None:
    """Nothing draws that sample anew: it would refuse for ever."""
    low, warm = {"temperature": "low"}, {"temperature": "warm"}
    sample = lake.read("divergence_sample", low)
    lake.write("divergence_sample", sample, warm)
    (shard,) = set(sample["question_shard"].to_pylist())
    lake.write("divergence_sample", sample.slice(0, 0), low)
    assert left_out_shards(lake, excluding(shard)) == {shard}
    mark(lake, lake.name("divergence_sample", warm), "has samples of a retired shard")
    require_as_written(lake, PROFILE, with_mixed=True)


def test_the_cards_count_nothing_of_a_shard_that_was_left_out(lake: Lake) -> None:
    lake.write(
        "questions", filled("questions", {"question_id": "q9", "source": "elsewhere"}),
        {"question_shard": "drop-09"},
    )  # fmt: skip
    cell = {"temperature": "low", "question_shard": "drop-09"}
    lake.write("teacher_responses", filled("teacher_responses", {"response_id": "r9"}), cell)

    def facts(*left_out: str) -> Facts:
        checks = CheckResults(0, Counter())
        return gather(lake, PROFILE, CodeVersion("0", "c", False), [], checks, 0, 3, left_out)

    whole, without = facts(), facts("drop-09")
    assert [*without.shards, "drop-09"] == whole.shards
    assert without.question_sources | {"elsewhere": 1} == whole.question_sources
    counted = [
        {(step.name, step.temperature): step.n for step in one.funnel} for one in (whole, without)
    ]
    fewer = {step: n - counted[1][step] for step, n in counted[0].items() if n != counted[1][step]}
    assert fewer == {("questions", None): 1, ("teacher responses", "low"): 1}


@pytest.mark.parametrize("with_mixed", [True, False])
def test_the_sample_of_stage_3_is_looked_at_where_it_is_released(
    lake: Lake, with_mixed: bool
) -> None:
    mark(lake, lake.name("mixed_policy_sample"), "may have samples of the retired drop-09")
    if not with_mixed:
        require_as_written(lake, PROFILE, with_mixed=False)
        return
    with pytest.raises(ReleaseError, match=r"^mixed_policy_sample: may have samples .* `dasd run`"):
        require_as_written(lake, PROFILE, with_mixed=True)
