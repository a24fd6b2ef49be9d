"""What is not released: without evaluation, with failed checks, with evaluation questions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.release_lake import PROFILE, failure, put_benchmark, put_evaluation, release
from support.small_lake import filled
from support.training_rows import STUDENT

from dasd_assets.partitions import QUESTION_SHARD, question_shards
from dasd_assets.profile import Profile
from dasd_assets.profile.check_settings import Checks
from resources.engines.model_folder import inspect_model
from resources.lake.lake import Lake
from resources.lake.manifests import mark

pytestmark = pytest.mark.slow


def nothing_released(lake: Lake) -> bool:
    root = Path(lake.root, "releases")
    return not root.exists() or not list(root.iterdir())


@pytest.mark.parametrize("checkpoint", ["dasd", "base"])
def test_a_model_without_its_evaluation_is_refused(lake: Lake, checkpoint: str) -> None:
    lake.path("evaluation", {"checkpoint": checkpoint, "benchmark": "code"}).unlink()
    result = release(lake, "model_release")
    assert not result.success
    assert f"evaluation/{checkpoint} [code] not in the lake. Materialize" in failure(result)
    assert nothing_released(lake)


def test_a_model_that_is_not_trained_is_refused(lake: Lake) -> None:
    Path(lake.root, "checkpoints", "dasd", "current.json").unlink()
    assert "checkpoints/dasd: not made yet" in failure(release(lake, "model_release"))


def lost_last_stage(lake: Lake, wanted: str) -> Profile:
    """Make the last stage worse than the first, which is a model, and say what is wanted."""
    folder = lake.current_checkpoint("low_temperature")
    shutil.copytree(STUDENT, folder, dirs_exist_ok=True)
    for benchmark in PROFILE.evaluation.benchmarks:
        for checkpoint in ("high_temperature", "dasd"):
            put_evaluation(lake, checkpoint, benchmark, n_correct=1)
    update = {"release": PROFILE.release.model_copy(update={"checkpoint": wanted})}
    return PROFILE.model_copy(update=update)


def test_a_last_stage_that_lost_is_refused(lake: Lake) -> None:
    result = release(lake, "model_release", profile=lost_last_stage(lake, "final"))
    assert "dasd is worse than an earlier checkpoint" in failure(result)
    assert nothing_released(lake)


def test_the_best_stage_is_released_in_its_place(lake: Lake) -> None:
    Path(lake.root, "checkpoints", "dasd", "current.json").unlink()
    result = release(lake, "model_release", profile=lost_last_stage(lake, "best"))
    (made,) = result.asset_materializations_for_node("model_release")
    assert made.metadata["checkpoint"].value == "low_temperature"
    card = Path(lake.root, "releases", "model", "README.md").read_text(encoding="utf-8")
    assert "| stage 1, low temperature (this model) | 50.0" in card
    assert "Sequence Distillation in one stage." in card and "Mixed policy" not in card


@pytest.mark.parametrize("name", ["model_release", "dataset_release"])
def test_evaluation_questions_in_the_training_sets_are_refused(lake: Lake, name: str) -> None:
    put_benchmark(lake, "math", "What is 1 + 1? </script><img src=x onerror=alert(1)> [bold]\x1b")
    put_benchmark(
        lake, "science", "what is 1 + 1? </script><img src=x onerror=alert(1)> [bold][31m"
    )
    message = failure(release(lake, name))
    assert "1 questions of the training sets share 13 words with an evaluation question" in message
    assert "q1: " in message
    assert nothing_released(lake)


@pytest.mark.parametrize("name", ["model_release", "dataset_release"])
def test_made_up_answers_are_refused(lake: Lake, name: str) -> None:
    partition = lake.partitions("teacher_responses")[0]
    lake.write("teacher_responses", filled("teacher_responses", {"engine": "synthetic"}), partition)
    message = failure(release(lake, name))
    assert f"teacher_responses {'/'.join(partition.values())}: answers are made up" in message
    assert nothing_released(lake)


@pytest.mark.parametrize("name", ["model_release", "dataset_release"])
def test_a_sample_that_has_rows_of_a_retired_shard_is_refused(lake: Lake, name: str) -> None:
    """`dasd retire` notes it, and nothing was drawn since."""
    sample = lake.name("divergence_sample", {"temperature": "low"})
    mark(lake, sample, "has samples of the retired question_shard drop-09")
    message = failure(release(lake, name))
    assert "divergence_sample low: has samples of the retired question_shard drop-09." in message
    assert nothing_released(lake)


def test_a_set_without_rows_is_refused(lake: Lake) -> None:
    lake.write("divergence_sample", filled("divergence_sample"), {"temperature": "high"})
    message = failure(release(lake, "dataset_release"))
    assert "stage2_high_temperature has no rows" in message
    assert nothing_released(lake)


def test_a_licence_that_cannot_be_read_leaves_nothing(lake: Lake) -> None:
    settings = PROFILE.release.model_copy(update={"license": "mit", "license_file": "nowhere"})
    profile = PROFILE.model_copy(update={"release": settings})
    result = release(lake, "dataset_release", profile=profile)
    assert "release.license_file nowhere cannot be read" in failure(result)
    assert nothing_released(lake)


def questions(passed: bool, check: str = "none_lost") -> tuple[dg.AssetsDefinition, Any]:
    """A made `questions` shard with the outcome of one of its checks."""

    @dg.asset(name="questions", partitions_def=question_shards, code_version="1")
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("v1"))

    @dg.asset_check(asset=made, name=check, partitions_def=question_shards)
    def outcome() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=passed)

    return made, outcome


def make(instance: dg.DagsterInstance, *definitions: Any, partition: str | None = None) -> None:
    dg.materialize(
        list(definitions), instance=instance, partition_key=partition, raise_on_error=False
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, ["drop-01", "drop-02"])
        yield instance


def test_a_failed_check_of_any_partition_is_refused_until_it_passes(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    make(instance, *questions(False), partition="drop-01")
    make(instance, *questions(True), partition="drop-02")
    message = failure(release(lake, "dataset_release", instance=instance))
    assert "checks failed on data that would be released: questions: none_lost [drop-01]." in (
        message
    )
    assert nothing_released(lake)
    make(instance, *questions(True), partition="drop-01")
    assert release(lake, "dataset_release", instance=instance).success


@pytest.mark.parametrize("is_retired", [True, False], ids=["it was retired", "it is excluded"])
def test_a_shard_of_which_nothing_is_released_does_not_refuse_it(
    lake: Lake, instance: dg.DagsterInstance, is_retired: bool
) -> None:
    """Of a retired shard nothing can be made and checked again: it would refuse for ever."""
    make(instance, *questions(True), partition="drop-01")
    make(instance, *questions(False), partition="drop-02")
    profile = PROFILE
    if is_retired:
        instance.delete_dynamic_partition(QUESTION_SHARD, "drop-02")
    else:
        sampling = PROFILE.divergence_sampling.model_copy(update={"exclude_shards": ["drop-09"]})
        profile = PROFILE.model_copy(update={"divergence_sampling": sampling})
        instance.add_dynamic_partitions(QUESTION_SHARD, ["drop-09"])
        make(instance, *questions(True), partition="drop-02")
        make(instance, *questions(False), partition="drop-09")
        made_up = filled("teacher_responses", {"engine": "synthetic"})
        cell = {"temperature": "low", "question_shard": "drop-09"}
        lake.write("teacher_responses", made_up, cell)
    result = release(lake, "dataset_release", profile=profile, instance=instance)
    assert result.success
    lineage = Path(lake.root, "releases", "dataset", "lineage.json").read_text(encoding="utf-8")
    assert '"drop-01"' in lineage and '"drop-09"' not in lineage
    assert ('"drop-02"' in lineage) != is_retired


def test_an_excluded_shard_that_the_sample_still_has_rows_of_refuses(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    sampling = PROFILE.divergence_sampling.model_copy(update={"exclude_shards": ["drop-01"]})
    profile = PROFILE.model_copy(update={"divergence_sampling": sampling})
    make(instance, *questions(False), partition="drop-01")
    result = release(lake, "dataset_release", profile=profile, instance=instance)
    assert "questions: none_lost [drop-01]" in failure(result)


def test_what_is_made_beside_a_release_is_no_part_of_it(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """It may be there or not when the release is made: the same rows are the same release."""
    make(instance, *questions(True), partition="drop-01")

    @dg.asset
    def mixed_policy_training_set() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("v1"))

    lineages = []
    for besides in ([], [mixed_policy_training_set]):
        make(instance, *besides)
        assert release(lake, "dataset_release", instance=instance).success
        folder = Path(lake.root, "releases", "dataset")
        lineages.append((folder / "lineage.json").read_text(encoding="utf-8"))
    assert lineages[0] == lineages[1]
    assert '"questions"' in lineages[0]


def test_a_warning_is_told_and_makes_no_other_release(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """A check that does not block may have run by now or not: the same data is the same release."""
    make(instance, *questions(True, "few_rejected"), partition="drop-01")
    assert release(lake, "dataset_release", instance=instance).success
    folder = Path(lake.root, "releases", "dataset")
    before = folder.resolve()
    assert '"data_version": "v1"' in (folder / "lineage.json").read_text()
    assert "| `questions` | 1 | v1 |" in (folder / "README.md").read_text()
    make(instance, *questions(False, "few_rejected"), partition="drop-01")
    result = release(lake, "dataset_release", instance=instance)
    (told,) = result.asset_materializations_for_node("dataset_release")
    assert told.metadata["warnings"].value == "questions: few_rejected (1)"
    assert folder.resolve() == before


def test_the_profile_says_what_is_an_error(lake: Lake, instance: dg.DagsterInstance) -> None:
    settings = {"questions": {"few_rejected": {"severity": "error"}}}
    profile = PROFILE.model_copy(update={"checks": Checks.model_validate(settings)})
    make(instance, *questions(False, "few_rejected"), partition="drop-01")
    result = release(lake, "dataset_release", profile=profile, instance=instance)
    assert "questions: few_rejected [drop-01]" in failure(result)


@pytest.mark.parametrize("is_current", [True, False], ids=["of this model", "of an earlier one"])
def test_an_evaluation_of_an_earlier_checkpoint_is_refused(
    lake: Lake, instance: dg.DagsterInstance, is_current: bool
) -> None:
    version = inspect_model(str(lake.current_checkpoint("dasd"))).content_hash[:16]

    @dg.asset
    def dasd_checkpoint() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(version if is_current else "old"))

    @dg.asset(key=["evaluation", "dasd"], deps=[dasd_checkpoint])
    def evaluation() -> None:
        """Answers of that checkpoint."""

    make(instance, dasd_checkpoint, evaluation)
    result = release(lake, "model_release", instance=instance)
    assert result.success == is_current
    if not is_current:
        message = failure(result)
        assert "of an earlier checkpoint: evaluation/dasd of dasd_checkpoint [" in message
        assert nothing_released(lake)
