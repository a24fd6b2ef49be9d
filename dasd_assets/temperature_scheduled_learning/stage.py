"""One training stage as an asset sees it: a keyed folder, a launch, a published checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import dagster as dg

from dasd_assets.profile import Training, settings_version
from resources.engines.model_folder import inspect_model
from resources.lake import Lake
from resources.training import TrainingLauncher


def train_stage(
    context: dg.AssetExecutionContext,
    lake: Lake,
    trainer: TrainingLauncher,
    *,
    checkpoint: str,
    start: Path,
    sample: Path,
    settings: Training,
    system_prompt: str,
    mask_student_prefix: bool = False,
) -> dg.MaterializeResult:
    """Train one stage and publish its checkpoint.

    The folder's name is the hash of everything that shapes the weights (starting model, rows,
    settings), so that a repeated run finds a finished checkpoint instead of training again.
    """
    with sample.open("rb") as file:
        rows = hashlib.file_digest(file, "sha256").hexdigest()
    key = settings_version(
        inspect_model(str(start)).content_hash, rows, settings, system_prompt, mask_student_prefix
    )
    folder = lake.checkpoint_folder(checkpoint, key)
    result = trainer.run(
        context,
        config={
            **settings.model_dump(mode="json"),
            "model_path": str(start),
            "samples": [str(sample)],
            "system_prompt": system_prompt,
            "mask_student_prefix": mask_student_prefix,
        },
        output_dir=folder,
    )
    lake.publish_checkpoint(checkpoint, key)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(inspect_model(str(folder)).content_hash[:16]),
        metadata={"path": dg.MetadataValue.path(str(folder)), **result.metadata},
    )
