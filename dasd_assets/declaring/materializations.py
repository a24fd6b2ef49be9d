"""What Dagster's instance remembers of the data that was made."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

MATERIALIZATIONS_AT_ONCE = 1_000


def latest_materializations(
    instance: dg.DagsterInstance,
) -> Iterator[tuple[dg.AssetMaterialization, str, str, float]]:
    """The newest materialization of every partition of every asset, with run, step and time.

    The time is in seconds since 1970.
    """
    for key in sorted(instance.all_asset_keys()):
        seen: set[str | None] = set()
        cursor, has_more = None, True
        while has_more:
            page = instance.fetch_materializations(key, MATERIALIZATIONS_AT_ONCE, cursor)
            for record in page.records:
                event = record.asset_materialization
                if event is not None and event.partition not in seen:
                    seen.add(event.partition)
                    entry = record.event_log_entry
                    yield event, record.run_id, entry.step_key or "", record.timestamp
            cursor, has_more = page.cursor, page.has_more
