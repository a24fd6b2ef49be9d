"""What Dagster's instance remembers of the data that was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import dagster as dg

RECORDS_AT_ONCE = 1_000


def newest_first(
    fetch: Callable[[dg.AssetKey, int, str | None], dg.EventRecordsResult], key: dg.AssetKey
) -> Iterator[dg.EventLogRecord]:
    """All events of an asset, a page at a time.

    Args:
        fetch: `fetch_materializations` or `fetch_observations` of an instance.
    """
    cursor, has_more = None, True
    while has_more:
        page = fetch(key, RECORDS_AT_ONCE, cursor)
        yield from page.records
        cursor, has_more = page.cursor, page.has_more


def latest_materializations(
    instance: dg.DagsterInstance,
) -> Iterator[tuple[dg.AssetMaterialization, str, str, float]]:
    """The newest materialization of every partition of every asset, with run, step and time.

    The time is in seconds since 1970.
    """
    for key in sorted(instance.all_asset_keys()):
        seen: set[str | None] = set()
        for record in newest_first(instance.fetch_materializations, key):
            event = record.asset_materialization
            if event is not None and event.partition not in seen:
                seen.add(event.partition)
                entry = record.event_log_entry
                yield event, record.run_id, entry.step_key or "", record.timestamp
