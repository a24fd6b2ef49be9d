"""What Dagster knows of the data that goes into a release: versions, and checks that failed."""

from __future__ import annotations

from collections import Counter

import dagster as dg

from dasd_assets.declaring.check_outcomes import check_outcomes
from dasd_assets.declaring.materializations import DATA_VERSION_TAG, latest_materializations
from dasd_assets.profile import Profile
from dasd_assets.release.folder import ReleaseError
from dasd_assets.release.lineage import CheckResults, Source

CODE_VERSION_TAG = "dagster/code_version"
CHECKPOINT = dg.AssetKey("dasd_checkpoint")
CHECKPOINT_VERSION_TAG = f"dagster/input_data_version/{CHECKPOINT.to_user_string()}"
EVALUATION = dg.AssetKey(["evaluation", "dasd"])
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
    for outcome in check_outcomes(instance, profile, {source.asset for source in found}):
        if outcome.passed:
            n_passed += 1
        elif outcome.severity == "error":
            where = f" [{outcome.partition}]" if outcome.partition else ""
            errors.append(f"{outcome.asset}: {outcome.check}{where}")
        else:
            warnings[f"{outcome.asset}: {outcome.check}"] += 1
    if errors:
        more = f", and {len(errors) - MAX_EXAMPLES} more" if len(errors) > MAX_EXAMPLES else ""
        raise ReleaseError(
            f"checks failed on data that would be released: "
            f"{'; '.join(errors[:MAX_EXAMPLES])}{more}. Mend the data and materialize it again, "
            "or change the limits in the profile's section checks and run the checks again."
        )
    return CheckResults(n_passed, warnings)


def require_current_evaluation(instance: dg.DagsterInstance, data_version: str) -> None:
    """Refuse a model whose evaluation is that of an earlier checkpoint.

    Args:
        data_version: of the checkpoint that would be released.

    Raises:
        ReleaseError: naming the evaluation sets.
    """
    stale = [
        event.partition or ""
        for event, *_ in latest_materializations(instance)
        if event.asset_key == EVALUATION
        and (event.tags or {}).get(CHECKPOINT_VERSION_TAG, data_version) != data_version
    ]
    if stale:
        raise ReleaseError(
            f"{EVALUATION.to_user_string()} [{', '.join(stale)}] is of an earlier dasd_checkpoint: "
            "its numbers are not those of this model. Materialize it again."
        )
