"""Everything is damaged, each step is killed; `dasd run` then makes what an undisturbed run makes.

Here up to the filtered responses, all at once. The whole graph, and one fault at a time:
`make fault-injection`.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.faults import Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.deployment("kills")]


def test_with_all_damaged_and_each_step_killed_runs_come_to_the_same(tmp_path: Path) -> None:
    made = Undisturbed(tmp_path / "pipeline", "+key:filtered_responses")
    rng = random.Random(2601_09088)
    hit = {step for step, _ in made.stored()}
    moments = {step: rng.randint(1, made.moments[step]) for step in sorted(hit)}
    costs = made.harm_all(turn=0, rng=rng)
    came = made.recover(hit, costs, moments)
    made.pipeline.close()
    print(f"\n{len(made.stored())} damaged, {len(hit)} killed, {came.n_runs} runs, {came.asked}")
    assert came.changed == []
    assert came.wrong == []
