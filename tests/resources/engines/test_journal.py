"""The journal loses nothing that finished and asks for nothing twice."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.journaled import generate_with_journal
from support.stub_engine import IDENTITY, StubEngine, answer

from resources.engines import journal as journal_module
from resources.engines.journal import Journal, damaged_file
from resources.engines.journal_records import HEADER, JournalError
from resources.engines.protocol import Completion, GenerationRequest, Progress, Prompt

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
REQUESTS = [GenerationRequest(Prompt((1, 2)), 1.0, 1.0, 8, seed) for seed in range(300)]
KEYS = [request.key(IDENTITY) for request in REQUESTS]


def assert_same(found: Completion, expected: Completion) -> None:
    assert (found.key, found.finish_reason) == (expected.key, expected.finish_reason)
    np.testing.assert_array_equal(found.token_ids, expected.token_ids)
    np.testing.assert_array_equal(found.logprobs, expected.logprobs)


def assert_answers(found: list[Completion], requests: Sequence[GenerationRequest]) -> None:
    """One answer a request, in their order."""
    for completion, request in zip(found, requests, strict=True):
        assert_same(completion, answer(request))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.journal"


def write(path: Path, seeds: Sequence[int]) -> list[int]:
    """Append records; the size of the file after each."""
    sizes = []
    with Journal(path) as journal:
        for seed in seeds:
            journal.append(answer(REQUESTS[seed]))
            sizes.append(path.stat().st_size)
    return sizes


def kept(journal: Journal) -> list[str]:
    return [key.hex() for key in journal.finished.offsets]


def test_round_trip_of_all_reasons_missing_logprobs_and_nan(path: Path) -> None:
    answers = [answer(request) for request in REQUESTS]
    assert {len(a.token_ids) - len(a.logprobs) > 0 for a in answers} == {True, False}
    assert any(np.isnan(a.logprobs).any() for a in answers)
    assert any(not len(a.token_ids) for a in answers)
    assert len({a.finish_reason for a in answers}) == 4
    write(path, range(300))
    with Journal(path) as journal:
        assert len(journal) == 300
        assert_answers(list(journal.finished.read(KEYS)), REQUESTS)
        assert_answers(list(journal.finished.read(KEYS[7:2:-1])), REQUESTS[7:2:-1])


def test_only_offsets_are_held_in_memory(path: Path) -> None:
    write(path, [3, 4])
    with Journal(path) as journal:
        journal.append(answer(REQUESTS[5]))
        assert list(journal.finished.offsets) == [bytes.fromhex(key) for key in KEYS[3:6]]
        assert all(type(offset) is int for offset in journal.finished.offsets.values())
        assert not [v for v in vars(journal).values() if isinstance(v, Completion | list)]


def test_a_tail_torn_at_any_byte_is_put_aside(path: Path) -> None:
    _, whole, end = write(path, [3, 4, 5])
    content = path.read_bytes()
    aside = b""
    for size in range(whole, end):
        path.write_bytes(content[:size])
        aside += content[whole:size]
        with Journal(path) as journal:
            assert kept(journal) == KEYS[3:5]
            assert path.stat().st_size == whole
            assert journal.n_unreadable_bytes == size - whole
            journal.append(answer(REQUESTS[5]))
        assert path.read_bytes() == content
    assert damaged_file(path).read_bytes() == aside


def test_of_a_damaged_record_only_its_own_answer_is_lost(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ends = [len(HEADER), *write(path, [3, 4, 5])]
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        damaged_file(path).unlink(missing_ok=True)
        caplog.clear()
        with Journal(path) as journal:
            lost = next((n for n in range(3) if ends[n] <= position < ends[n + 1]), None)
            assert kept(journal) == [KEYS[3 + n] for n in range(3) if n != lost]
            found = list(journal.finished.read(kept(journal)))
            assert_answers(found, [REQUESTS[3 + n] for n in range(3) if n != lost])
            n_bytes = ends[0] if lost is None else ends[lost + 1] - ends[lost]
            assert journal.n_unreadable_bytes == n_bytes
            assert f"{n_bytes} bytes in 1 place(s)" in caplog.text
        aside = damaged_file(path).read_bytes() if damaged_file(path).exists() else b""
        assert path.read_bytes() + aside == damaged, "nothing is cut from the disk"


def test_a_gap_or_other_bytes_between_records_lose_what_they_hold(path: Path) -> None:
    first, second, _ = write(path, [3, 4, 5])
    content = path.read_bytes()
    between = {
        "part of a record is gone": content[:first] + content[second - 9 :],
        "zeros": content[:first] + bytes(second - first) + content[second:],
        "bytes too many": content[:second] + bytes(range(256)) * 5_000 + content[second:],
        "a length beyond the end": content[:first] + b"\xff\xff\xff\x7f" + content[first + 4 :],
    }
    for what, damaged in between.items():
        path.write_bytes(damaged)
        with Journal(path) as journal:
            expected = KEYS[3:6] if what == "bytes too many" else [KEYS[3], KEYS[5]]
            assert kept(journal) == expected, what
            journal.append(answer(REQUESTS[6]))
        assert path.read_bytes()[: len(damaged)] == damaged
        with Journal(path) as journal:
            assert kept(journal) == [*expected, KEYS[6]]


def test_a_record_larger_than_the_pieces_it_is_scanned_in(path: Path) -> None:
    n = 400_000
    long = Completion(KEYS[0], np.arange(n, dtype=np.int32), np.zeros(n, np.float32), "stop")
    with Journal(path) as journal:
        journal.append(long)
        journal.append(answer(REQUESTS[5]))
    with Journal(path) as journal:
        assert_same(next(journal.finished.read(KEYS[:1])), long)
        assert kept(journal) == [KEYS[0], KEYS[5]]


@pytest.mark.parametrize("size", range(len(HEADER)))
def test_a_header_torn_at_any_byte_is_written_anew(path: Path, size: int) -> None:
    path.write_bytes(HEADER[:size])
    write(path, [3])
    with Journal(path) as journal:
        assert kept(journal) == [KEYS[3]]


@pytest.mark.parametrize("content", [b"\x50\0\0\0\1\2\3\4old format", b"dasd journal 1\n", b"PAR1"])
def test_another_file_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"requests\.journal: not a request journal .* delete"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_second_writer_is_refused_until_the_first_is_done(path: Path) -> None:
    program = "import sys; from pathlib import Path; from resources.engines.journal import Journal"
    command = [sys.executable, "-c", f"{program}; Journal(Path(sys.argv[1]))", str(path)]
    with Journal(path) as journal:
        journal.append(answer(REQUESTS[3]))
        other = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert "JournalError" in other.stderr
        assert f"{path}: another process is writing this journal" in other.stderr
        journal.append(answer(REQUESTS[4]))
    with Journal(path) as journal:
        assert kept(journal) == KEYS[3:5]


def test_a_full_disk_leaves_whole_records(path: Path) -> None:
    class FullDisk:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, content: memoryview) -> int:
            self._file.write(content[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(path) as journal:
        journal.append(answer(REQUESTS[3]))
        file = journal._file
        journal._file = FullDisk(file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="the disk is full") as full:
            journal.append(answer(REQUESTS[4]))
        assert full.value.errno == errno.ENOSPC
        assert full.value.__cause__ is None  # a run shows the innermost cause
        journal._file = file
        journal.append(answer(REQUESTS[5]))
    with Journal(path) as journal:
        assert kept(journal) == [KEYS[3], KEYS[5]]


def test_the_disk_is_synced_beside_the_sampling_and_its_failure_is_not_hidden(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SECONDS_BETWEEN_SYNCS", 0.001)

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = Journal(path)
    journal.append(answer(REQUESTS[3]))
    while journal._synced < path.stat().st_size:  # no further append is needed
        time.sleep(0.001)
    monkeypatch.setattr(os, "fsync", fails)
    journal.append(answer(REQUESTS[4]))
    while journal._sync_error is None:
        time.sleep(0.001)
    monkeypatch.undo()
    with pytest.raises(OSError, match="Input/output"):
        journal.append(answer(REQUESTS[5]))
    with pytest.raises(OSError, match="Input/output"):
        journal.__exit__()


def test_a_record_that_is_damaged_later_is_not_returned(path: Path) -> None:
    first, _ = write(path, [3, 4])
    with Journal(path) as journal:
        finished = journal.finished
    content = bytearray(path.read_bytes())
    content[first + 20] ^= 1
    path.write_bytes(content)
    assert_answers(list(finished.read([KEYS[3]])), [REQUESTS[3]])
    with pytest.raises(JournalError, match="was whole and is now damaged"):
        list(finished.read([KEYS[4]]))


def test_a_retry_asks_only_for_what_is_missing(path: Path) -> None:
    write(path, [1, 5, 7])
    engine = StubEngine()
    progress: list[Progress] = []
    found = list(generate_with_journal(engine, REQUESTS[:10], path, progress.append))
    assert_answers(found, REQUESTS[:10])
    assert engine.asked == [KEYS[seed] for seed in range(10) if seed not in (1, 5, 7)]
    assert [p.done for p in progress] == list(range(4, 11))
    assert {p.total for p in progress} == {10}
    again = StubEngine()
    assert_answers(list(generate_with_journal(again, REQUESTS[:10], path)), REQUESTS[:10])
    assert not again.asked


def test_duplicates_are_asked_and_yielded_once(path: Path) -> None:
    engine = StubEngine()
    twice = [*REQUESTS[:4], *REQUESTS[:4]]
    assert_answers(list(generate_with_journal(engine, twice, path)), REQUESTS[:4])
    assert len(engine.asked) == 4


def test_other_requests_in_the_journal_are_not_yielded(path: Path) -> None:
    write(path, [20, 21])
    assert_answers(list(generate_with_journal(StubEngine(), REQUESTS[:2], path)), REQUESTS[:2])


@pytest.mark.parametrize("breaks", [True, False])
def test_an_engine_that_stops_early_fails_the_call_and_the_rest_is_asked_next_time(
    path: Path, breaks: bool
) -> None:
    class StopsEarly(StubEngine):
        def generate(self, requests: Any, on_progress: Any = None) -> Iterator[Completion]:
            yield from list(super().generate(requests, on_progress))[:6]
            if breaks:
                raise RuntimeError("the server is gone")

    said = "the server is gone" if breaks else "stub left 4 of 10 requests unanswered"
    with pytest.raises(RuntimeError, match=said):
        list(generate_with_journal(StopsEarly(), REQUESTS[:10], path))
    engine = StubEngine()
    assert_answers(list(generate_with_journal(engine, REQUESTS[:10], path)), REQUESTS[:10])
    assert engine.asked == KEYS[:4]
