"""How rows lie in a Parquet file: encodings by type, row groups of bounded size.

Both depend on the rows alone, not on how they were cut into batches, so that the same rows always
give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 122_880
"""As DuckDB's own. Of much smaller groups a table of narrow rows would have tens of thousands, and
writers and readers hold something of each in memory."""
ROW_GROUP_BYTES = 32 * 1024**2
"""Decoded values of a group: a reader holds one group in memory, whatever the rows' length."""

_NUMBERS = {"INT32", "INT64", "FLOAT", "DOUBLE"}


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Compression and encodings for `pyarrow.parquet.ParquetWriter`.

    Numbers in lists (token ids, logprobs, ranks) are split into byte streams: the bytes that vary
    little then lie together, and zstd makes them small. A dictionary does worse there: it packs
    each id into 17 bits or so, across which zstd finds nothing, and of logprobs hardly two are
    equal. All other columns keep Parquet's dictionaries. `benchmarks.storage` has the figures.

    Floating-point columns have no statistics: NaN is left out of them, and DuckDB (2.0) then takes
    a row group in which all else is in range for one without NaN, whatever the query asks.
    """
    buffer = io.BytesIO()
    pq.write_table(schema.empty_table(), buffer)
    columns = pq.ParquetFile(buffer).schema
    leaves = [columns.column(index) for index in range(len(columns.names))]
    split = {
        leaf.path for leaf in leaves if leaf.max_repetition_level and leaf.physical_type in _NUMBERS
    }
    return {
        "compression": "zstd",
        "write_page_checksum": True,
        "use_dictionary": [leaf.path for leaf in leaves if leaf.path not in split],
        "column_encoding": dict.fromkeys(sorted(split), "BYTE_STREAM_SPLIT"),
        "write_statistics": [
            leaf.path for leaf in leaves if leaf.physical_type not in ("FLOAT", "DOUBLE")
        ],
    }


def row_groups(
    batches: Iterable[pa.RecordBatch],
    max_rows: int = ROW_GROUP_ROWS,
    max_bytes: int = ROW_GROUP_BYTES,
) -> Iterator[pa.Table]:
    """The rows of all batches, cut and joined into groups of at most so many rows and bytes.

    A row that is larger than `max_bytes` by itself is a group of its own. Each group is one piece:
    the Parquet writer ends its pages where a chunk ends, and a file's bytes would depend on how the
    rows came.
    """
    parts: list[pa.RecordBatch] = []
    n_rows = n_bytes = 0
    for batch in batches:
        sizes = row_bytes(batch.to_struct_array())
        start = 0
        while start < batch.num_rows:
            total = n_bytes + np.cumsum(sizes[start : start + max_rows - n_rows])
            fitting = int(np.searchsorted(total, max_bytes, side="right"))
            if not parts:
                fitting = max(fitting, 1)
            if fitting:
                parts.append(batch.slice(start, fitting))
                n_rows, n_bytes, start = n_rows + fitting, int(total[fitting - 1]), start + fitting
            if start < batch.num_rows or n_rows == max_rows:
                yield pa.Table.from_batches(parts).combine_chunks()
                parts, n_rows, n_bytes = [], 0, 0
    if parts:
        yield pa.Table.from_batches(parts).combine_chunks()


def row_bytes(values: pa.Array) -> npt.NDArray[np.int64]:
    """Bytes that each value takes in memory, without offsets and validity bits; shape [n]."""
    if isinstance(values, pa.StructArray):
        total = np.zeros(len(values), np.int64)
        for child in values.flatten():
            total += row_bytes(child)
        return total
    if isinstance(values, pa.ListArray):
        offsets = values.offsets.to_numpy().astype(np.int64)
        first, end = int(offsets[0]), int(offsets[-1])
        ends = np.cumsum(row_bytes(values.values.slice(first, end - first)))
        return np.diff(np.concatenate([[0], ends])[offsets - first])
    if isinstance(values, pa.StringArray):
        lengths: npt.NDArray[np.int32] = pc.binary_length(values).fill_null(0).to_numpy()
        return lengths.astype(np.int64)
    return np.full(len(values), max(1, values.type.bit_width // 8), np.int64)
