"""Make a packed training set (`training.training_set` says what that is): once, in bounded memory.

By hand: `python -m training.make_set --config set.json`, where the JSON has the fields of
`SetConfig`. Rows are tokenised a row group at a time by `workers` processes, and appended as they
come; then the samples are packed, the batches certified, and the folder gets its name.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from formats.model_format import student_format
from resources.durable import sync, told_when_full
from resources.engines.load import load_tokenizer
from resources.lake.lock_file import locked
from resources.lake.manifest import sha256_of
from training.certificate import certify_set
from training.encode_parts import SetConfig, compares_lengths, encoded_parts
from training.expected_model import tokenizer_parts
from training.packing import pack
from training.samples import SampleError
from training.training_set import (
    COLUMNS,
    DESCRIPTION,
    SAMPLES,
    SET_VERSION,
    TOKENS,
    Description,
    MadeOf,
    MappedFile,
    SampleFile,
    TrainingSetError,
    describe,
    is_made,
    open_training_set,
    places_of,
)

Report = Callable[[str], None]

SECONDS_BETWEEN_REPORTS = 5.0
BYTES_PER_SAMPLE = sum(field.type.byte_width for field in COLUMNS)


def make_training_set(
    config: SetConfig, report: Report, wanted: MadeOf | None = None
) -> Description:
    """Make a set at `config.output_dir`, unless it is there.

    Of several processes that are to make the same set one does, and the others wait for it.

    Args:
        wanted: what `made_of` gives, where it is known: the rows are not hashed before.

    Raises:
        SampleError: a row cannot be trained on; the message names file, row and reason.
        CertificateError: the batches are not what training needs.
        TrainingSetError: the disk has no room for it, or a file of rows was written anew meanwhile.
        DiskFullError: the disk became full.
        OSError: the folder's file system has no locks.
    """
    folder = Path(config.output_dir)
    wanted = wanted or made_of(config)
    with locked(folder.with_name(f".{folder.name}.lock"), "the same training set", report):
        return _made_once(config, wanted, folder, report)


def _made_once(config: SetConfig, wanted: MadeOf, folder: Path, report: Report) -> Description:
    if is_made(folder):
        description = describe(folder)
        _check_same(folder, description, wanted)
        report(f"progress: {folder} is made already")
        return description
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    needed = check_room(config, folder)
    partial.mkdir()
    try:
        with told_when_full(partial / TOKENS, needed):
            description = _make(config, wanted, partial, report)
    except BaseException:
        for file in partial.glob("*.n*"):
            file.unlink()  # of no use, and the disk may be full
        raise
    for file in (*partial.iterdir(), partial):
        sync(file)
    partial.rename(folder)
    sync(folder.parent)
    return description


def made_of(config: SetConfig) -> MadeOf:
    """What a set with this configuration is made of; the rows are read once, to hash them."""
    model = Path(config.model_path)
    return MadeOf(
        version=SET_VERSION,
        tokenizer=tokenizer_parts(model),
        format=config.format,
        system_prompt=config.system_prompt,
        mask_student_prefix=config.mask_student_prefix,
        lengths_compared=compares_lengths(config),
        max_length=config.max_length,
        packing=config.packing,
        multiple_of=config.multiple_of,
        sample_files=[
            SampleFile(file, sha256_of(Path(file)), pq.read_metadata(file).num_rows)
            for file in config.samples
        ],
    )


def _check_same(folder: Path, found: Description, wanted: MadeOf) -> None:
    """Refuse a folder with a set of other rows or settings.

    Raises:
        TrainingSetError: naming what differs.
    """
    made = found.made_of.shaping()
    differing = [name for name, value in wanted.shaping().items() if made[name] != value]
    if differing:
        raise TrainingSetError(
            f"{folder} is a training set with another value of {', '.join(differing)}. Choose "
            "another output_dir, or remove that folder."
        )


def check_room(config: SetConfig, folder: Path) -> int:
    """Refuse a disk that cannot hold the set, before any row is tokenised.

    A token has four bytes, and its text about as many.

    Returns:
        Bytes that the set takes, about.

    Raises:
        TrainingSetError: with what it takes and what is free.
    """
    needed = sum(map(_set_bytes, config.samples))
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise TrainingSetError(
            f"{folder.parent}: the packed training set takes about {needed / 1024**2:,.0f} MiB, "
            f"and {free / 1024**2:,.0f} MiB are free. Make room there, or set DASD_HOME to a "
            "larger disk"
        )
    return needed


def _set_bytes(file: str) -> int:
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    texts = sum(
        column.total_uncompressed_size
        for group in groups
        for column in map(group.column, range(group.num_columns))
        if column.path_in_schema in ("question", "response_text")
    )
    return texts + BYTES_PER_SAMPLE * int(metadata.num_rows)


def _make(config: SetConfig, wanted: MadeOf, folder: Path, report: Report) -> Description:
    try:
        columns = _write_tokens(config, folder, report)
    finally:  # of the rows of two versions together any error may come
        _require_unchanged(wanted)
    lengths = columns["n_tokens"].astype(np.int64)
    sequences = pack(lengths, config.max_length, config.multiple_of, one_each=not config.packing)
    columns["sequence"], columns["place"] = places_of(sequences, len(lengths))
    rows = pa.table([pa.array(columns[name]) for name in COLUMNS.names], schema=COLUMNS)
    with pa.ipc.new_file(folder / SAMPLES, COLUMNS) as writer:
        writer.write_table(rows)
    description = Description(
        made_of=wanted,
        n_tokens=int(lengths.sum()),
        n_sequences=len(sequences),
        longest=int(lengths.max()),
        largest_token=int(columns.pop("largest_token").max()),
        files={
            name: MappedFile((folder / name).stat().st_size, sha256_of(folder / name))
            for name in (TOKENS, SAMPLES)
        },
    )
    (folder / DESCRIPTION).write_text(description.model_dump_json(indent=1), encoding="utf-8")
    report(f"progress: {len(lengths):,} samples in {len(sequences):,} sequences, certifying them")
    made = open_training_set(folder)
    certify_set(
        made.samples, made.sequences,
        student_format(load_tokenizer(Path(config.model_path), config.format), config.format),
        system_prompt=config.system_prompt, mask_student_prefix=config.mask_student_prefix,
        max_length=config.max_length, folder=folder,
    )  # fmt: skip
    return description


def _require_unchanged(made_of: MadeOf) -> None:
    """Refuse rows that are not those any more which the set is known by.

    Raises:
        TrainingSetError: naming the file.
    """
    for file in made_of.sample_files:
        if not Path(file.path).is_file() or sha256_of(Path(file.path)) != file.sha256:
            raise TrainingSetError(
                f"{file.path}: was written anew or taken away while its rows were encoded, so that "
                "the set would be of neither version. Run the same again, once no other run makes "
                "that file"
            )


def _write_tokens(config: SetConfig, folder: Path, report: Report) -> dict[str, npt.NDArray[Any]]:
    """Append the tokens of all rows; gives a few numbers for each sample."""
    found: dict[str, list[npt.NDArray[Any]]] = {}
    began = last = time.monotonic()
    n_tokens = 0
    with (folder / TOKENS).open("wb") as stream:
        _write_header(stream, 0)
        for part in encoded_parts(config, folder):
            stream.write(part.token_ids.astype("<i4", copy=False).data)
            n_tokens += len(part.token_ids)
            for name in ("n_tokens", "n_prompt", "n_masked", "n_response", "weight"):
                found.setdefault(name, []).append(getattr(part, name))
            found.setdefault("largest_token", []).append(part.token_ids.max(keepdims=True))
            now = time.monotonic()
            if now - last > SECONDS_BETWEEN_REPORTS:
                last = now
                report(
                    f"progress: {sum(map(len, found['n_tokens'])):,} samples, {n_tokens:,} tokens, "
                    f"{n_tokens / (now - began):,.0f} tokens/s"
                )
        stream.seek(0)
        _write_header(stream, n_tokens)
    if not found:
        raise SampleError(f"{', '.join(config.samples)}: no training rows")
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def _write_header(stream: Any, n_tokens: int) -> None:
    """NumPy leaves room in it for a longer number, so that it can be written again at the end."""
    header = {"descr": "<i4", "fortran_order": False, "shape": (n_tokens,)}
    np.lib.format.write_array_header_1_0(stream, header)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="JSON with SetConfig's fields")
    content = parser.parse_args().config.read_text(encoding="utf-8")
    make_training_set(SetConfig.model_validate_json(content), print)


if __name__ == "__main__":
    main()
