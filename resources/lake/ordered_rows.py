"""Rows brought into another order than they are read in, in bounded memory.

Each row goes to the file of its part of the wanted order; the parts are then read one after the
other, and each is sorted in memory. What is held at once is one batch, or one part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

MAX_PARTS = 256
"""Files that are open at the same time."""

ROWS_PER_PART = 1_024
"""Rows of a part at least; with more rows than MAX_PARTS such parts hold, parts grow."""

PLACE = "place"


class OrderedRows:
    """Rows with an id, given back in the order of a list of ids.

    Rows of other ids are left out.
    """

    def __init__(self, ids: pa.Array, folder: Path, id_column: str = "response_id") -> None:
        """Prepare for rows in any order.

        Args:
            ids: the wanted ids in the wanted order, no one twice.
            folder: an empty folder for the parts.
            id_column: column of the rows that has theirs.
        """
        self._places = {name: place for place, name in enumerate(ids.to_pylist())}
        self._folder = folder
        self._id_column = id_column
        self._rows_per_part = max(ROWS_PER_PART, -(-len(ids) // MAX_PARTS))
        self.n_found = np.zeros(len(ids), np.int64)
        """Rows that were found of each wanted id."""

    def read(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Read all rows; called once."""
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        with ExitStack() as stack:
            for batch in batches:
                found = [self._places.get(name) for name in batch[self._id_column].to_pylist()]
                place = pa.array(found, pa.int64())
                rows = batch.append_column(PLACE, place).filter(place.is_valid())
                places = rows[PLACE].to_numpy()
                np.add.at(self.n_found, places, 1)
                parts = places // self._rows_per_part
                for part in np.unique(parts).tolist():
                    if part not in writers:
                        writers[part] = stack.enter_context(
                            pa.ipc.new_stream(self._file(part), rows.schema)
                        )
                    writers[part].write_batch(rows.filter(pa.array(parts == part)))

    def in_order(self) -> Iterator[pa.Table]:
        """The rows in the order of the ids, part by part; the file of a part is then deleted."""
        for part in range(-(-len(self._places) // self._rows_per_part)):
            if not self._file(part).is_file():
                continue  # no row was found of any of its ids
            with pa.ipc.open_stream(self._file(part)) as stream:
                rows = stream.read_all()
            self._file(part).unlink()
            yield rows.sort_by(PLACE).drop_columns(PLACE).combine_chunks()

    def _file(self, part: int) -> Path:
        return self._folder / f"{part}.arrow"
