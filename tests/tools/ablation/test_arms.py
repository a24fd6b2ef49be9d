"""The tables of the experiment fit together."""

from __future__ import annotations

from tools.ablation.arms import (
    ARMS,
    BASE,
    CLAIMS,
    DRAWS,
    LOOKED_INTO,
    MIXED_POLICY,
    OFF_POLICY,
    ROLLOUT_STUDENT,
    STAGES,
)

NAMES = [arm.name for arm in ARMS]


def test_an_arm_stands_below_the_one_it_starts_from() -> None:
    assert len(set(NAMES)) == len(NAMES) and BASE not in NAMES
    for place, arm in enumerate(ARMS):
        assert arm.starts_from in [BASE, *NAMES[:place]], arm.name
        assert arm.sample in [*DRAWS, MIXED_POLICY, OFF_POLICY], arm.name
        if arm.sample in (MIXED_POLICY, OFF_POLICY):
            assert arm.starts_from == ROLLOUT_STUDENT


def test_a_sample_stands_below_those_whose_tokens_are_its_budget() -> None:
    for place, draw in enumerate(DRAWS.values()):
        assert set(draw.tokens_of) <= set(list(DRAWS)[:place])


def test_every_arm_is_compared_with_one_that_is_there() -> None:
    for comparison in (*CLAIMS, *LOOKED_INTO):
        assert comparison.better in NAMES and comparison.worse in NAMES
    in_use = {name for each in (*CLAIMS, *LOOKED_INTO) for name in (each.better, each.worse)}
    assert in_use == set(NAMES)
    assert set(STAGES) <= {BASE, *NAMES}


def test_schedules_are_compared_at_equal_tokens() -> None:
    of = {arm.name: arm for arm in ARMS}
    first, second = of[of["low_to_high"].starts_from].sample, of["low_to_high"].sample
    assert DRAWS[of["double_high"].sample].tokens_of == (first, second)
    assert DRAWS[of["high_as_low"].sample].tokens_of == ("low",)
    masked, plain = of["mixed_policy_masked"], of["mixed_policy"]
    assert (masked.sample, masked.starts_from) == (plain.sample, plain.starts_from)
