"""What Dagster knows of the data that goes into a release: versions, and checks that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from dasd_assets.declaring.materializations import DATA_VERSION_TAG, latest_materializations
from dasd_assets.evaluation.assets import CHECKPOINT_ASSETS
from dasd_assets.profile import Profile
from dasd_assets.profile.data_contracts import CONTRACTS
from dasd_assets.release.folder import ReleaseError
from dasd_assets.release.lineage import CheckResults, Source

CODE_VERSION_TAG = "dagster/code_version"
INPUT_VERSION_TAG = "dagster/input_data_version/"
NOT_A_SOURCE = frozenset(
    {
        "stage_report", "evaluation_teacher_scores", "evaluation_provenance", "student_model",
        "student_checkpoint", "model_release", "dataset_release",
    }
)  # fmt: skip
"""What looks at data or holds it, and other students: a release has nothing of them."""
MAX_EXAMPLES = 5


def sources(instance: dg.DagsterInstance, without: frozenset[str] = NOT_A_SOURCE) -> list[Source]:
    """The newest version of every partition that has been made.

    Args:
        without: first parts of asset keys that are left out.
    """
    found = []
    for event, *_ in latest_materializations(instance):
        if event.asset_key.path[0] not in without:
            tags = event.tags or {}
            found.append(
                Source(
                    event.asset_key.to_user_string(),
                    event.partition or "",
                    tags.get(DATA_VERSION_TAG, ""),
                    tags.get(CODE_VERSION_TAG, ""),
                )
            )
    return sorted(found)


def require_checks_passed(
    instance: dg.DagsterInstance, profile: Profile, found: list[Source]
) -> CheckResults:
    """Refuse a release while a check of its sources fails with severity `error`.

    Raises:
        ReleaseError: naming the checks and partitions.
    """
    errors = []
    n_passed = 0
    warnings: Counter[str] = Counter()
    for name, check, partition, passed in _outcomes(instance, {source.asset for source in found}):
        if passed:
            n_passed += 1
        elif profile.checks.of(name.split("/")[0])[check].severity == "error":
            errors.append(f"{name}: {check}" + (f" [{partition}]" if partition else ""))
        else:
            warnings[f"{name}: {check}"] += 1
    if errors:
        more = f", and {len(errors) - MAX_EXAMPLES} more" if len(errors) > MAX_EXAMPLES else ""
        raise ReleaseError(
            f"checks failed on data that would be released: "
            f"{'; '.join(errors[:MAX_EXAMPLES])}{more}. Mend the data and materialize it again, "
            "or change the limits in the profile's section checks and run the checks again."
        )
    return CheckResults(n_passed, warnings)


def require_current_evaluation(
    instance: dg.DagsterInstance, checkpoint: str, data_version: str
) -> None:
    """Refuse a model whose evaluation is that of an earlier checkpoint.

    Args:
        checkpoint: which one would be released.
        data_version: of that checkpoint.

    Raises:
        ReleaseError: naming the evaluation sets.
    """
    asset = CHECKPOINT_ASSETS[checkpoint]
    evaluation = dg.AssetKey(["evaluation", checkpoint])
    stale = [
        event.partition or ""
        for event, *_ in latest_materializations(instance)
        if event.asset_key == evaluation
        and (event.tags or {}).get(INPUT_VERSION_TAG + asset, data_version) != data_version
    ]
    if stale:
        raise ReleaseError(
            f"{evaluation.to_user_string()} [{', '.join(stale)}] is of an earlier {asset}: "
            "its numbers are not those of this model. Materialize it again."
        )


def _outcomes(
    instance: dg.DagsterInstance, assets: set[str]
) -> Iterator[tuple[str, str, str | None, bool]]:
    """Asset, check, partition and whether it passed, of the newest execution of each."""
    keys = [
        dg.AssetCheckKey(dg.AssetKey.from_user_string(name), contract.name)
        for name in sorted(assets)
        for contract in CONTRACTS.get(name.split("/")[0], ())
    ]
    ended = {"SUCCEEDED": True, "FAILED": False}
    for info in instance.event_log_storage.get_asset_check_partition_info(keys):
        status = info.latest_execution_status.value
        if status in ended:
            name = info.check_key.asset_key.to_user_string()
            passed = ended[status]
            yield name, info.check_key.name, info.partition_key, passed
