"""Files are damaged and steps are killed; `dasd run` then makes what an undisturbed run makes.

One fault at a time, with every check and two drops: `make fault-injection`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from support.faults import KINDS, Asked, Undisturbed, explained

pytestmark = pytest.mark.slow

SEED = 2601_09088
MOST_RUNS = 40
OTHERS = ("checkpoints/", "releases/", "stage_report", "provenance_viewer/")
"""Stored beside the tables. What is trained is damaged in one round: it takes the longest."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    made = Undisturbed(tmp_path_factory.mktemp("faults") / "pipeline")
    yield made
    made.pipeline.close()


def do_harm(undisturbed: Undisturbed, turn: int, with_others: bool) -> tuple[set[str], Asked]:
    """Damage every file, each in one of the three ways; the steps that it hits, and what it costs.

    Over three turns each file gets all three.
    """
    rng = random.Random(SEED + turn)
    hit: set[str] = set()
    saved: Asked = Counter()
    for number, (step, name) in enumerate(undisturbed.stored()):
        if with_others or not name.startswith(OTHERS):
            costs = undisturbed.harm(step, name, KINDS[(number + turn) % len(KINDS)], rng)
            hit.add(step)
            saved += undisturbed.asked_by(step) - costs
    return hit, sum(map(undisturbed.asked_by, hit), Counter()) - saved


@pytest.mark.parametrize("turn", [1, 2])
def test_of_damaged_tables_each_is_made_again_and_nothing_else(
    undisturbed: Undisturbed, turn: int
) -> None:
    pipeline = undisturbed.pipeline
    hit, costs = do_harm(undisturbed, turn, with_others=False)
    pipeline.forget()
    code, out, errors = pipeline.dasd("run")
    assert code == 0, out + errors
    # What is below in the same run is made along.
    assert hit <= pipeline.begun().keys() and set(pipeline.begun().values()) == {1}
    assert undisturbed.differences() == []
    assert pipeline.asked() == costs


def test_with_all_damaged_and_each_step_killed_once_runs_come_to_the_same(
    undisturbed: Undisturbed,
) -> None:
    pipeline = undisturbed.pipeline
    hit, costs = do_harm(undisturbed, 0, with_others=True)
    rng = random.Random(SEED)
    steps = {step: n for step, n in undisturbed.moments.items() if step in hit}
    assert len(steps) == len(hit)
    pipeline.forget()
    pipeline.plan_kills({step: rng.randint(1, n) for step, n in steps.items()})
    for n_runs in range(1, MOST_RUNS):
        code, out, errors = pipeline.dasd("run")
        if code == 0:
            print(f"\n{len(hit)} steps, each killed once; {n_runs} runs")
            break
        assert "was killed by signal 9" in errors, out + errors
    killed = pipeline.killed()
    assert killed.keys() == hit
    assert undisturbed.differences() == []
    assert pipeline.asked() == +explained(costs, pipeline.begun(), killed)
