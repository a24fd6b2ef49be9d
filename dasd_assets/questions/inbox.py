"""The inbox: a folder of question drops, each of which becomes one question shard."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from dasd_assets.questions.partition_keys import (
    DROP_SUFFIXES,
    InvalidPartitionKeyError,
    question_shard_of,
)


class InboxError(ValueError):
    """A drop that is missing or an inbox that cannot be read; the message names the path."""


@dataclass(frozen=True)
class InboxListing:
    """Drops by shard, and files and folders that cannot be one with the reason."""

    drops: dict[str, Path]
    refused: dict[Path, str]


def list_inbox(inbox: Path) -> InboxListing:
    """Drops in the inbox, sorted by shard: files with a suffix of a drop, and folders.

    Names that begin with a dot are left out: that is how to copy a large drop in before it is
    complete.

    Raises:
        InboxError: the inbox is no folder.
    """
    if not inbox.is_dir():
        raise InboxError(
            f"{inbox}: no such folder. Put question drops ({', '.join(DROP_SUFFIXES)}, or folders "
            "of them) into it."
        )
    found: defaultdict[str, list[Path]] = defaultdict(list)
    refused = {}
    for path in sorted(inbox.iterdir()):
        is_drop = path.is_dir() or (path.is_file() and path.name.endswith(DROP_SUFFIXES))
        if path.name.startswith(".") or not is_drop:
            continue
        try:
            found[question_shard_of(path.name)].append(path)
        except InvalidPartitionKeyError as error:
            refused[path] = str(error)
    for shard, paths in found.items():
        if len(paths) > 1:
            refused |= dict.fromkeys(paths, _ambiguous(shard, paths))
    drops = {shard: paths[0] for shard, paths in sorted(found.items()) if len(paths) == 1}
    return InboxListing(drops, refused)


def drop_of_shard(inbox: Path, question_shard: str) -> Path:
    """The drop that a shard was registered from.

    Raises:
        InboxError: the drop is no longer in the inbox, or there is a second one of that name.
    """
    named = [inbox / question_shard, *(inbox / f"{question_shard}{end}" for end in DROP_SUFFIXES)]
    drops = [
        path for path in named if path.exists() and question_shard_of(path.name) == question_shard
    ]
    if not drops:
        raise InboxError(
            f"{inbox}: the drop of question_shard {question_shard!r} is gone ({question_shard} "
            f"with {', '.join(DROP_SUFFIXES)} or a folder). Put it back, or delete the partition."
        )
    if len(drops) > 1:
        raise InboxError(_ambiguous(question_shard, drops))
    return drops[0]


def _ambiguous(shard: str, paths: list[Path]) -> str:
    names = " and ".join(path.name for path in paths)
    return f"{names} would all be question_shard {shard!r}. Rename or remove all but one."
