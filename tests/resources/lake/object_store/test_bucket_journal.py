"""Finished requests outlive the machine that asked them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.bucket_child import CELL, requests
from support.object_store import Fault, ObjectStore
from support.stub_engine import IDENTITY, StubEngine, answer

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.journal import Journal, finish_requests
from resources.engines.journal_records import JournalError
from resources.engines.protocol import Completion, GenerationRequest, ProgressCallback
from resources.lake import bucket_journal
from resources.lake.bucket_errors import ObjectStoreError
from resources.lake.bucket_folder import folder_of
from resources.lake.bucket_lake import BucketLake

pytestmark = pytest.mark.slow

Machine = Callable[..., BucketLake]
N = 200
REQUESTS = requests(N)
KEYS = [request.key(IDENTITY) for request in REQUESTS]
PIECES = "some/prefix/_journals/"


def journal_of(lake: BucketLake) -> Path:
    return lake.journal("teacher_responses", CELL)


def finish(lake: BucketLake, n: int = N) -> list[str]:
    """Finish the first requests; keys that the engine was asked, each answer being right."""
    engine = StubEngine()
    finished = finish_requests(engine, REQUESTS[:n], journal_of(lake))
    for request, found in zip(REQUESTS[:n], finished.read(KEYS[:n]), strict=True):
        expected = answer(request)
        assert (found.key, found.finish_reason) == (expected.key, expected.finish_reason)
        np.testing.assert_array_equal(found.token_ids, expected.token_ids)
        np.testing.assert_array_equal(found.logprobs, expected.logprobs)
    return engine.asked


class FailingEngine(StubEngine):
    """Ends with an error after so many answers."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = n

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        for n, completion in enumerate(super().generate(requests, on_progress)):
            if n == self._n:
                raise ConnectionError("the server is gone")
            yield completion


def test_a_killed_machine_s_finished_requests_are_not_asked_again(
    machine: Machine, store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    uri = f"s3://{bucket}/some/prefix"
    root = folder_of(uri, tmp_path / "killed")
    path = f"{PROJECT_ROOT / 'tests'}{os.pathsep}{PROJECT_ROOT}"
    child = subprocess.Popen(
        [sys.executable, "-m", "support.bucket_child", str(root), uri, str(N)],
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        in_bucket: set[str] = set()
        deadline = time.monotonic() + 60
        while len(in_bucket) < 50:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
            in_bucket = {c.key for c in bucket_journal.BucketJournal.at(
                tmp_path / "look", machine("look").bucket,
                "_journals/teacher_responses__high__drop-01").restored()}  # fmt: skip
    finally:
        child.kill()
        child.wait()
    asked = finish(machine("another"))
    assert not in_bucket & set(asked)
    assert len(asked) <= N - len(in_bucket)
    assert sum(PIECES in key for key in store.keys(bucket)) >= 2


def test_a_failed_step_leaves_all_it_has_and_the_finished_one_nothing(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    with pytest.raises(ConnectionError):
        finish_requests(FailingEngine(120), REQUESTS, journal_of(machine("one")))
    two = machine("two")
    assert len(finish(two)) == N - 120
    three = machine("three")
    assert finish(three) == []
    journal = journal_of(three)
    journal.unlink(missing_ok=True)
    assert not journal.exists()
    assert [key for key in store.keys(bucket) if PIECES in key] == []
    assert len(finish(machine("four"))) == N


def test_nothing_is_copied_twice_on_one_machine(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    lake = machine()
    finish(lake, 50)
    finish(lake, 50)
    assert sum(PIECES in key for key in store.keys(bucket)) == 1
    assert len(finish(lake, 80)) == 30
    assert len(finish(machine("two"), 80)) == 0


def test_what_only_this_machine_has_is_copied_when_it_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    with monkeypatch.context() as context:  # killed before the first copy
        context.setattr(bucket_journal.BucketJournal, "copy", lambda *_, **__: None)
        finish(one, 50)
    assert finish(one, 50) == []
    assert finish(machine("two"), 50) == []


def test_sampling_goes_on_while_the_store_is_away_and_is_copied_later(
    machine: Machine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(bucket_journal, "SECONDS_BETWEEN_COPIES", 0.0)
    monkeypatch.setattr("resources.engines.journal.SECONDS_BETWEEN_SYNCS", 0.01)
    one = machine("one")

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(503, "SlowDown") if method == "PUT" and PIECES in path else None

    with Journal(journal_of(one)) as journal:
        with store.failing(rule) as asked:
            journal.append(answer(REQUESTS[0]))
            _until(lambda: "on this machine alone for now" in caplog.text)
            journal.append(answer(REQUESTS[1]))
        assert asked
    assert len(finish(machine("two"), 3)) == 1


def test_large_gains_are_copied_before_the_time_is_up(
    machine: Machine, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_journal, "SECONDS_BETWEEN_COPIES", 1e9)
    monkeypatch.setattr(bucket_journal, "MAX_BYTES_WITHOUT_COPY", 1)
    monkeypatch.setattr("resources.engines.journal.SECONDS_BETWEEN_SYNCS", 0.01)
    with Journal(journal_of(machine())) as journal:
        journal.append(answer(REQUESTS[0]))
        _until(lambda: [key for key in store.keys(bucket) if PIECES in key] != [])


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pieces_of_another_version_are_named(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    key = f"{PIECES}teacher_responses__high__drop-01/1"
    store.client().put_object(Bucket=bucket, Key=key, Body=b"dasd journal 1\n")
    with pytest.raises(JournalError, match=f"s3://{bucket}/{key}: not a request journal of this"):
        finish(machine(), 5)


def test_a_store_that_cannot_be_read_stops_before_anything_is_asked(
    machine: Machine, store: ObjectStore
) -> None:
    finish(machine("one"), 5)
    engine, journal = StubEngine(), journal_of(machine("two"))

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(403, "AccessDenied") if method == "GET" else None

    with store.failing(rule), pytest.raises(ObjectStoreError, match="may not do this"):
        finish_requests(engine, REQUESTS[:5], journal)
    assert engine.asked == []
