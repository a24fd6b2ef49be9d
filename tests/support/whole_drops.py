"""A drop in one piece, as only a small one can be had."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from dasd_assets.profile import PAPER_DOMAINS, Layout
from dasd_assets.questions.reading.drops import DropContents, read_drop
from resources.lake.tables.questions import QUARANTINED_ROWS, RAW_QUESTIONS


def read_whole_drop(
    drop: Path,
    layout: Layout | None,
    max_row_bytes: int,
    domains: Collection[str] = tuple(PAPER_DOMAINS),
) -> DropContents:
    """The parts of `read_drop` together."""
    parts = list(read_drop(drop, layout, max_row_bytes, domains))
    return DropContents(
        pa.concat_tables([RAW_QUESTIONS.empty_table(), *(part.rows for part in parts)]),
        pa.concat_tables([QUARANTINED_ROWS.empty_table(), *(part.quarantined for part in parts)]),
    )
