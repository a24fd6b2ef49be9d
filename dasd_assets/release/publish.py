"""The two releases as assets see them: what must hold, then gather, write, publish."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

import dagster as dg
import yaml

from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import place
from dasd_assets.declaring.out_of_date import Staleness
from dasd_assets.evaluation.assets import CHECKPOINT_ASSETS
from dasd_assets.profile import Profile
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.release.cards import CARD, dataset_card, model_card
from dasd_assets.release.choice import STAGES, released_row
from dasd_assets.release.data_files import DataFiles, write_data_files
from dasd_assets.release.facts import Facts, gather
from dasd_assets.release.folder import Released, ReleaseError, publish_release, release_link
from dasd_assets.release.gate import (
    leaves_shards_out,
    left_out_shards,
    require_as_written,
    require_clean,
    require_sampled,
)
from dasd_assets.release.history import (
    SAMPLE,
    ancestors,
    require_checks_passed,
    require_current_evaluations,
    require_up_to_date,
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
    """Release the checkpoint that `release.checkpoint` says.

    Raises:
        ReleaseError: it is not evaluated, an earlier one is better, a check failed, evaluation
            questions were trained on, or a shard that was left out since.
    """
    rows = stage_rows(lake, profile)
    row = released_row(rows, profile.release.checkpoint)
    checkpoint = lake.current_checkpoint(row.checkpoint)
    model = inspect_model(str(checkpoint))
    version = model.content_hash[:16]
    require_current_evaluations(context.instance, profile, row.checkpoint, version)
    n_stages = STAGES.index(row.checkpoint) + 1
    released = [dg.AssetKey(CHECKPOINT_ASSETS[row.checkpoint])]
    graph = context.repository_def.asset_graph
    evaluations = [dg.AssetKey(["evaluation", one]) for one in checkpoints_of(profile)]
    # The evaluation sets come with the base student's evaluation, which has no checkpoint above it.
    made_of = {*ancestors(graph, released[0]), *ancestors(graph, evaluations[0]), *evaluations}
    facts = _facts(context, lake, profile, made_of, released, n_stages)

    def write(folder: Path) -> None:
        write_model(checkpoint, folder, profile.release.max_weight_shard_mib * MIB)
        _write_common(folder, facts, model_card(facts, rows, row, model.max_position_embeddings))

    folder = publish_release(releases(lake), MODEL, write)
    return _result(lake, MODEL, folder, facts, checkpoint=row.checkpoint)


def release_data(
    context: dg.AssetExecutionContext, lake: Lake, profile: Profile
) -> dg.MaterializeResult:
    """Release the training sets of all stages.

    Raises:
        ReleaseError: a check failed, there are evaluation questions among them, or rows of a shard
            that was left out since, or one is empty.
    """
    mixed = [] if profile.no_mixed_policy else [dg.AssetKey("mixed_policy_sample")]
    graph = context.repository_def.asset_graph
    made_of = ancestors(graph, context.asset_key) - {context.asset_key}
    facts = _facts(context, lake, profile, made_of, [SAMPLE, *mixed])
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

    folder = publish_release(releases(lake), DATASET, write)
    counts = {f"rows/{name}": found.n_rows for name, found in files.items()}
    return _result(lake, DATASET, folder, facts, **counts)


def _facts(
    context: dg.AssetExecutionContext,
    lake: Lake,
    profile: Profile,
    made_of: AbstractSet[dg.AssetKey],
    released: list[dg.AssetKey],
    n_stages: int = len(STAGES),
) -> Facts:
    instance = context.instance
    is_mixed = not profile.no_mixed_policy and n_stages == len(STAGES)
    require_as_written(lake, profile, with_mixed=is_mixed)
    if leaves_shards_out(lake, profile):
        graph = context.repository_def.asset_graph
        require_up_to_date(graph, Staleness(graph, instance, lake), released)
    left_out = left_out_shards(lake, profile)
    require_sampled(lake, left_out)
    found = sources(instance, profile, made_of, left_out)
    checks = require_checks_passed(instance, profile, found)
    n_clean = require_clean(lake, profile)
    return gather(lake, profile, code_version(), found, checks, n_clean, n_stages, left_out)


def profile_text(profile: Profile) -> str:
    """The profile, every default written out, but for what belongs to one's own cluster."""
    own = {"compute": {"training": {"slurm", "local_folder"}}}
    settings = profile.model_dump(mode="json", exclude=own)
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _write_common(folder: Path, facts: Facts, card: str) -> None:
    texts = {
        CARD: card,
        "LICENSE": facts.licence,
        PROFILE: profile_text(facts.profile),
        LINEAGE: lineage_file(facts.sources, facts.code),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _result(
    lake: Lake, name: str, released: Released, facts: Facts, **told: int | str
) -> dg.MaterializeResult:
    folder = released.folder.relative_to(lake.root).as_posix()
    set_aside_damaged(lake, folder)  # in a bucket; here it has been replaced
    lake.publish_folder(folder)
    card = (released.folder / CARD).read_text(encoding="utf-8")
    if facts.checks.warnings:
        told["warnings"] = ", ".join(f"{name} ({n})" for name, n in facts.checks.warnings.items())
    return dg.MaterializeResult(
        data_version=dg.DataVersion(released.version),
        metadata={
            "path": place(lake, release_link(releases(lake), name)),
            "files": released.n_files,
            "bytes": released.n_bytes,
            "card": dg.MetadataValue.md(card.split("\n---\n", 1)[1]),
            **told,
            **took(),
        },
    )
