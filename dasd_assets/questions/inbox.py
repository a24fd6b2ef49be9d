"""The inbox: a folder of question drops, each of which becomes one question shard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dasd_assets.questions.partition_keys import InvalidPartitionKeyError, question_shard_of

DROP_SUFFIX = ".jsonl"


class InboxError(ValueError):
    """A drop that is missing or an inbox that cannot be read; the message names the path."""


@dataclass(frozen=True)
class InboxListing:
    """Drops by shard, and files whose names cannot be partition keys with the reason."""

    drops: dict[str, Path]
    refused: dict[Path, str]


def list_inbox(inbox: Path) -> InboxListing:
    """Drops in the inbox, sorted by shard.

    Raises:
        InboxError: the inbox is no folder.
    """
    if not inbox.is_dir():
        raise InboxError(f"{inbox}: no such folder. Put question drops (*{DROP_SUFFIX}) into it.")
    drops, refused = {}, {}
    for file in sorted(inbox.iterdir()):
        if file.suffix != DROP_SUFFIX or file.name.startswith(".") or not file.is_file():
            continue
        try:
            drops[question_shard_of(file.name)] = file
        except InvalidPartitionKeyError as error:
            refused[file] = str(error)
    return InboxListing(drops, refused)


def drop_of_shard(inbox: Path, question_shard: str) -> Path:
    """The drop that a shard was registered from.

    Raises:
        InboxError: the drop is no longer in the inbox.
    """
    drop = inbox / f"{question_shard}{DROP_SUFFIX}"
    if not drop.is_file():
        raise InboxError(
            f"{drop}: the drop of question_shard {question_shard!r} is gone. Put it back, or "
            "delete the partition."
        )
    return drop
