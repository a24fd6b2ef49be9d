"""Every drop with how it stands, as the check `drops_in_order` of `question_drops` shows it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import dagster as dg

from dasd_assets.declaring.materializations import newest_first
from dasd_assets.declaring.out_of_date import INPUT_POINTER_TAG
from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.questions.inbox.listing import InboxListing
from dasd_assets.questions.inbox.observed_drops import Seen
from formats.pages import markdown_table

CHECK: Final = "drops_in_order"
RAW_QUESTIONS: Final = dg.AssetKey("raw_questions")
QUESTION_DROPS: Final = dg.AssetKey("question_drops")
READ_OF: Final = INPUT_POINTER_TAG + "question_drops"
COUNTS: Final = ("dagster/row_count", "quarantined")
HEADINGS: Final = ["drop", "is", "rows", "quarantined"]


class DropState(StrEnum):
    """How a drop stands."""

    PRESENT = "present"
    CHANGED = "changed, not read again yet"
    NEW = "new, not read yet"
    GONE = "gone; what was made of it is still there"
    DUPLICATE = "duplicate of another drop; not registered"
    REFUSED = "refused"


IN_ORDER: Final = {DropState.PRESENT, DropState.CHANGED, DropState.NEW}


@dataclass(frozen=True)
class Read:
    """What was read of a drop.

    Attributes:
        rows, quarantined: usable rows and others.
        is_current: whether the drop has not been seen to change since.
    """

    rows: int
    quarantined: int
    is_current: bool = True


@dataclass(frozen=True)
class Drop:
    """One line of the table; without rows where it was never read."""

    name: str
    state: DropState
    rows: int | None = None
    quarantined: int | None = None


def drops(
    listing: InboxListing,
    seen: Mapping[str, Seen],
    registered: Collection[str],
    read: Mapping[str, Read],
) -> list[Drop]:
    """All drops that are in the inbox, or that were and became a shard.

    Args:
        seen: shard -> its drop as it was last seen.
        read: shard -> what was last read of it.
    """
    owners = {one.content: shard for shard, one in sorted(seen.items()) if shard in registered}
    found = []
    for shard in sorted({*listing.drops, *(seen.keys() & set(registered))}):
        was = read.get(shard)
        now = seen.get(shard)
        if shard not in listing.drops:
            state = DropState.REFUSED if shard in listing.ambiguous else DropState.GONE
        elif shard not in registered:
            is_known = now is not None and now.content in owners
            state = DropState.DUPLICATE if is_known else DropState.NEW
        elif was is None:
            state = DropState.NEW
        elif not was.is_current:
            state = DropState.CHANGED
        else:
            state = DropState.PRESENT
        counts = (was.rows, was.quarantined) if was else (None, None)
        found.append(Drop(shard, state, *counts))
    refused = sorted(path.name for path in listing.refused)
    return [*found, *(Drop(name, DropState.REFUSED) for name in refused)]


def evaluation(found: Sequence[Drop]) -> dict[str, Any]:
    """Arguments of the check's result: whether all is in order, and the table."""
    wrong = [drop.name for drop in found if drop.state not in IN_ORDER]
    rows = [
        [
            each.name,
            each.state,
            *(str(n) if n is not None else "" for n in (each.rows, each.quarantined)),
        ]
        for each in found
    ]
    return {
        "passed": not wrong,
        "severity": dg.AssetCheckSeverity.WARN,
        "metadata": {
            "drops": dg.MetadataValue.md(markdown_table(HEADINGS, rows)),
            "not_in_order": wrong,
        },
    }


def _read(instance: dg.DagsterInstance) -> dict[str, Read]:
    """Shard -> what was last read of its drop."""
    seen_at = instance.event_log_storage.get_latest_storage_id_by_partition(
        QUESTION_DROPS, dg.DagsterEventType.ASSET_OBSERVATION
    )
    found: dict[str, Read] = {}
    for record in newest_first(instance.fetch_materializations, RAW_QUESTIONS):
        event = record.asset_materialization
        if event is not None and event.partition is not None:
            n = {name: value.value for name, value in event.metadata.items()}
            rows, quarantined = (int(str(n.get(name) or 0)) for name in COUNTS)
            read_of = str((event.tags or {}).get(READ_OF))
            is_current = seen_at.get(event.partition, 0) <= (
                int(read_of) if read_of.isdecimal() else 0
            )
            found.setdefault(event.partition, Read(rows, quarantined, is_current))
    return found


def evaluated(
    instance: dg.DagsterInstance, listing: InboxListing, seen: Mapping[str, Seen]
) -> dict[str, Any]:
    """As `evaluation`, with what the instance remembers."""
    registered = instance.get_dynamic_partitions(QUESTION_SHARD)
    return evaluation(drops(listing, seen, registered, _read(instance)))


def look(
    instance: dg.DagsterInstance, listing: InboxListing, seen: Mapping[str, Seen]
) -> dg.AssetCheckEvaluation | None:
    """The check's result for the instance to keep; None where it is the one that it has."""
    now = evaluated(instance, listing, seen)
    key = dg.AssetCheckKey(QUESTION_DROPS, CHECK)
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
    before = records[key].event if key in records else None
    data = before.dagster_event.event_specific_data if before and before.dagster_event else None
    if isinstance(data, dg.AssetCheckEvaluation) and data.metadata == now["metadata"]:
        return None
    return dg.AssetCheckEvaluation(asset_key=QUESTION_DROPS, check_name=CHECK, **now)
