"""What of a shard goes into the index: keys with the numbers of their rows, and the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.questions.curation.banded_rows import band_keys
from dasd_assets.questions.curation.index.catalog import Keys
from dasd_assets.questions.curation.index.rows_file import Row
from dasd_assets.questions.curation.index.sorted_runs import Entries, Numbers
from dasd_assets.questions.curation.near_duplicates import Banding
from dasd_assets.questions.curation.shards import OtherShard, in_parts

_IS_BAND = np.uint64(1 << 63)
_ROW_BITS = np.uint64(32)
_ROW = np.uint64((1 << 32) - 1)


class Places(NamedTuple):
    """The values of some entries taken apart: of a band or of an id, shard and row."""

    is_band: npt.NDArray[np.bool_]
    slots: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


def taken_apart(values: Numbers) -> Places:
    """What the values of entries say."""
    slots = (values & ~_IS_BAND) >> _ROW_BITS
    return Places(
        (values & _IS_BAND) != 0, slots.astype(np.int64), (values & _ROW).astype(np.int64)
    )


def _entries(slot: int, keys: Numbers, rows: Numbers, is_band: bool) -> Entries:
    about = np.uint64(slot << 32) | (_IS_BAND if is_band else np.uint64(0))
    return Entries(keys, rows | about)


def id_keys(question_ids: Iterable[str]) -> Numbers:
    """The keys of questions, which are equal if their ids are."""
    digests = (hashlib.blake2b(each.encode(), digest_size=8).digest() for each in question_ids)
    return np.frombuffer(b"".join(digests), "<u8")


def entries_of_ids(other: OtherShard, slot: int) -> Iterator[Entries]:
    """An entry for each question of a shard, not sorted."""
    first = 0
    for part in in_parts(other.questions):
        keys = id_keys(part.raw["question_id"].to_pylist())
        yield _entries(slot, keys, np.arange(first, first + len(keys), dtype=np.uint64), False)
        first += len(keys)


def entries_of_bands(
    other: OtherShard, slot: int, banding: Banding, shingle_words: int
) -> tuple[Keys, Iterator[Entries]]:
    """An entry for each band key of a shard, not sorted.

    Those of other settings are made anew, and those of other questions than the shard has: a kill
    between the writing of both leaves them apart.
    """
    stored = iter(other.signatures())
    first = next(stored, None)
    if (
        first is not None
        and first["settings"][0].as_py() == banding.name
        and _has_its_own_signatures(other)
    ):
        return "stored", _banded((each["band_keys"] for each in chain([first], stored)), slot)
    made = (
        band_keys(part, range(part.raw.num_rows), banding, shingle_words)
        for part in in_parts(other.questions)
    )
    return "made", _banded(made, slot)


def _has_its_own_signatures(other: OtherShard) -> bool:
    stored, asked = (
        chain.from_iterable(batch["question_id"].to_pylist() for batch in batches)
        for batches in (other.signatures(), other.questions())
    )
    return all(one == another for one, another in zip_longest(stored, asked))


def _banded(lists: Iterable[pa.ListArray], slot: int) -> Iterator[Entries]:
    first = 0
    for keys in lists:
        rows = first + np.repeat(np.arange(len(keys)), keys.value_lengths().to_numpy())
        yield _entries(slot, keys.flatten().to_numpy(), rows.astype(np.uint64), True)
        first += len(keys)


def rows_of(other: OtherShard) -> Iterator[Row]:
    """What is compared of the questions of a shard."""
    for part in in_parts(other.questions):
        everything = range(part.raw.num_rows)
        yield from map(
            Row,
            part.raw["question_id"].to_pylist(),
            part.domains(everything),
            part.conversations(everything),
        )
