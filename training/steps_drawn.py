"""Which packed sequence which step sees, as a file of the checkpoint: `dasd trace` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from formats.checkpoint_folder import STEPS


def write_drawn(
    orders: Sequence[Sequence[npt.NDArray[np.int32]]], per_step: int, folder: Path
) -> None:
    """Write a row for each packed sequence and epoch: epoch, step (from 1 on) and rank.

    Args:
        orders: for each rank and epoch the sequences in the order in which they are drawn.
        per_step: sequences of a rank in an optimiser step; an epoch's last step may have fewer.
    """
    tables = []
    for rank, epochs in enumerate(orders):
        first = 1
        for epoch, order in enumerate(epochs, 1):
            steps = first + np.arange(len(order)) // per_step
            same = np.ones(len(order), np.int32)
            tables.append(
                pa.table(
                    {
                        "sequence": pa.array(order, pa.int32()),
                        "epoch": pa.array(epoch * same),
                        "step": pa.array(steps, pa.int32()),
                        "rank": pa.array(rank * same),
                    }
                )
            )
            first = int(steps[-1]) + 1
    pq.write_table(pa.concat_tables(tables), folder / STEPS, compression="zstd")
