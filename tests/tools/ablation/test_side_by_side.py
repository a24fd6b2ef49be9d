"""Steps run in processes of their own, in an order that their needs allow."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from support.ablation_children import note

from tools.ablation.side_by_side import StepFailedError, run_side_by_side
from tools.ablation.steps import Step

pytestmark = pytest.mark.slow

PROCESSES = multiprocessing.get_context("forkserver")
"""These steps need no torch imported before them."""


def step(name: str, *needs: str, seed: int = 0) -> Step:
    return Step(seed, name, None, name, name, needs=needs)


def run(steps: list[Step], folder: Path, workers: int = 2, done: tuple[str, ...] = ()) -> list[str]:
    """Names of the steps that were done, in the order in which they were."""
    finished: list[str] = []
    run_side_by_side(
        steps, partial(note, folder), PROCESSES,
        done={(0, name) for name in done}, workers=workers, logs=folder / "logs",
        on_done=lambda step: finished.append(step.name),
    )  # fmt: skip
    return finished


def times(folder: Path, name: str, seed: int = 0) -> list[int]:
    return [int(time) for time in (folder / f"{seed} {name}").read_text().split()]


def test_a_step_waits_for_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    steps = [step("a"), step("b", "a"), step("c", "a", "b"), step("d")]
    assert sorted(run(steps, tmp_path)) == ["a", "b", "c", "d"]
    assert times(tmp_path, "a")[1] <= times(tmp_path, "b")[0]
    assert times(tmp_path, "b")[1] <= times(tmp_path, "c")[0]
    assert (tmp_path / "logs" / "seed-0-c.log").read_text() == "this is c\n"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_no_more_at_once_than_workers(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    assert run([step(name) for name in names], tmp_path, workers=1) == names
    spans = sorted(times(tmp_path, name) for name in names)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_another_seeds_step_of_that_name_is_no_need(tmp_path: Path) -> None:
    steps = [step("b", "a", seed=1), step("a", seed=1)]
    run_side_by_side(
        steps, partial(note, tmp_path), PROCESSES,
        done={(0, "a")}, workers=2, logs=tmp_path / "logs", on_done=lambda step: None,
    )  # fmt: skip
    assert times(tmp_path, "a", 1)[1] <= times(tmp_path, "b", 1)[0]


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    assert run([step("a"), step("b", "a")], tmp_path, done=("a",)) == ["b"]
    assert run([step("a"), step("b", "a")], tmp_path, done=("a", "b")) == []


@pytest.mark.parametrize("how", ["breaks", "is killed"])
def test_a_failure_is_told_and_stops_only_what_needs_it(tmp_path: Path, how: str) -> None:
    steps = [step(how), step("after it", how), step("a"), step("b", "a")]
    with pytest.raises(StepFailedError) as failure:
        run(steps, tmp_path)
    log = tmp_path / "logs" / f"seed-0-{how}.log"
    assert str(failure.value) == f"seed 0, {how}: failed; its output is in {log}"
    assert ("on purpose" in log.read_text()) is (how == "breaks")
    assert not (tmp_path / "0 after it").exists()
    assert times(tmp_path, "b")
