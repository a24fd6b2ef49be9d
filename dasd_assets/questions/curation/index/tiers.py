"""How many entries a run begins with, and which runs become one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from dasd_assets.questions.curation.index.catalog import IndexedRun
from dasd_assets.questions.curation.index.sorted_runs import Entries, joined

SORTED_AT_ONCE = 1 << 20
"""Entries that become one run when a shard is put in."""
MERGED_AT_ONCE = 8
"""Runs of one tier that become one of the next."""
FIRST_TIER_ENTRIES = 1 << 17


def full_tier(runs: list[IndexedRun]) -> list[IndexedRun] | None:
    """Runs that are to be merged; None if no tier has MERGED_AT_ONCE."""
    tiers = defaultdict[int, list[IndexedRun]](list)
    for run in runs:
        tier = 0
        while run.record.n_entries > FIRST_TIER_ENTRIES * MERGED_AT_ONCE**tier:
            tier += 1
        tiers[tier].append(run)
    return next((tier for tier in tiers.values() if len(tier) >= MERGED_AT_ONCE), None)


def gathered(parts: Iterator[Entries]) -> Iterator[Entries]:
    """Entries of several parts together, SORTED_AT_ONCE or more, but at the end."""
    waiting, n_waiting = list[Entries](), 0
    for part in parts:
        waiting.append(part)
        n_waiting += len(part.keys)
        if n_waiting >= SORTED_AT_ONCE:
            yield joined(waiting)
            waiting, n_waiting = [], 0
    if n_waiting:
        yield joined(waiting)
