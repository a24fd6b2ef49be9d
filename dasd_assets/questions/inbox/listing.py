"""The inbox: a place of question drops, each of which becomes one question shard.

A place is a local folder, or an object store's prefix (`s3://bucket/inbox`, `gs://…`), which is
read through fsspec and needs that store's package (s3fs, gcsfs), which is not among the project's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dasd_assets.profile import resolve_path
from dasd_assets.questions.inbox.links import leads_out
from dasd_assets.questions.inbox.partition_keys import (
    DROP_SUFFIXES,
    InvalidPartitionKeyError,
    question_shard_of,
)


class InboxError(ValueError):
    """A drop that is missing or an inbox that cannot be read; the message names the path."""


@dataclass(frozen=True)
class InboxListing:
    """Drops by shard; what cannot be one, with the reason; shards that two drops claim."""

    drops: dict[str, Path]
    refused: dict[Path, str]
    ambiguous: frozenset[str] = field(default=frozenset())


def inbox_at(inbox: str) -> Path:
    """The place that a profile's setting names. An object store's has a Path's methods, too."""
    if "://" not in inbox:
        return resolve_path(inbox)
    # fsspec, unlike the lake's bucket: an inbox may be in any store that fsspec knows, and only
    # folders and files are read; a lake is in S3, where conditional writes are.
    from upath import UPath

    return UPath(inbox)  # type: ignore[return-value]  # a Path by its methods


def list_inbox(inbox: Path) -> InboxListing:
    """Drops in the inbox, sorted by shard: files with a suffix of a drop, and folders.

    Whatever else lies there is refused with a reason, so that nothing is passed over silently.
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
    for path in sorted(inbox.iterdir(), key=str):
        if path.name.startswith("."):
            continue
        if leads_out(path, inbox):
            refused[path] = _leads_out(path)
            continue
        if not (path.is_dir() or (path.is_file() and path.name.endswith(DROP_SUFFIXES))):
            refused[path] = (
                f"{path.name} is passed over: it is no folder and no file whose name ends in "
                f"{', '.join(DROP_SUFFIXES)}. Rename or convert it, or take it out of the inbox."
            )
            continue
        try:
            found[question_shard_of(path.name)].append(path)
        except InvalidPartitionKeyError as error:
            refused[path] = str(error)
    ambiguous = frozenset(shard for shard, paths in found.items() if len(paths) > 1)
    for shard in ambiguous:
        refused |= dict.fromkeys(found[shard], _ambiguous(shard, found[shard]))
    drops = {shard: paths[0] for shard, paths in sorted(found.items()) if shard not in ambiguous}
    return InboxListing(drops, refused, ambiguous)


def drop_of_shard(inbox: Path, question_shard: str) -> Path:
    """The drop that a shard was registered from.

    Raises:
        InboxError: the drop is no longer in the inbox, there is a second one of that name, or it
            is a link to somewhere else.
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
    if leads_out(drops[0], inbox):
        raise InboxError(_leads_out(drops[0]))
    return drops[0]


@contextmanager
def local_drop(drop: Path, scratch: Path) -> Iterator[Path]:
    """The drop on this machine: itself, or a copy below `scratch` until the block ends."""
    if isinstance(drop, Path):
        yield drop
        return
    import shutil

    copy = scratch / drop.name
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        drop.fs.get(drop.path, str(copy), recursive=drop.is_dir())
        yield copy
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _leads_out(drop: Path) -> str:
    return (
        f"{drop}: is a symbolic link to {drop.resolve()}, outside of the inbox, and is not "
        "followed. Put the file or folder itself there."
    )


def _ambiguous(shard: str, paths: list[Path]) -> str:
    names = " and ".join(path.name for path in paths)
    return f"{names} would all be question_shard {shard!r}. Rename or remove all but one."
