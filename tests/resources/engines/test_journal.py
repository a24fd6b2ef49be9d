"""The journal: what is finished is kept, what is torn is dropped, nothing is asked twice."""

from __future__ import annotations

import os
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
)

IDENTITY = ModelIdentity("stub", "1", "stub", "1")


def request(seed: int) -> GenerationRequest:
    return GenerationRequest((1, 2), 1.0, 1.0, 9, seed)


def answer(asked: GenerationRequest) -> Completion:
    """What a stub model says: it depends on the seed alone."""
    n = asked.seed % 7
    return Completion(
        asked.key(IDENTITY),
        np.arange(asked.seed, asked.seed + n, dtype=np.int32),
        -np.linspace(0.1, 1, n, dtype=np.float32),
        "stop" if asked.seed % 3 else "length",
    )


class StubEngine:
    identity = IDENTITY

    def __init__(self) -> None:
        self.asked: list[int] = []

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        for done, asked in enumerate(requests, start=1):
            self.asked.append(asked.seed)
            if on_progress:
                on_progress(Progress(done, len(requests), done, 1.0))
            yield answer(asked)


def same(a: Completion, b: Completion) -> bool:
    return (
        a.key == b.key
        and a.finish_reason == b.finish_reason
        and a.token_ids.tolist() == b.token_ids.tolist()
        and a.logprobs.tolist() == b.logprobs.tolist()
    )


def run(engine: StubEngine, journal: Path, n: int) -> dict[str, Completion]:
    requests = [request(seed) for seed in range(n)]
    completions = list(generate_with_journal(engine, requests, journal))  # type: ignore[arg-type]
    assert len({c.key for c in completions}) == len(completions)
    return {c.key: c for c in completions}


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        for seed in range(20):
            journal.append(answer(request(seed)))
    with Journal(tmp_path / "j") as journal:
        assert len(journal.completions) == 20
        for seed in range(20):
            expected = answer(request(seed))
            assert same(journal.completions[expected.key], expected)


def test_a_torn_tail_is_dropped_at_whatever_byte(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        for seed in (4, 5):
            journal.append(answer(request(seed)))
    whole = path.read_bytes()
    with Journal(tmp_path / "first") as journal:
        journal.append(answer(request(4)))
    n_first = (tmp_path / "first").stat().st_size
    for end in range(n_first, len(whole)):
        path.write_bytes(whole[:end])
        with Journal(path) as journal:
            assert list(journal.completions) == [request(4).key(IDENTITY)]
            journal.append(answer(request(6)))
        with Journal(path) as journal:
            assert len(journal.completions) == 2


def test_a_flipped_bit_ends_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        for seed in (4, 5, 6):
            journal.append(answer(request(seed)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with Journal(path) as journal:
        assert list(journal.completions) == [request(4).key(IDENTITY)]


def test_a_retry_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    first, second, third = StubEngine(), StubEngine(), StubEngine()
    run(first, tmp_path / "j", 5)
    finished = run(second, tmp_path / "j", 8)
    assert second.asked == [5, 6, 7]
    assert len(finished) == 8
    run(third, tmp_path / "j", 8)
    assert third.asked == []


def test_equal_requests_are_asked_once(tmp_path: Path) -> None:
    engine = StubEngine()
    twice = [request(1), request(2), request(1)]
    completions = list(
        generate_with_journal(engine, twice, tmp_path / "j")  # type: ignore[arg-type]
    )
    assert sorted(engine.asked) == [1, 2]
    assert len(completions) == 2


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_journal
class Slow(test_journal.StubEngine):
    def generate(self, requests, on_progress=None):
        for completion in super().generate(requests, on_progress):
            print(completion.key, flush=True)
            time.sleep(0.002)
            yield completion
test_journal.run(Slow(), Path(sys.argv[2]), 200)
"""


@pytest.mark.parametrize("after", [1, 17, 60, 133])
def test_sigkill_loses_nothing_that_was_finished(tmp_path: Path, after: int) -> None:
    journal = tmp_path / "j"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(journal)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    seen = [process.stdout.readline().strip() for _ in range(after)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    engine = StubEngine()
    finished = run(engine, journal, 200)
    assert len(finished) == 200
    assert all(same(finished[answer(request(s)).key], answer(request(s))) for s in range(200))
    # A key is printed before it is journaled: all but the last that was printed are kept.
    asked_again = {request(seed).key(IDENTITY) for seed in engine.asked}
    assert not asked_again & set(seen[:-1])
