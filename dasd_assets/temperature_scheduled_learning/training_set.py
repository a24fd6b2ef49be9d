"""A stage's packed training set as an asset sees it: a keyed folder, and a table of its samples."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from dasd_assets.declaring.declare import declared, materialized, place
from dasd_assets.declaring.pages import page_link
from dasd_assets.profile import Profile, settings_version
from formats.checkpoint_folder import CERTIFICATE
from formats.model_format import AUTO, FormatSettings
from formats.pages import markdown_table
from resources.lake.contract import Partition
from resources.lake.examination import set_aside_damaged
from resources.lake.lake import Lake
from resources.lake.tables.training_sets import TRAINING_SET
from training.set_check import multiple_of
from training.settings import Training
from training.training_set import SET_VERSION, Description, TrainingSetError, open_training_set

SETS = "training_sets"


def set_declaration(
    profile: Profile, settings: Training, checkpoint: str, table: str, *more: Any, group: str
) -> dict[str, Any]:
    """What the training sets of all stages declare.

    Args:
        settings: of the training.
        more: other settings that shape the set.
    """
    return declared(
        group, profile.compute.data, SET_VERSION, settings.max_length, settings.packing,
        multiple_of(settings), profile.system_prompt, *more,
        kinds={"numpy", "arrow"}, table=table, stored=f"{SETS}/{checkpoint}",
    )  # fmt: skip


def workers_of(profile: Profile) -> int:
    """Processes that encode a training set side by side."""
    return max(1, int(profile.compute.data.cpus))


def write_training_set(
    context: dg.AssetExecutionContext,
    lake: Lake,
    *,
    checkpoint: str,
    table: str,
    sample: tuple[str, str, Partition | None],
    model: Path,
    settings: Training,
    system_prompt: str,
    mask_student_prefix: bool = False,
    format: FormatSettings = AUTO,
    counted_by: Path | None = None,
    partition: Partition | None = None,
    workers: int = 1,
) -> dg.MaterializeResult:
    """Make the set that a checkpoint is trained on, unless it is there, and publish it.

    The folder's name is the hash of rows, tokenizer, template and packing, so that the same is
    never made twice.

    Args:
        table: of the samples of the set.
        sample: the table of the rows, its column of ids, its partition.
        model: the student, whose tokenizer encodes the rows.
        counted_by: the model whose tokenizer counted the sample's tokens; unset: the student.
        partition: of `table`.
        workers: processes that encode side by side.
    """
    # Definitions load without torch and transformers.
    from training.encode_parts import SetConfig
    from training.make_set import made_of, make_training_set

    rows, id_column, rows_partition = sample
    version = lake.version(rows, rows_partition) if lake.exists(rows, rows_partition) else ""
    config = SetConfig(
        model_path=str(model),
        samples=[str(lake.verified_path(rows, rows_partition))],
        system_prompt=system_prompt,
        output_dir="",
        mask_student_prefix=mask_student_prefix,
        counted_by=str(counted_by) if counted_by else None,
        format=format,
        max_length=settings.max_length,
        packing=settings.packing,
        multiple_of=multiple_of(settings),
        workers=workers,
    )
    wanted = made_of(config)
    name, key = f"{SETS}/{checkpoint}", settings_version(wanted.shaping())

    def make(folder: Path) -> Description:
        placed = config.model_copy(update={"output_dir": str(folder)})
        return make_training_set(placed, context.log.info, wanted)

    folder, made = published_set(lake, name, key, make, context.log)

    def ids() -> Iterator[pa.Array]:
        for batch in lake.batches(rows, rows_partition, [id_column]):
            yield batch.column(0)
        if lake.version(rows, rows_partition) != version:
            raise TrainingSetError(
                f"{lake.address(rows, rows_partition)}: was written anew while {name}/{key} was "
                "made of it. Make the set again, once no other run makes that sample"
            )

    written = lake.write(table, _rows(folder, ids()), partition)
    certificate = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    result = materialized(
        lake, written, partition,
        packed_sequences=made.n_sequences,
        trained_tokens=certificate["trained_tokens"],
        packing_efficiency=certificate["packing_efficiency"],
        batch_certificate=page_link(f"{name}/{key}/certificate.html"),
        certified=dg.MetadataValue.md(certificate_table(certificate)),
        path=place(lake, folder),
        set_bytes=sum(file.n_bytes for file in made.files.values()),
    )  # fmt: skip
    # The table does not have the tokens: of another system prompt it may be the same.
    return result._replace(data_version=dg.DataVersion(made.content_hash))


def published_set(
    lake: Lake, name: str, key: str, make: Callable[[Path], Description], log: logging.Logger
) -> tuple[Path, Description]:
    """Folder and description of a set that is made, unless it is there whole, and published.

    Of several that find it damaged one puts it aside and makes it, and the others find that one's.

    Args:
        make: makes the set in a folder, unless that is there.
    """
    with lake.exclusively(f"training_set_{key}", log.info):
        if problem := set_aside_damaged(lake, f"{name}/{key}"):
            log.warning(f"{name}/{key} {problem}: it is put aside, and made again")
        folder = lake.keyed_folder(name, key)
        made = make(folder)
        lake.publish_keyed(name, key)
    return folder, made


def _rows(folder: Path, ids: Iterator[pa.Array]) -> Iterator[pa.RecordBatch]:
    """The samples with their places, in the order of the rows that they come from."""
    made = open_training_set(folder)
    samples, first = made.samples, 0
    sequence, place_of = made.places
    for batch in ids:
        here = slice(first, first + len(batch))
        first = here.stop
        columns: tuple[Any, ...] = (
            sequence, place_of, samples.lengths, samples.n_prompt, samples.n_masked,
            samples.weights,
        )  # fmt: skip
        arrays = [
            pa.array(column[here], field.type)
            for column, field in zip(columns, list(TRAINING_SET)[1:], strict=True)
        ]
        yield pa.RecordBatch.from_arrays([batch, *arrays], schema=TRAINING_SET)


def certificate_table(certificate: Mapping[str, Any]) -> str:
    """What the batch certificate found, as a table for the asset's page."""
    columns = ["check", "found", "allowed"]
    rows = [(check["name"], check["found"], check["allowed"]) for check in certificate["checks"]]
    warnings = [f"\nWarning: {text}" for text in certificate["warnings"]]
    return "\n".join([markdown_table(columns, rows), *warnings])
