"""Rows of a shard as they are compared, and their band keys."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dasd_assets.questions.curation.near_duplicates import Banding, Comparable, comparables
from dasd_assets.questions.curation.shards import Rows


def comparable_rows(part: Rows, indices: Sequence[int], shingle_words: int) -> list[Comparable]:
    """Some of the rows as they are compared."""
    return comparables(part.conversations(indices), part.domains(indices), shingle_words)


def band_keys(
    part: Rows, indices: Sequence[int], banding: Banding, shingle_words: int
) -> pa.ListArray:
    """Band keys of some of the rows, list<uint64>; none of a question without words."""
    compared = comparable_rows(part, indices, shingle_words)
    keys = banding.keys(compared)
    lists = [row if len(each.shingles) else [] for row, each in zip(keys, compared, strict=True)]
    return pa.array(lists, pa.list_(pa.uint64()))
