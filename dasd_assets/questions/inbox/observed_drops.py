"""What became of the inbox since it was last looked at: new, changed, gone and repeated drops."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from dasd_assets.questions.inbox.listing import InboxListing

SETTLED_SECONDS = 10.0
"""A drop that was written to more recently may still be being copied into the inbox."""
HASHED_WHOLE_BYTES = 256 * 1024**2
"""Of a larger file the content hash covers its size, time of change, beginning and end."""
EDGE_BYTES = 1024**2


@dataclass(frozen=True)
class Seen:
    """One drop as it was last seen.

    Attributes:
        content: hash of what is in it.
        state: hash of its files' names, sizes and times of change; cheap to find out.
    """

    content: str
    state: str


@dataclass(frozen=True)
class InboxChanges:
    """What a look at the inbox found.

    Attributes:
        seen: every drop that has become another one or was touched since it was last seen.
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
) -> InboxChanges:
    """Compare the inbox with what was seen of it before.

    A drop is only read when its state changed. One that is being written is left for later.

    Args:
        earlier: shard -> its drop as it was last seen, also of drops that are gone.
        registered: shards that are partitions already.
        settled_seconds: how long a drop must have been left alone.
    """
    warnings = list(dict.fromkeys(listing.refused.values()))
    owners = {seen.content: shard for shard, seen in earlier.items() if shard in registered}
    found = InboxChanges({}, [], [], warnings)
    for shard, drop in listing.drops.items():
        try:
            now = _look(drop, earlier.get(shard), settled_seconds)
        except FileNotFoundError:
            continue  # removed while it was looked at
        if now is None:
            continue
        before = earlier.get(shard)
        owner = owners.setdefault(now.content, shard)
        if shard not in registered and owner != shard:
            warnings.append(_repeated(drop, shard, owner, is_there=owner in listing.drops))
            continue
        if now != before:
            found.seen[shard] = now
        if shard not in registered:
            found.new.append(shard)
        elif before is not None and now.content != before.content:
            found.changed.append(shard)
    present = listing.drops.keys() | listing.ambiguous
    warnings += [_gone(shard) for shard in sorted((earlier.keys() & registered) - present)]
    return found


def _look(drop: Path, before: Seen | None, settled_seconds: float) -> Seen | None:
    """The drop as it is now; None while it is being written, or a folder without files."""
    files = list(_files(drop))
    stats = [(str(file), file.stat()) for file in files]
    if not files or any(0 <= time.time() - stat.st_mtime < settled_seconds for _, stat in stats):
        return None
    facts = [
        # An object store says more in its own words, such as the ETag.
        (name, stat.st_size, stat.st_mtime_ns, str(getattr(stat, "as_info", dict)()))
        for name, stat in stats
    ]
    state = _hash(facts)
    if before is not None and before.state == state:
        return before
    return Seen(
        _hash([(file.relative_to(drop).as_posix(), _content(file)) for file in files]), state
    )


def _files(drop: Path) -> Iterator[Path]:
    if not drop.is_dir():
        yield drop
        return
    for path in sorted(drop.rglob("*"), key=str):
        hidden = any(part.startswith(".") for part in path.relative_to(drop).parts)
        if not hidden and path.is_file():
            yield path


def _content(file: Path) -> str:
    stat = file.stat()
    with file.open("rb") as opened:
        if stat.st_size <= HASHED_WHOLE_BYTES:
            return hashlib.file_digest(opened, "sha256").hexdigest()
        begin = opened.read(EDGE_BYTES)
        opened.seek(-EDGE_BYTES, 2)
        edges = hashlib.sha256(begin + opened.read()).hexdigest()
    return _hash((stat.st_size, stat.st_mtime_ns, edges))


def _hash(facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _repeated(drop: Path, shard: str, owner: str, is_there: bool) -> str:
    same = f"{drop.name} has the same content as the drop of question_shard {owner!r}"
    if is_there:
        return f"{same} and is not registered as {shard!r}. Remove one of the two."
    return f"{same}, which is gone: was it renamed? Give it its old name {owner!r} back."


def _gone(shard: str) -> str:
    return (
        f"the drop of question_shard {shard!r} is gone. What was made of it stays as it is. Put "
        "the drop back; docs/incremental-and-backfills.md says how to take a shard out."
    )
