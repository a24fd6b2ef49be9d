"""Which shards have a question or a band key, without reading the shards.

The index is made of what lies in the lake and can be deleted at any time. Before a shard is curated
each other one that is not in it as it is now is put in: a run of its keys, and its rows. Runs of
like size are merged, so that there are few of them and each entry is written again a few times
only: what a shard costs depends on its own questions, not on how many shards there are.

All files are new ones, and the catalogue that names them is replaced last, so after a kill the
index is as it was. A file that is gone or damaged is found when it is opened or read; the shards of
which it held something are put in again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.index.catalog import (
    CATALOG,
    FOLDER,
    Catalog,
    IndexedRun,
    IndexedShard,
    Keys,
)
from dasd_assets.questions.curation.index.rows_file import Row, read_rows, write_rows
from dasd_assets.questions.curation.index.shard_entries import (
    entries_of_bands,
    entries_of_ids,
    rows_of,
    taken_apart,
)
from dasd_assets.questions.curation.index.sorted_runs import (
    DamagedIndexError,
    Entries,
    Numbers,
    Run,
    in_order,
    merged,
    write_run,
)
from dasd_assets.questions.curation.index.tiers import full_tier, gathered
from dasd_assets.questions.curation.near_duplicates import Banding
from dasd_assets.questions.curation.shards import PART_BYTES, OtherShard
from resources.durable import told_when_full

if TYPE_CHECKING:
    from resources.lake.lake import Lake

Answer = TypeVar("Answer")

_logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """Entries that have one of the keys that were looked up.

    Attributes:
        indices: of the key, in those that were looked up.
        places: of the shard.
        rows: in that shard's questions.
    """

    indices: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


class QuestionIndex:
    """The index of a lake, for one curation at a time."""

    def __init__(self, lake: Lake, settings: Questions) -> None:
        """Read the catalogue; one that is damaged or of other settings counts as none."""
        self._lake = lake
        self._shingle_words = settings.near_duplicate_shingle_words
        self.banding = Banding(settings) if settings.near_duplicate_jaccard is not None else None
        name = self.banding.name if self.banding else ""
        self._catalog = Catalog(name)
        if (content := lake.content(CATALOG)) is not None:
            try:
                stored = Catalog.from_json(content)
                if stored.banding == name:
                    self._catalog = stored
            except ValueError as error:
                _logger.info("%s: %s; the index is made anew", CATALOG, error)
        self._others: dict[int, OtherShard] = {}

    def order(self, shard: str, version: str) -> int | None:
        """The order of a shard that is in the index in this version; None if it is not."""
        indexed = self._catalog.shards.get(shard)
        return indexed.order if indexed and indexed.version == version else None

    def compare_with(self, others: Iterable[OtherShard], order: int) -> None:
        """Look up in these shards from now on, and put in those that lack.

        Args:
            others: all shards but the one to curate.
            order: the order of that one.
        """
        by_order = sorted(others, key=lambda other: (other.order, other.name))
        n_earlier = sum(other.order < order for other in by_order)
        self._others = {
            index - n_earlier + (index >= n_earlier): other for index, other in enumerate(by_order)
        }
        self._retried(self._bring_up_to_date)

    def names(self) -> dict[int, str]:
        """The shards that are looked up in by their places: in their order, the one to curate 0."""
        return {place: other.name for place, other in self._others.items()}

    def find(self, keys: Numbers, are_bands: bool) -> Found:
        """Questions of the other shards that have one of the keys.

        Band keys of an earlier shard are made anew if it has those of other settings. A later one
        with other settings is stale itself, and will be compared with this one when it is curated
        again: it is found by its ids alone.

        Args:
            keys: ascending, each once.
            are_bands: they are band keys, no `id_keys`.
        """
        return self._retried(partial(self._find, keys, are_bands))

    def _find(self, keys: Numbers, are_bands: bool) -> Found:
        # No shard has place 0, which stands for "not looked up".
        places = np.zeros(self._catalog.next_slot, np.int64)
        for place, other in self._others.items():
            indexed = self._catalog.shards[other.name]
            if not are_bands or indexed.keys == "stored" or place < 0:
                places[indexed.slot] = place
        nothing = np.empty(0, np.int64)
        found = [Found(nothing, nothing, nothing)]
        for run in self._catalog.runs:
            with self._open(run) as opened:
                for indices, values in opened.look_up(keys):
                    said = taken_apart(values)
                    wanted = (said.is_band == are_bands) & (places[said.slots] != 0)
                    found.append(
                        Found(indices[wanted], places[said.slots[wanted]], said.rows[wanted])
                    )
        return Found(*map(np.concatenate, zip(*found, strict=True)))

    def rows(self, place: int, numbers: list[int]) -> Iterator[list[Row]]:
        """Some questions of a shard that was found by a band key, about PART_BYTES at a time."""
        while numbers:
            some = self._retried(partial(self._rows, place, numbers))
            yield some
            numbers = numbers[len(some) :]

    def _rows(self, place: int, numbers: list[int]) -> list[Row]:
        rows = self._catalog.shards[self._others[place].name].rows
        assert rows is not None
        name, record = rows
        return read_rows(self._lake.kept_file(name), record, numbers, PART_BYTES)

    def _open(self, run: IndexedRun) -> Run:
        return Run(self._lake.kept_file(run.name), run.record)

    def _retried(self, ask: Callable[[], Answer]) -> Answer:
        """The answer; what is found to be damaged is made again before it is asked for anew."""
        n_left: int | None = None
        while True:
            try:
                if n_left is not None:
                    self._bring_up_to_date()
                return ask()
            except DamagedIndexError as error:
                # Not looked at before something is damaged: one curation asks of many shards.
                n_left = len(self._catalog.files()) if n_left is None else n_left - 1
                if not n_left:
                    raise OSError(
                        f"{self._lake.root}/{FOLDER}: {error}, and neither is what was made in its "
                        "place: the disk or the store alters what is written. Look at it; the "
                        "folder can be deleted at any time"
                    ) from error
                _logger.warning("%s/%s, and is made again", FOLDER, error)
                self._catalog.forget(f"{FOLDER}/{error.name}")

    def _bring_up_to_date(self) -> None:
        """Put in what lacks, and leave out what is not looked up any more."""
        current: dict[str, IndexedShard] = {}
        missing: list[tuple[OtherShard, bool]] = []
        for place, other in self._others.items():
            indexed = self._catalog.shards.get(other.name)
            needs_keys = self.banding is not None and place < 0
            if indexed and indexed.version == other.version and (
                indexed.keys != "none" or not needs_keys
            ):  # fmt: skip
                current[other.name] = indexed
            else:
                missing.append((other, needs_keys))
        self._catalog.shards = current
        for other, needs_keys in missing:
            self._put_in(other, needs_keys)
            self._merge()
            self._lake.put(CATALOG, self._catalog.to_json())
        if missing:
            self._lake.keep_only(FOLDER, self._catalog.files())

    def _put_in(self, other: OtherShard, needs_keys: bool) -> None:
        slot = self._catalog.next_slot
        self._catalog.next_slot += 1
        self._add_runs(entries_of_ids(other, slot), slot)
        kept: Keys = "none"
        rows = None
        if self.banding is not None:
            kept, entries = entries_of_bands(other, slot, self.banding, self._shingle_words)
            if kept == "made" and not needs_keys:
                kept = "none"
            else:
                self._add_runs(entries, slot)
                rows = self._written("rows", lambda file: write_rows(file, rows_of(other)))
        self._catalog.shards[other.name] = IndexedShard(
            other.version, other.order, slot, kept, rows
        )

    def _add_runs(self, parts: Iterator[Entries], slot: int) -> None:
        """Add entries, not sorted, of one shard."""
        for entries in gathered(parts):
            self._add_run([in_order(entries)], (slot,))

    def _add_run(self, parts: Iterable[Entries], slots: tuple[int, ...]) -> None:
        name, record = self._written("run", lambda file: write_run(file, parts))
        self._catalog.runs.append(IndexedRun(name, record, slots))

    def _written(self, kind: str, write: Callable[[Path], Answer]) -> tuple[str, Answer]:
        """Write a new file; gives its name and its record."""
        name = f"{FOLDER}/{uuid.uuid4().hex}.{kind}"
        temporary = Path(self._lake.root, f"{name}.tmp")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with told_when_full(Path(self._lake.root, name)):
                record = write(temporary)
                self._lake.keep_file(temporary, name)
        finally:
            temporary.unlink(missing_ok=True)
        return name, record

    def _merge(self) -> None:
        """Make one run of those of a tier, until no tier is full."""
        alive = {shard.slot for shard in self._catalog.shards.values()}
        self._catalog.runs = [run for run in self._catalog.runs if alive.intersection(run.slots)]
        stays = np.zeros(self._catalog.next_slot, bool)
        stays[list(alive)] = True
        while full := full_tier(self._catalog.runs):
            slots = alive.intersection(slot for run in full for slot in run.slots)
            with ExitStack() as stack:
                runs = [stack.enter_context(self._open(run)) for run in full]
                self._add_run(
                    merged(runs, lambda values: stays[taken_apart(values).slots]),
                    tuple(sorted(slots)),
                )
            self._catalog.runs = [run for run in self._catalog.runs if run not in full]
