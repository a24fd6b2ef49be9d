"""Slots of pools: whatever runs side by side, no GPU is asked for twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.compute.gpus import TooFewGpusError, gpus_present, pool_limits, usable_gpus

ASKED = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 8), max_size=5)


@given(ASKED, st.integers(0, 32))
def test_all_slots_in_use_fit_the_machine_and_none_is_left_that_fits(
    asked: dict[str, int], gpus: int
) -> None:
    try:
        slots = pool_limits(asked, gpus)
    except TooFewGpusError:
        assert max(asked.values()) > gpus
        return
    assert set(slots) == {pool for pool, n in asked.items() if n}
    assert all(n >= 1 for n in slots.values())
    if sum(asked.values()) <= gpus:
        in_use = sum(slots[pool] * asked[pool] for pool in slots)
        assert in_use <= gpus
        assert all(in_use + asked[pool] > gpus for pool in slots)
    else:  # steps that have begun wait for each other's GPUs
        assert all(n == gpus // asked[pool] for pool, n in slots.items())


def test_what_is_left_goes_round() -> None:
    assert pool_limits({"teacher": 4, "student": 1, "cpu": 0}, 8) == {"student": 4, "teacher": 1}
    assert pool_limits({"gpus": 8}, 8) == {"gpus": 1}


def test_pools_that_do_not_fit_side_by_side_share_the_gpus() -> None:
    assert pool_limits({"teacher": 8, "student": 1}, 8) == {"student": 8, "teacher": 1}


def test_too_few_gpus_are_told_with_the_remedy() -> None:
    with pytest.raises(TooFewGpusError, match=r"one step of training \(16\) asks for more "
                       r"GPUs than there are, 8 .* Lower `compute"):  # fmt: skip
        pool_limits({"training": 16, "student": 1}, 8)


def test_gpus_are_declared_or_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3")
    assert gpus_present() == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus_present() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    monkeypatch.setenv("DASD_GPUS", "2")
    assert usable_gpus() == ["4", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("DASD_GPUS", "8")
    assert gpus_present() == 8
    monkeypatch.setenv("DASD_GPUS", "many")
    with pytest.raises(TooFewGpusError, match="DASD_GPUS=many: expected a number"):
        gpus_present()
