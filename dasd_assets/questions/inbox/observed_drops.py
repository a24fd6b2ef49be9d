"""What became of the inbox since it was last looked at: new, changed, gone and repeated drops."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from dasd_assets.questions.inbox.file_contents import LimitedReader, identity
from dasd_assets.questions.inbox.listing import InboxListing

SETTLED_SECONDS = 10.0
"""A drop that was written to more recently may still be being copied into the inbox."""


@dataclass(frozen=True)
class Seen:
    """One drop as it was last seen.

    Attributes:
        content: hash of what is in it.
        state: hash of its files' names, sizes, times of change and inodes; cheap to find out.
    """

    content: str
    state: str


@dataclass(frozen=True)
class InboxChanges:
    """What a look at the inbox found.

    Attributes:
        seen: every drop that has become another one or was touched since it was last seen, also
            those that are not registered: nothing is read twice.
        new: shards that are not registered yet, and whose content no other shard has.
        changed: registered shards whose drop has other content now.
        warnings: what a person should know: what to do is in each message.
    """

    seen: dict[str, Seen]
    new: list[str]
    changed: list[str]
    warnings: list[str]


def inbox_changes(
    listing: InboxListing,
    earlier: Mapping[str, Seen],
    registered: AbstractSet[str],
    settled_seconds: float = SETTLED_SECONDS,
    most_bytes: float = math.inf,
) -> InboxChanges:
    """Compare the inbox with what was seen of it before.

    A drop is only read when its state changed, and then whole: one that was copied again is no
    change. One that is being written is left for later, and so is the rest of a large one.

    Args:
        earlier: shard -> its drop as it was last seen, also of drops that are gone.
        registered: shards that are partitions already.
        settled_seconds: how long a drop must have been left alone.
        most_bytes: what is read this time, roughly.
    """
    warnings = list(dict.fromkeys(listing.refused.values()))
    owners = {seen.content: shard for shard, seen in earlier.items() if shard in registered}
    found = InboxChanges({}, [], [], warnings)
    reader, unread = LimitedReader(most_bytes), list[str]()
    for shard, drop in listing.drops.items():
        try:
            now = _look(drop, earlier.get(shard), settled_seconds, reader)
        except FileNotFoundError:
            continue  # removed while it was looked at
        except _NotReadYetError:
            unread.append(drop.name)
            continue
        if now is None:
            continue
        before = earlier.get(shard)
        if now != before:
            found.seen[shard] = now
        owner = owners.setdefault(now.content, shard)
        if shard not in registered and owner != shard:
            warnings.append(_repeated(drop, shard, owner, is_there=owner in listing.drops))
            continue
        if shard not in registered:
            found.new.append(shard)
        elif before is not None and now.content != before.content:
            found.changed.append(shard)
    if unread:
        warnings.append(_not_read_yet(unread, most_bytes))
    present = listing.drops.keys() | listing.ambiguous
    warnings += [_gone(shard) for shard in sorted((earlier.keys() & registered) - present)]
    return found


class _NotReadYetError(Exception):
    """More of a drop is left to read than one look may."""


def _look(
    drop: Path, before: Seen | None, settled_seconds: float, reader: LimitedReader
) -> Seen | None:
    """The drop as it is now; None while it is being written, or a folder without files."""
    files = [(file, file.stat()) for file in _files(drop)]
    if not files or any(0 <= time.time() - stat.st_mtime < settled_seconds for _, stat in files):
        return None
    facts = [
        # An object store says more in its own words, such as the ETag.
        (*identity(file, stat), str(getattr(stat, "as_info", dict)()))
        for file, stat in files
    ]
    state = _hash(facts)
    if before is not None and before.state == state:
        return before
    contents = [
        (file.relative_to(drop).as_posix(), reader.content(file, stat)) for file, stat in files
    ]
    if any(content is None for _, content in contents):
        raise _NotReadYetError
    for file, stat in files:
        reader.forget(file, stat)
    return Seen(_hash(contents), state)


def n_bytes(drop: Path) -> int:
    """Size of a drop, of all its files; 0 of one that is gone."""
    try:
        return sum(file.stat().st_size for file in _files(drop))
    except FileNotFoundError:
        return 0


def _files(drop: Path) -> Iterator[Path]:
    if not drop.is_dir():
        yield drop
        return
    for path in sorted(drop.rglob("*"), key=str):
        hidden = any(part.startswith(".") for part in path.relative_to(drop).parts)
        if not hidden and path.is_file():
            yield path


def _hash(facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _repeated(drop: Path, shard: str, owner: str, is_there: bool) -> str:
    same = f"{drop.name} has the same content as the drop of question_shard {owner!r}"
    if is_there:
        return f"{same} and is not registered as {shard!r}. Remove one of the two."
    return f"{same}, which is gone: was it renamed? Give it its old name {owner!r} back."


def _not_read_yet(names: list[str], most_bytes: float) -> str:
    return (
        f"{', '.join(names)}: not read to the end yet, as one look at the inbox reads about "
        f"{most_bytes / 1024**3:.0f} GiB; the next looks go on. Nothing is to be done."
    )


def _gone(shard: str) -> str:
    return (
        f"the drop of question_shard {shard!r} is gone. What was made of it stays as it is. Put "
        "the drop back; `dasd docs incremental-and-backfills` says how to take a shard out."
    )
