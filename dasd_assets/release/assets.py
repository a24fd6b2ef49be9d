"""Release: the distilled model and its training sets, as folders for the Hugging Face hub."""

import dagster as dg

from dasd_assets.declaring.declare import declared
from dasd_assets.evaluation.assets import CHECKPOINT_ASSETS
from dasd_assets.profile import Profile
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.release.choice import candidates
from dasd_assets.release.publish import release_data, release_model
from resources.lake.lake import Lake

GROUP = "release"


def build(profile: Profile) -> list[dg.AssetsDefinition]:
    """Assets of the box for one profile; none where there is no teacher."""
    if profile.no_release:
        return []
    checkpoints = checkpoints_of(profile)

    def all_of(asset: str | list[str]) -> dg.AssetDep:
        return dg.AssetDep(dg.AssetKey(asset), partition_mapping=dg.AllPartitionMapping())

    @dg.asset(
        deps=[
            *(
                CHECKPOINT_ASSETS[each]
                for each in candidates(profile.release.checkpoint, checkpoints)
            ),
            *(all_of(["evaluation", checkpoint]) for checkpoint in checkpoints),
        ],
        **declared(
            GROUP,
            profile.compute.data,
            "2",
            profile,
            kinds={"huggingface"},
            stored="releases/model",
        ),
    )
    def model_release(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """The distilled model as a folder: weights, tokenizer, card, profile, lineage, checksums.

        `transformers`, `vllm serve` and the hub take it as it is. A model without evaluation, with
        a failed check, or trained on evaluation questions is refused, and so is the last stage's
        where an earlier checkpoint is better (`release.checkpoint` says which one is released).

        ```text
        version = sha256(SHA256SUMS): the same content is the same release
        ```
        """
        return release_model(context, lake, profile)

    @dg.asset(
        deps=[
            all_of("teacher_responses"),
            all_of("filtered_responses"),
            all_of("sentence_provenance"),
            all_of("divergence_sample"),
            *([] if profile.no_mixed_policy else ["mixed_policy_sample"]),
        ],
        **declared(
            GROUP,
            profile.compute.data,
            "2",
            profile,
            kinds={"huggingface", "parquet"},
            stored="releases/dataset",
        ),
    )
    def dataset_release(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        """The training sets of the three stages as a folder that `datasets.load_dataset` reads.

        With the teacher's tokens and logprobs, and the provenance of each sentence, as companions.

        ```text
        version = sha256(SHA256SUMS): the same rows are the same release
        ```
        """
        return release_data(context, lake, profile)

    return [model_release, dataset_release]
