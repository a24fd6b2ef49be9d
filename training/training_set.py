"""A packed training set: a folder of files that every rank maps, made once by `training.make_set`.

    training_set.json     what it was made of and with, and size and hash of the other files
    tokens.npy            int32 [n_tokens]: the samples' tokens, one sample after the other
    samples.arrow         an Arrow IPC file, a row for each sample, in the order of the tokens
    certificate.json      what was found of the batches that it makes; certificate.html shows it

A sample's row has `n_tokens`; `n_masked`, its leading tokens without loss; `n_prompt`; `n_response`
as its table states it, -1 where it does not; `weight`; and its place in the packing: `sequence` and
`place` within it. That is also the loss mask and the positions, which are 0, 1, 2 … in each sample:
written out for each token they would make a set three times as large.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ValidationError

from formats.model_format import FormatSettings
from resources.section import Section
from training.errors import TrainingError
from training.samples import Samples

DESCRIPTION: Final = "training_set.json"
TOKENS: Final = "tokens.npy"
SAMPLES: Final = "samples.arrow"

SET_VERSION: Final = "1"
"""Of what rows become: their tokens and masks, and the packing. It is in the names of sets and of
checkpoints, so that with another one both are made anew."""

MAKE_ANEW: Final = "`dasd run` makes it anew, by hand `python -m training.make_set`"

COLUMNS: Final = pa.schema(
    [
        pa.field("sequence", pa.int32(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),
        pa.field("n_tokens", pa.int32(), nullable=False),
        pa.field("n_prompt", pa.int32(), nullable=False),
        pa.field("n_masked", pa.int32(), nullable=False),
        pa.field("n_response", pa.int32(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
    ]
)


class TrainingSetError(TrainingError):
    """A training set that is not there, is damaged, or does not belong to what it is to train."""


class SampleFile(NamedTuple):
    """A file of training rows."""

    path: str
    sha256: str
    n_rows: int


class MappedFile(NamedTuple):
    """A file of the set."""

    n_bytes: int
    sha256: str


class MadeOf(Section):
    """All that shapes a set."""

    version: str
    tokenizer: dict[str, str]
    """Part of a tokenizer or its chat template -> hash."""
    format: FormatSettings
    system_prompt: str
    mask_student_prefix: bool
    lengths_compared: bool
    max_length: int
    packing: bool
    multiple_of: int
    sample_files: list[SampleFile]

    def shaping(self) -> dict[str, Any]:
        """The same without where the rows lay: what a set is known by."""
        rows = [file.sha256 for file in self.sample_files]
        return {**self.model_dump(mode="json"), "sample_files": rows}


class Description(Section):
    """What a set was made of, and what it holds."""

    made_of: MadeOf
    n_tokens: int
    n_sequences: int
    longest: int
    """Tokens of the longest sample."""
    largest_token: int
    files: dict[str, MappedFile]

    @property
    def content_hash(self) -> str:
        """Two sets with the same train the same."""
        content = [self.made_of.shaping(), self.files]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def n_samples(self) -> int:
        """Samples of all files."""
        return sum(file.n_rows for file in self.made_of.sample_files)


@dataclass(frozen=True)
class TrainingSet:
    """A set that this process has mapped."""

    folder: Path
    description: Description
    samples: Samples
    sequences: list[npt.NDArray[np.int64]]
    """For each packed sequence the indices of its samples."""

    @property
    def places(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """For each sample its packed sequence, and its place within it."""
        return places_of(self.sequences, len(self.samples))


def is_made(folder: Path) -> bool:
    """Whether there is a training set; its folder appears under its name only when it is whole."""
    return (folder / DESCRIPTION).is_file()


def describe(folder: Path) -> Description:
    """What a training set is, without a look at its other files.

    Raises:
        TrainingSetError: there is none, or it was made by another release.
    """
    if not is_made(folder):
        raise TrainingSetError(f"{folder}: there is no training set. {MAKE_ANEW}")
    try:
        found = Description.model_validate_json((folder / DESCRIPTION).read_text("utf-8"))
    except ValidationError as error:
        raise TrainingSetError(
            f"{folder}/{DESCRIPTION} cannot be read: {error}. {MAKE_ANEW}"
        ) from error
    if found.made_of.version != SET_VERSION:
        raise TrainingSetError(
            f"{folder}: the training set is of version {found.made_of.version}, and this release "
            f"reads {SET_VERSION}. {MAKE_ANEW}"
        )
    return found


def describe_whole(folder: Path) -> Description:
    """What a training set is, whose files are there and have the size that they were written with.

    Their bytes are not read: of a set of billions of tokens they are tens of gigabytes.

    Raises:
        TrainingSetError: there is none, or a file of it is gone, truncated or of another size.
    """
    description = describe(folder)
    for name, file in description.files.items():
        there = folder / name
        n_bytes = there.stat().st_size if there.is_file() else None
        if n_bytes != file.n_bytes:
            found = "is gone" if n_bytes is None else f"has {n_bytes:,} bytes"
            raise TrainingSetError(
                f"{there} {found}; {file.n_bytes:,} were written: it is truncated, or its copy was "
                f"not finished. {MAKE_ANEW}"
            )
    return description


def open_training_set(folder: Path) -> TrainingSet:
    """Map a training set; what is resident afterwards is a few numbers for each sample.

    Raises:
        TrainingSetError: as `describe_whole`, or its files do not belong together.
    """
    description = describe_whole(folder)
    token_ids, mapping = _mapped(folder / TOKENS)
    with pa.memory_map(str(folder / SAMPLES)) as source:
        rows = pa.ipc.open_file(source).read_all()
        columns = {name: rows[name].to_numpy().copy() for name in COLUMNS.names}
    lengths = columns["n_tokens"].astype(np.int64)
    if len(lengths) != description.n_samples or lengths.sum() != len(token_ids):
        raise TrainingSetError(
            f"{folder}: {len(lengths):,} samples of {lengths.sum():,} tokens, but "
            f"{DESCRIPTION} names {description.n_samples:,} and {TOKENS} has {len(token_ids):,}. "
            f"{MAKE_ANEW}"
        )
    n_rows = [file.n_rows for file in description.made_of.sample_files]
    samples = Samples(
        token_ids=token_ids,
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        n_prompt=columns["n_prompt"],
        n_masked=columns["n_masked"],
        n_response=columns["n_response"],
        weights=columns["weight"],
        files=tuple(Path(file.path) for file in description.made_of.sample_files),
        file_starts=np.cumsum([0, *n_rows[:-1]]),
        mapping=mapping,
    )
    return TrainingSet(
        folder, description, samples, sequences_of(columns["sequence"], columns["place"])
    )


def places_of(
    sequences: Sequence[npt.NDArray[np.int64]], n_samples: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """For each sample its packed sequence, and its place within it."""
    sequence, place = np.zeros((2, n_samples), np.int32)
    for number, samples in enumerate(sequences):
        sequence[samples] = number
        place[samples] = np.arange(len(samples))
    return sequence, place


def sequences_of(
    sequence: npt.NDArray[np.int32], place: npt.NDArray[np.int32]
) -> list[npt.NDArray[np.int64]]:
    """For each packed sequence the indices of its samples, in their order within it."""
    order = np.lexsort((place, sequence)).astype(np.int64)
    return np.split(order, np.flatnonzero(np.diff(sequence[order])) + 1)


def _mapped(file: Path) -> tuple[npt.NDArray[np.int32], mmap.mmap]:
    """The tokens as a view of the file, and the mapping, whose pages can be let go of."""
    with file.open("rb") as stream:
        np.lib.format.read_magic(stream)
        (n_tokens,), _, _ = np.lib.format.read_array_header_1_0(stream)
        offset = stream.tell()
        mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapping, np.dtype("<i4"), n_tokens, offset), mapping
