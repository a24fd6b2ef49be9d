"""Shards that are curated at the same time, in a folder; no pool holds them apart."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest
from support.curation_side_by_side import COMPARES, FIRST, SECOND, WAITS, curations, holders

from resources.lake.lake import Lake

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def test_of_two_shards_side_by_side_one_keeps_the_common_question(lake: Lake) -> None:
    with curations(lake) as (first, second):
        held = second.until(WAITS, COMPARES)
        first.go_on()
        assert first.ended_well(), first.printed
        second.go_on()
        assert second.ended_well(), second.printed
    assert (held, holders(lake)) == (WAITS, [FIRST])


def test_nobody_waits_for_one_that_was_killed(lake: Lake) -> None:
    with curations(lake) as (first, second):
        assert second.until(WAITS, COMPARES) == WAITS
        first.process.kill()
        second.go_on()
        assert second.ended_well(), second.printed
    assert holders(lake) == [SECOND]


def test_a_file_system_without_locks_is_said(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    told: list[str] = []
    refused = pytest.raises(OSError, match=r"curation\.lock: the file system has no locks.*Mount")
    with refused, lake.exclusively("curation", told.append):
        pass
    assert not told
