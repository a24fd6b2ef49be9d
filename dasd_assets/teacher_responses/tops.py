"""The likeliest tokens at each position of the answers: a table beside them, where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from dasd_assets.answering.earlier import EarlierColumns
from dasd_assets.teacher_responses.sampling import Sampled
from resources.lake.manifest import SUFFIX

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition

TOPS: Final = "teacher_top_logprobs"


def earlier_tops(lake: Lake, cell: Partition, k: int) -> EarlierColumns | None:
    """Gives columns of those of the last materialization; None where none are asked for."""
    return partial(lake.earlier, TOPS, cell) if k else None


def write_tops(lake: Lake, cell: Partition, parts: Sequence[Sampled], k: int) -> dict[str, int]:
    """Write those of all answers, before the answers themselves; what they take, as metadata.

    Where none are asked for, those of an earlier setting go: they belong to no answer any more.
    """
    if not k:
        if lake.exists(TOPS, cell):
            lake.retire(TOPS, cell)
        else:  # one that is gone is awaited no more
            lake.take_away(lake.name(TOPS, cell) + SUFFIX)
        return {}
    rows = chain.from_iterable(part.tops() for part in parts)
    return {"top_logprobs": k, "top_logprobs_bytes": lake.write(TOPS, rows, cell).n_bytes}
