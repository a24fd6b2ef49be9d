"""Shards that are curated at the same time, in a lake in a bucket, by whatever machines."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from support.curation_side_by_side import (
    COMPARES,
    FIRST,
    GOES_ON,
    SECOND,
    WAITS,
    curations,
    holders,
)
from support.object_store import Fault, ObjectStore

from resources.lake import bucket_lease
from resources.lake.bucket import Bucket
from resources.lake.bucket_errors import ObjectStoreError
from resources.lake.bucket_lake import BucketLake
from resources.lake.bucket_lease import LeaseLostError

pytestmark = pytest.mark.slow

Machine = Callable[..., BucketLake]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_lease, "SECONDS_BETWEEN_LOOKS", 0.05)


def test_of_two_shards_side_by_side_one_keeps_the_common_question(machine: Machine) -> None:
    lake = machine()
    with curations(lake) as (first, second):
        held = second.until(WAITS, COMPARES)
        first.go_on()
        assert first.ended_well(), first.printed
        second.go_on()
        assert second.ended_well(), second.printed
    assert (held, holders(lake)) == (WAITS, [FIRST])


def test_a_killed_holders_lease_ends_and_the_next_one_goes_on(machine: Machine) -> None:
    lake = machine()
    with curations(lake, lease_seconds=2.0) as (first, second):
        assert second.until(WAITS, COMPARES) == WAITS
        first.process.kill()
        second.until(GOES_ON)
        second.go_on()
        assert second.ended_well(), second.printed
    assert holders(lake) == [SECOND]


def test_a_holder_that_comes_back_too_late_publishes_nothing(machine: Machine) -> None:
    lake = machine()
    with curations(lake, lease_seconds=2.0) as (first, second):
        assert second.until(WAITS, COMPARES) == WAITS
        first.process.send_signal(signal.SIGSTOP)
        second.until(GOES_ON)
        second.until(COMPARES)
        first.process.send_signal(signal.SIGCONT)
        first.go_on()
        assert not first.ended_well()
        assert "another one does curation now. Run this step again" in first.printed
        second.go_on()
        assert second.ended_well(), second.printed
    assert holders(lake) == [SECOND]
    assert not lake.exists("questions", {"question_shard": FIRST})


def test_a_lease_is_renewed_while_the_store_fails_now_and_then(
    machine: Machine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_lease, "LEASE_SECONDS", 0.4)
    lake, told = machine("one"), list[str]()

    def rule(method: str, path: str, before: int) -> Fault | None:
        return Fault(503, "SlowDown") if method == "PUT" and before % 2 else None

    with lake.exclusively("curation", told.append), store.failing(rule) as asked:
        renewals = 0
        while renewals < 8:
            time.sleep(0.05)
            renewals = sum(method == "PUT" and "_locks" in path for method, path in asked)
        lake.write("questions", [], {"question_shard": FIRST})
    assert not told


def test_an_answer_that_is_lost_does_not_make_a_holder_wait_for_itself(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    def rule(method: str, path: str, before: int) -> Fault | None:
        is_first = method == "PUT" and "_locks" in path and not before
        return Fault(lose_answer=True) if is_first else None

    told: list[str] = []
    with store.failing(rule), machine().exclusively("curation", told.append):
        pass
    with machine("two").exclusively("curation", told.append):
        pass
    assert not told
    assert [key for key in store.keys(bucket) if "_locks" in key] == [
        "some/prefix/_locks/curation/000000000002"
    ]


def test_of_many_at_once_one_is_in_the_block(machine: Machine) -> None:
    from concurrent.futures import ThreadPoolExecutor

    inside, most = set[int](), list[int]()

    def work(number: int) -> None:
        lake = machine(str(number))
        for _ in range(3):
            with lake.exclusively("curation", lambda line: None):
                inside.add(number)
                most.append(len(inside))
                inside.discard(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert most == [1] * 12


def test_a_lease_that_was_lost_unnoticed_is_told_at_the_end(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    key = "some/prefix/_locks/curation/000000000002"
    lost = pytest.raises(LeaseLostError, match=r"000000000001: no sign of this process")
    with lost, machine().exclusively("curation", lambda line: None):
        store.client().put_object(Bucket=bucket, Key=key, Body=b"{}")


def test_a_store_without_conditional_writes_is_found_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(bucket: Bucket, key: str, content: bytes) -> bool:
        bucket.put(key, content)
        return True

    monkeypatch.setattr(Bucket, "create", replace)
    with pytest.raises(ObjectStoreError, match="needs a store with conditional writes"):
        machine().try_out()
