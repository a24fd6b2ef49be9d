"""The journal loses nothing that finished and asks for nothing twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from resources.engines.journal import Journal, generate_with_journal
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    ModelIdentity,
    Progress,
    ProgressCallback,
    Prompt,
)

ROOT = Path(__file__).parents[3]
IDENTITY = ModelIdentity("stub", "1", "stub", "1")
REQUESTS = [GenerationRequest(Prompt((1, 2)), 1.0, 1.0, 8, seed) for seed in range(300)]


def answer(request: GenerationRequest) -> Completion:
    """What the stub engine answers: it depends on the seed only."""
    rng = np.random.default_rng(request.seed)
    return Completion(
        key=request.key(IDENTITY),
        token_ids=rng.integers(0, 1000, request.seed % 50, dtype=np.int32),
        logprobs=-rng.random(request.seed % 50, dtype=np.float32),
        finish_reason="stop" if request.seed % 2 else "length",
    )


class StubEngine:
    """Answers at once and remembers what it was asked."""

    identity = IDENTITY

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        self.asked += [request.key(IDENTITY) for request in requests]
        for done, request in enumerate(reversed(requests), start=1):
            if on_progress:
                on_progress(Progress(done, len(requests), done, 1.0))
            yield answer(request)


def assert_same(found: Completion, expected: Completion) -> None:
    assert (found.key, found.finish_reason) == (expected.key, expected.finish_reason)
    np.testing.assert_array_equal(found.token_ids, expected.token_ids)
    np.testing.assert_array_equal(found.logprobs, expected.logprobs)


def assert_all_once(found: list[Completion], requests: Sequence[GenerationRequest]) -> None:
    by_key = {completion.key: completion for completion in found}
    assert len(found) == len(by_key) == len(requests)
    for request in requests:
        assert_same(by_key[request.key(IDENTITY)], answer(request))


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


def test_round_trip(path: Path) -> None:
    write(path, [0, 3, 4])
    with Journal(path) as journal:
        assert_all_once(list(journal.completions.values()), [REQUESTS[i] for i in (0, 3, 4)])


def test_a_tail_torn_at_any_byte_is_dropped(path: Path) -> None:
    _, whole, end = write(path, [3, 4, 5])
    content = path.read_bytes()
    for size in range(whole, end):
        path.write_bytes(content[:size])
        with Journal(path) as journal:
            assert list(journal.completions) == [REQUESTS[i].key(IDENTITY) for i in (3, 4)]
            assert path.stat().st_size == whole
            journal.append(answer(REQUESTS[5]))
        assert path.read_bytes() == content


def test_a_corrupt_record_ends_the_journal(path: Path) -> None:
    first, second, _ = write(path, [3, 4, 5])
    content = path.read_bytes()
    for position in range(first, second):
        broken = bytearray(content)
        broken[position] ^= 0x40
        path.write_bytes(broken)
        with Journal(path) as journal:
            assert list(journal.completions) == [REQUESTS[3].key(IDENTITY)]
        assert path.stat().st_size == first


def test_a_retry_asks_only_for_what_is_missing(path: Path) -> None:
    write(path, [1, 5, 7])
    engine, progress = StubEngine(), []
    found = list(generate_with_journal(engine, REQUESTS[:10], path, progress.append))  # type: ignore[arg-type]
    assert_all_once(found, REQUESTS[:10])
    missing = [request for request in REQUESTS[:10] if request.seed not in (1, 5, 7)]
    assert engine.asked == [request.key(IDENTITY) for request in missing]
    assert [p.done for p in progress] == list(range(4, 11))
    assert {p.total for p in progress} == {10}
    assert [p.n_tokens for p in progress] == list(range(1, 8))
    again = StubEngine()
    assert_all_once(list(generate_with_journal(again, REQUESTS[:10], path)), REQUESTS[:10])  # type: ignore[arg-type]
    assert not again.asked


def test_duplicates_are_asked_and_yielded_once(path: Path) -> None:
    engine = StubEngine()
    twice = [*REQUESTS[:4], *REQUESTS[:4]]
    assert_all_once(list(generate_with_journal(engine, twice, path)), REQUESTS[:4])  # type: ignore[arg-type]
    assert len(engine.asked) == 4


def test_other_requests_in_the_journal_are_not_yielded(path: Path) -> None:
    write(path, [20, 21])
    assert_all_once(list(generate_with_journal(StubEngine(), REQUESTS[:2], path)), REQUESTS[:2])  # type: ignore[arg-type]


CHILD = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("journal_tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
class Slow(tests.StubEngine):
    def generate(self, requests, on_progress=None):
        for completion in super().generate(requests, on_progress):
            time.sleep(0.002)
            yield completion
for c in tests.generate_with_journal(Slow(), tests.REQUESTS, Path(sys.argv[2])):
    print(c.key, flush=True)
"""


def test_sigkill_loses_nothing_and_nothing_is_asked_again(path: Path) -> None:
    seen: set[str] = set()
    for finished in (1, 2, 40, 90):  # each child goes on where the one before was killed
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, __file__, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert child.stdout
        fresh: set[str] = set()
        for line in child.stdout:
            if line.strip() not in seen:
                fresh.add(line.strip())
            if len(fresh) == finished:
                break
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        assert child.returncode == -signal.SIGKILL
        complete_lines = rest.split("\n")[:-1]  # the last line may be cut by the kill
        seen |= fresh | set(complete_lines)
        with Journal(path) as journal:
            assert seen <= set(journal.completions)
            kept = set(journal.completions)
        assert len(kept) < len(REQUESTS)
        seen = kept
    engine = StubEngine()
    assert_all_once(list(generate_with_journal(engine, REQUESTS, path)), REQUESTS)  # type: ignore[arg-type]
    assert set(engine.asked).isdisjoint(seen)
    assert len(engine.asked) + len(seen) == len(REQUESTS)
