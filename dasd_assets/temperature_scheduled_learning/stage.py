"""One training stage as an asset sees it: a keyed folder, a launch, a published checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg

from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import place
from dasd_assets.declaring.pages import kept_pictures, page_link
from dasd_assets.profile import settings_version
from dasd_assets.temperature_scheduled_learning.curves import stage_curves
from formats.format_settings import AUTO, FormatSettings
from formats.pages import markdown_table
from resources.compute.training_launcher import TrainingLauncher
from resources.engines.model_folder import inspect_model
from resources.lake.examination import set_aside_damaged
from resources.lake.lake import Lake
from training.settings import Training

PROGRAM_VERSION = "3"
"""Of what `training.sft` makes of the same settings and rows."""


def train_stage(
    context: dg.AssetExecutionContext,
    lake: Lake,
    trainer: TrainingLauncher,
    *,
    checkpoint: str,
    start: Path,
    expected: Path,
    sample: Path,
    settings: Training,
    system_prompt: str,
    mask_student_prefix: bool = False,
    format: FormatSettings = AUTO,
    counted_by: Path | None = None,
) -> dg.MaterializeResult:
    """Train one stage and publish its checkpoint.

    The folder's name is the hash of everything that shapes the weights (starting model, rows,
    settings), so that a repeated run finds a finished checkpoint instead of training again, and a
    run after a kill the restart points of its own settings and rows, never of others.

    Args:
        start: the model that is trained further.
        format: how it writes.
        expected: the base student; a start of another architecture or with another tokenizer is
            refused before training.
        counted_by: the model whose tokenizer counted the sample's tokens; unset: the start.
    """
    with sample.open("rb") as file:
        rows = hashlib.file_digest(file, "sha256").hexdigest()
    key = settings_version(
        inspect_model(str(start)).content_hash, rows,
        settings.shaping(), system_prompt, mask_student_prefix, PROGRAM_VERSION,
        *([format] if format != AUTO else []),
    )  # fmt: skip
    name = f"checkpoints/{checkpoint}/{key}"
    if problem := set_aside_damaged(lake, name):
        context.log.warning(f"{name} {problem}: it is put aside, and trained again")
    folder = lake.checkpoint_folder(checkpoint, key)
    result = trainer.run(
        context,
        config={
            **settings.model_dump(mode="json"),
            "model_path": str(start),
            "samples": [str(sample)],
            "system_prompt": system_prompt,
            "mask_student_prefix": mask_student_prefix,
            "format": format.model_dump(mode="json"),
            "expected_model_path": str(expected),
            "counted_by": str(counted_by) if counted_by else None,
        },
        output_dir=folder,
    )
    lake.publish_checkpoint(checkpoint, key)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(inspect_model(str(folder)).content_hash[:16]),
        metadata={
            "path": place(lake, folder),
            "batch_certificate": page_link(f"{name}/certificate.html"),
            "certified": dg.MetadataValue.md(certificate_table(result.certificate)),
            **kept_pictures(
                lake, f"checkpoints/{checkpoint}", {"curves": stage_curves(result.log)}
            ),
            **took(n_tokens=result.certificate["tokens"]),
            **result.metadata,
        },
    )


def certificate_table(certificate: dict[str, Any]) -> str:
    """What the batch certificate found, as a table for the asset's page."""
    columns = ["check", "found", "allowed"]
    rows = [(check["name"], check["found"], check["allowed"]) for check in certificate["checks"]]
    warnings = [f"\nWarning: {text}" for text in certificate["warnings"]]
    return "\n".join([markdown_table(columns, rows), *warnings])
