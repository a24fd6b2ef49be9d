"""The two releases as assets see them: what must hold, then gather, write, publish."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import yaml

from dasd_assets.declaring.cost import took
from dasd_assets.evaluation.assets import CHECKPOINT_ASSETS
from dasd_assets.profile import Profile
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.release.cards import CARD, dataset_card, model_card
from dasd_assets.release.data_files import DataFiles, write_data_files
from dasd_assets.release.facts import Facts, gather
from dasd_assets.release.folder import Released, ReleaseError, publish_release, release_link
from dasd_assets.release.gate import require_clean, require_evaluated, require_sampled
from dasd_assets.release.history import (
    NOT_A_SOURCE,
    require_checks_passed,
    require_current_evaluation,
    sources,
)
from dasd_assets.release.lineage import LINEAGE, lineage_file
from dasd_assets.release.training_sets import training_sets
from dasd_assets.release.weights import write_model
from dasd_assets.reporting.code_version import code_version
from dasd_assets.reporting.collect import stage_rows
from resources.engines.model_folder import inspect_model
from resources.lake.examination import set_aside_damaged
from resources.lake.lake import Lake

MODEL, DATASET = "model", "dataset"
PROFILE = "profile.yaml"
MIB = 1024**2


def releases(lake: Lake) -> Path:
    """Folder of all releases of a lake."""
    return Path(lake.root, "releases")


def release_model(
    context: dg.AssetExecutionContext, lake: Lake, profile: Profile
) -> dg.MaterializeResult:
    """Release the current checkpoint of the last stage.

    Raises:
        ReleaseError: it is not evaluated, a check failed, or evaluation questions were trained on.
    """
    rows = stage_rows(lake, profile)
    require_evaluated(rows)
    released = checkpoints_of(profile)[-1]
    checkpoint = lake.current_checkpoint(released)
    model = inspect_model(str(checkpoint))
    require_current_evaluation(context.instance, released, model.content_hash[:16])
    facts = _facts(context.instance, lake, profile, NOT_A_SOURCE)

    def write(folder: Path) -> None:
        write_model(checkpoint, folder, profile.release.max_weight_shard_mib * MIB)
        _write_common(folder, facts, model_card(facts, rows, model.max_position_embeddings))

    return _result(lake, MODEL, publish_release(releases(lake), MODEL, write))


def release_data(
    context: dg.AssetExecutionContext, lake: Lake, profile: Profile
) -> dg.MaterializeResult:
    """Release the training sets of all stages.

    Raises:
        ReleaseError: a check failed, there are evaluation questions among them, or one is empty.
    """
    # No rollouts are of the last checkpoint; without stage 3 there are none of any.
    last = checkpoints_of(profile)[1 if profile.no_mixed_policy else -1 :]
    trained = {CHECKPOINT_ASSETS[checkpoint] for checkpoint in last}
    facts = _facts(context.instance, lake, profile, NOT_A_SOURCE | trained | {"evaluation"})
    sets = training_sets(lake, profile)
    files: dict[str, DataFiles] = {}

    def write(folder: Path) -> None:
        for one in sets:
            files[one.name] = write_data_files(
                folder, one.name, one.schema, one.rows(), profile.release.max_data_shard_mib * MIB
            )
            if not files[one.name].n_rows:
                raise ReleaseError(f"{one.name} has no rows: `datasets` loads no empty set")
        _write_common(folder, facts, dataset_card(facts, sets, files))

    released = publish_release(releases(lake), DATASET, write)
    counts = {f"rows/{name}": found.n_rows for name, found in files.items()}
    return _result(lake, DATASET, released, **counts)


def _facts(
    instance: dg.DagsterInstance, lake: Lake, profile: Profile, without: frozenset[str]
) -> Facts:
    require_sampled(lake)
    found = sources(instance, without)
    checks = require_checks_passed(instance, profile, found)
    n_clean = require_clean(lake, profile)
    return gather(lake, profile, code_version(), found, checks, n_clean)


def _write_common(folder: Path, facts: Facts, card: str) -> None:
    profile = yaml.safe_dump(
        facts.profile.model_dump(mode="json"), sort_keys=False, allow_unicode=True
    )
    texts = {
        CARD: card,
        "LICENSE": facts.licence,
        PROFILE: profile,
        LINEAGE: lineage_file(facts.sources, facts.code),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _result(lake: Lake, name: str, released: Released, **counts: int) -> dg.MaterializeResult:
    folder = released.folder.relative_to(lake.root).as_posix()
    set_aside_damaged(lake, folder)  # in a bucket; here it has been replaced
    lake.publish_folder(folder)
    card = (released.folder / CARD).read_text(encoding="utf-8")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(released.version),
        metadata={
            "path": dg.MetadataValue.path(str(release_link(releases(lake), name))),
            "files": released.n_files,
            "bytes": released.n_bytes,
            "card": dg.MetadataValue.md(card.split("\n---\n", 1)[1]),
            **counts,
            **took(),
        },
    )
