"""A training stage as an asset, on the shipped tiny student."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from support.training_rows import STUDENT, row

from dasd_assets.temperature_scheduled_learning.stage import train_stage
from formats.checkpoint_folder import LOG
from resources.compute.training_launcher import TrainingFailedError, TrainingLauncher
from resources.lake.lake import Lake
from training.encode_parts import SetConfig
from training.make_set import make_training_set
from training.set_check import multiple_of
from training.settings import Training

SETTINGS = Training(
    epochs=2, learning_rate=1e-3, min_learning_rate=1e-4, global_batch_size=4, micro_batch_size=2,
    max_length=256, dtype="float32", gradient_checkpointing=False, processes=2,
)  # fmt: skip


def materialize(
    folder: Path, settings: Training, trainer: TrainingLauncher
) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """One stage as an asset; the result, and what the run's log was told."""
    file = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([row(number) for number in range(32)]), file)

    @dg.asset
    def checkpoint(
        context: dg.AssetExecutionContext, lake: Lake, trainer: TrainingLauncher
    ) -> dg.MaterializeResult:
        return train_stage(
            context, lake, trainer,
            checkpoint="low_temperature", start=STUDENT, expected=STUDENT, settings=settings,
        )  # fmt: skip

    lake = Lake(root=str(folder / "lake"))
    made = SetConfig(
        model_path=str(STUDENT), samples=[str(file)], max_length=settings.max_length,
        system_prompt="You are a helpful assistant.", multiple_of=multiple_of(settings),
        output_dir=str(lake.keyed_folder("training_sets/low_temperature", "key")),
    )  # fmt: skip
    make_training_set(made, lambda line: None)
    lake.publish_keyed("training_sets/low_temperature", "key")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [checkpoint],
            resources={"lake": lake, "trainer": trainer},
            instance=instance,
            raise_on_error=False,
        )
        told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return result, told


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (materialization,) = result.asset_materializations_for_node("checkpoint")
    return {name: value.value for name, value in materialization.metadata.items()}


def log(checkpoint: Path, name: str) -> list[float]:
    """One value of every step."""
    lines = (checkpoint / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[name] for line in lines]


def cause(result: dg.ExecuteInProcessResult) -> str:
    failure = result.failure_data_for_node("checkpoint")
    assert failure
    assert failure.error
    assert failure.error.cause
    assert failure.error.cause.cls_name == TrainingFailedError.__name__
    return failure.error.cause.message
