"""A drop looked at before it is added: what is usable, what not and why, what is known already."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from dasd_assets.profile import Layout, Profile
from dasd_assets.questions.curation.normalisation import question_id
from dasd_assets.questions.reading.data_files import data_files, passed_over
from dasd_assets.questions.reading.drops import layout_of, read_drop

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class DropCheck:
    """What a dry read of a drop found.

    Attributes:
        usable: rows that become questions unless curation finds them elsewhere.
        reasons: reason -> rows that go to quarantine.
        examples: the first of these, as file, line, reason and evidence.
        repeated: usable rows whose question an earlier row of the drop has.
        known: question_shard -> usable questions that it has already.
        passed_over: files of a folder that are not read.
        same_as: drop of the inbox with the very same content.
    """

    usable: int
    reasons: dict[str, int]
    examples: list[str]
    repeated: int
    known: dict[str, int]
    passed_over: list[str]
    same_as: str | None

    @property
    def new(self) -> int:
        """Questions that no shard has yet."""
        return self.usable - self.repeated - sum(self.known.values())


def check_drop(
    drop: Path,
    layout: Layout | None,
    profile: Profile,
    others: dict[str, Path],
    stored: dict[str, Iterable[str]],
) -> DropCheck:
    """Read a drop as `raw_questions` will, and compare its questions with those of the others.

    Args:
        others: drops of the inbox by shard.
        stored: question ids of shards that have been curated; the others' drops are read.

    Raises:
        DropError: the drop cannot be read at all.
    """
    ids: set[str] = set()
    usable = repeated = 0
    reasons: Counter[str] = Counter()
    examples: list[str] = []
    for part in read_drop(drop, layout, profile.questions.max_row_bytes, profile.domains):
        for name in _ids_of(part.rows):
            usable += 1
            repeated += name in ids
            ids.add(name)
        for row in part.quarantined.to_pylist():
            reasons[row["reason"]] += 1
            if len(examples) < MAX_EXAMPLES:
                examples.append(f"{row['drop']}:{row['line']}: {row['reason']}: {row['evidence']}")
    known: dict[str, int] = {}
    left = set(ids)
    for shard, other in others.items():
        theirs = stored.get(shard)
        found = left & set(_ids(shard, other, profile) if theirs is None else theirs)
        if found:
            known[shard] = len(found)
            left -= found
    same = (shard for shard in known if content_hash(others[shard]) == content_hash(drop))
    return DropCheck(
        usable, dict(reasons), examples, repeated, known, passed_over(drop), next(same, None)
    )


def _ids(shard: str, drop: Path, profile: Profile) -> Iterator[str]:
    settings = profile.questions
    layout = layout_of(shard, settings.layouts)
    for part in read_drop(drop, layout, settings.max_row_bytes, profile.domains):
        yield from _ids_of(part.rows)


def _ids_of(rows: pa.Table) -> Iterator[str]:
    columns = (rows[name].to_pylist() for name in ("domain", "question", "earlier_messages"))
    return map(question_id, *columns)


def content_hash(drop: Path) -> str:
    """Hash of a drop's data files in the order they are read in; names do not matter."""
    digest = hashlib.sha256()
    for file in data_files(drop):
        with file.path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
