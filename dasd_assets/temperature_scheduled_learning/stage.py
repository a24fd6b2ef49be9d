"""One training stage as an asset sees it: a keyed folder, a launch, a published checkpoint."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from dasd_assets.declaring.cost import took
from dasd_assets.declaring.declare import place
from dasd_assets.declaring.pages import kept_pictures, page_link
from dasd_assets.profile import settings_version
from dasd_assets.reporting.code_version import code_version
from dasd_assets.temperature_scheduled_learning.curves import stage_curves
from dasd_assets.temperature_scheduled_learning.training_set import SETS, certificate_table
from formats.checkpoint_folder import TENSORBOARD
from formats.format_settings import AUTO, FormatSettings
from resources.compute.training_launcher import TrainingLauncher
from resources.engines.model_folder import inspect_model
from resources.lake.examination import set_aside_damaged
from resources.lake.lake import Lake
from training.settings import Training
from training.training_set import MadeOf, describe_whole

PROGRAM_VERSION = "3"
"""Of what `training.sft` makes of the same settings and training set."""


def train_stage(
    context: dg.AssetExecutionContext,
    lake: Lake,
    trainer: TrainingLauncher,
    *,
    checkpoint: str,
    start: Path,
    expected: Path,
    settings: Training,
    format: FormatSettings = AUTO,
) -> dg.MaterializeResult:
    """Train one stage on its current training set, and publish its checkpoint.

    The folder's name is the hash of everything that shapes the weights (starting model, rows,
    settings), so that a repeated run finds a finished checkpoint instead of training again, and a
    run after a kill the restart points of its own settings and rows, never of others.

    Args:
        start: the model that is trained further.
        format: how it writes.
        expected: the base student; a start of another architecture or with another tokenizer is
            refused before training.
    """
    training_set = lake.current_folder(f"{SETS}/{checkpoint}", whole=False)
    made_of = describe_whole(training_set).made_of
    key = checkpoint_key(inspect_model(str(start)).content_hash, made_of, settings, format)
    name = f"checkpoints/{checkpoint}/{key}"
    if problem := set_aside_damaged(lake, name):
        context.log.warning(f"{name} {problem}: it is put aside, and trained again")
    folder = lake.checkpoint_folder(checkpoint, key)
    result = trainer.run(
        context,
        config={
            **settings.model_dump(mode="json"),
            "model_path": str(start),
            "training_set": str(training_set),
            "format": format.model_dump(mode="json"),
            "expected_model_path": str(expected),
            "tags": {
                "profile": trainer.profile, "stage": checkpoint, "checkpoint_key": key,
                "git_commit": code_version().short,
            },
        },
        output_dir=folder,
    )  # fmt: skip
    lake.publish_checkpoint(checkpoint, key)
    events = folder / TENSORBOARD  # a checkpoint from before there were any has none
    return dg.MaterializeResult(
        data_version=dg.DataVersion(inspect_model(str(folder)).content_hash[:16]),
        metadata={
            "path": place(lake, folder),
            **({"tensorboard": place(lake, events)} if events.is_dir() else {}),
            "batch_certificate": page_link(f"{name}/certificate.html"),
            "certified": dg.MetadataValue.md(certificate_table(result.certificate)),
            **kept_pictures(
                lake, f"checkpoints/{checkpoint}", {"curves": stage_curves(result.log)}
            ),
            **took(n_tokens=result.certificate["tokens"]),
            **result.metadata,
        },
    )


def checkpoint_key(
    start: str, made_of: MadeOf, settings: Training, format: FormatSettings = AUTO
) -> str:
    """The name of a checkpoint's folder: the hash of all that shapes its weights.

    Args:
        start: hash of the model that is trained further.
        made_of: the training set.
    """
    return settings_version(
        start, *(file.sha256 for file in made_of.sample_files), settings.shaping(),
        made_of.system_prompt, made_of.mask_student_prefix, PROGRAM_VERSION,
        # As before there were others of both.
        *([made_of.version] if made_of.version != "1" else []),
        *([format] if format != AUTO else []),
    )  # fmt: skip
