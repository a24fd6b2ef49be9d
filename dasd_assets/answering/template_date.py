"""The date that a teacher's chat template prints: one for all prompts of a partition.

Without it a request would have another key, and so be asked again, at midnight.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formats.chat import prints_date
from resources.lake.bucket_folder import content_of, written_at

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition


def template_date(
    lake: Lake, asset: str, partition: Partition, tokenizer: Any, pinned: date | None
) -> date | None:
    """The date for a partition's prompts; None if the chat template prints none.

    It is the profile's, or else the day (UTC) on which the partition was begun. That day is kept in
    the lake, so that a retry and every later materialization make the same prompts.
    """
    if not prints_date(tokenizer):
        return None
    if pinned:
        return pinned
    name = _file(asset, partition)
    file = lake.file(name)
    if not file.is_file():
        file = lake.publish_file(name, datetime.now(UTC).date().isoformat().encode())
    return date.fromisoformat(file.read_text(encoding="utf-8"))


def recorded_day(lake: Path, asset: str, partition: Partition) -> date | None:
    """The day that was kept for a partition; None where none was.

    Args:
        lake: the lake, or the folder that is kept for its bucket.
    """
    name = _file(asset, partition)
    if written_at(lake, name) is None:
        return None
    return date.fromisoformat(content_of(lake, name).decode())


def _file(asset: str, partition: Partition) -> str:
    return f"_template_dates/{'__'.join([asset, *partition.values()])}"


def date_shown(day: date | None) -> dict[str, str]:
    """The date as metadata of a materialization; nothing if there is none."""
    return {"template_date": day.isoformat()} if day else {}
