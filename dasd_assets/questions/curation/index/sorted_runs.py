"""Sorted runs: files of 64-bit keys with a value each, looked up without being read whole.

A run is cut into segments. Its end has the first key and the CRC-32 of each, so that a look-up
reads and verifies those segments alone that keys can lie in, and whoever knows the CRC-32 of the
end can tell whether any of it is what was written.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]

SEGMENT_ENTRIES = 1 << 15
_ENTRY_BYTES = 16
_END_BYTES = 12


class DamagedIndexError(Exception):
    """A file of the index is gone, or is not what was written; `name` is its name."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}")
        self.name = name


class Entries(NamedTuple):
    """Keys in ascending order, and the value of each; a key may be there several times."""

    keys: Numbers
    values: Numbers


@dataclass(frozen=True)
class RunRecord:
    """What was written.

    Attributes:
        n_entries: keys, those that are there several times included.
        end: CRC-32 of the end.
    """

    n_entries: int
    end: int


def write_run(file: Path, parts: Iterable[Entries]) -> RunRecord:
    """Write a run of entries that ascend from part to part, in bounded memory."""
    firsts, checksums, n_entries = list[int](), list[int](), 0
    with file.open("wb") as stream:
        for keys, values in _segments(parts):
            content = keys.tobytes() + values.tobytes()
            stream.write(content)
            firsts.append(int(keys[0]))
            checksums.append(zlib.crc32(content))
            n_entries += len(keys)
        end = np.array(firsts, "<u8").tobytes() + np.array(checksums, "<u4").tobytes()
        stream.write(end)
    return RunRecord(n_entries, zlib.crc32(end))


def _segments(parts: Iterable[Entries]) -> Iterator[Entries]:
    waiting, n_waiting = list[Entries](), 0
    for part in parts:
        waiting.append(part)
        n_waiting += len(part.keys)
        if n_waiting < SEGMENT_ENTRIES:
            continue
        keys, values = joined(waiting)
        whole = n_waiting - n_waiting % SEGMENT_ENTRIES
        for start in range(0, whole, SEGMENT_ENTRIES):
            some = slice(start, start + SEGMENT_ENTRIES)
            yield Entries(keys[some], values[some])
        waiting, n_waiting = [Entries(keys[whole:], values[whole:])], n_waiting - whole
    if n_waiting:
        yield joined(waiting)


def joined(parts: list[Entries]) -> Entries:
    """The entries of several parts, one part after the other."""
    return Entries(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def in_order(entries: Entries) -> Entries:
    """Entries sorted by key."""
    order = np.argsort(entries.keys, kind="stable")
    return Entries(entries.keys[order], entries.values[order])


class Run:
    """A run that is open for looking up."""

    def __init__(self, file: Path, record: RunRecord) -> None:
        """Open a run and verify its end.

        Raises:
            DamagedIndexError: it is gone, or not what was written.
        """
        self._name = file.name
        self._n_entries = record.n_entries
        n_segments = -(-record.n_entries // SEGMENT_ENTRIES)
        start = record.n_entries * _ENTRY_BYTES
        try:
            self._file = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            raise DamagedIndexError(self._name, "is gone") from None
        end = os.pread(self._file, n_segments * _END_BYTES, start)
        if os.fstat(self._file).st_size != start + len(end) or zlib.crc32(end) != record.end:
            self.close()
            raise DamagedIndexError(self._name, "is not what was written")
        self._firsts: Numbers = np.frombuffer(end, "<u8", n_segments)
        self._checksums = np.frombuffer(end, "<u4", n_segments, n_segments * 8)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    def segments(self) -> Iterator[Entries]:
        """All entries.

        Raises:
            DamagedIndexError: as `look_up`.
        """
        return map(self._segment, range(len(self._firsts)))

    def look_up(self, wanted: Numbers) -> Iterator[tuple[npt.NDArray[np.int64], Numbers]]:
        """Entries with one of the wanted keys: places in `wanted`, and the value of each.

        Args:
            wanted: ascending, each once.

        Raises:
            DamagedIndexError: a segment is not what was written.
        """
        # A key that is there several times may have begun before the segment whose first it is.
        begin = np.maximum(np.searchsorted(self._firsts, wanted, "left") - 1, 0)
        last = np.searchsorted(self._firsts, wanted, "right") - 1
        numbers = np.arange(len(self._firsts))
        lows, highs = np.searchsorted(last, numbers), np.searchsorted(begin, numbers, "right")
        for number in np.flatnonzero(lows < highs).tolist():
            low, high = int(lows[number]), int(highs[number])
            keys, values = self._segment(number)
            starts = np.searchsorted(keys, wanted[low:high], "left")
            counts = np.searchsorted(keys, wanted[low:high], "right") - starts
            found = np.flatnonzero(counts)
            if len(found):
                counts = counts[found]
                within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                yield (
                    np.repeat(low + found, counts),
                    values[np.repeat(starts[found], counts) + within],
                )

    def _segment(self, number: int) -> Entries:
        first = number * SEGMENT_ENTRIES
        n = min(SEGMENT_ENTRIES, self._n_entries - first)
        content = os.pread(self._file, n * _ENTRY_BYTES, first * _ENTRY_BYTES)
        if zlib.crc32(content) != self._checksums[number]:
            raise DamagedIndexError(self._name, "is not what was written")
        return Entries(np.frombuffer(content, "<u8", n), np.frombuffer(content, "<u8", n, n * 8))


def merged(runs: list[Run], stays: Callable[[Numbers], npt.NDArray[np.bool_]]) -> Iterator[Entries]:
    """The entries of several runs as of one, a segment of each in memory.

    Args:
        runs: open.
        stays: which of some values stay.

    Raises:
        DamagedIndexError: one of them is not what was written.
    """
    sources = [run.segments() for run in runs]
    nothing = Entries(np.empty(0, np.uint64), np.empty(0, np.uint64))
    held = [next(source, nothing) for source in sources]
    while any(len(each.keys) for each in held):
        bound = min(each.keys[-1] for each in held if len(each.keys))
        taken = []
        for number, each in enumerate(held):
            n = int(np.searchsorted(each.keys, bound, "right"))
            taken.append(Entries(each.keys[:n], each.values[:n]))
            held[number] = Entries(each.keys[n:], each.values[n:])
            if n and n == len(each.keys):
                held[number] = next(sources[number], nothing)
        keys, values = in_order(joined(taken))
        staying = stays(values)
        yield Entries(keys[staying], values[staying])
