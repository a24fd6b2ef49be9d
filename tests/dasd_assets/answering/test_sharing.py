"""Which teachers answer a question: all that answer everything, and one of those that share."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dasd_assets.answering.sharing import teachers_of

NAMES = ("teacher", "b", "c", "d", "e")
IDS = [f"q{index}" for index in range(60)]


@st.composite
def shared_out(draw: st.DrawFn) -> dict[str, str | float]:
    """Teachers whose shares, in hundredths, add up to 1."""
    cuts = draw(st.sets(st.integers(1, 99), max_size=4))
    edges = [0, *sorted(cuts), 100]
    hundredths = [end - start for start, end in pairwise(edges)]
    return {name: n / 100 for name, n in zip(NAMES, hundredths, strict=False)}


@given(shared_out(), st.integers(0, 3))
def test_a_question_has_one_of_the_teachers_that_share_and_all_that_answer_all(
    shares: dict[str, str | float], seed: int
) -> None:
    before = {name: teachers_of(name, shares, seed) for name in IDS}
    assert all(len(found) == 1 for found in before.values())
    # Who answers everything takes no question from those that share.
    for place in (0, len(shares)):
        order = list(shares.items())
        with_all = dict([*order[:place], ("everything", "all"), *order[place:]])
        for name, found in before.items():
            after = teachers_of(name, with_all, seed)
            assert sorted(after) == sorted([*found, "everything"])
            assert after == [each for each in with_all if each in after]


def test_the_shares_are_what_was_asked_for_and_the_seed_shares_anew() -> None:
    ids = [f"q{index}" for index in range(4000)]
    shares = {"teacher": 0.7, "b": 0.2, "c": 0.1}
    owners = [teachers_of(name, shares, seed=0)[0] for name in ids]
    for name, share in shares.items():
        assert abs(owners.count(name) / len(ids) - share) < 0.03
    assert owners != [teachers_of(name, shares, seed=1)[0] for name in ids]


def test_a_teacher_that_answers_all_is_asked_every_question() -> None:
    assert all(teachers_of(name, {"teacher": "all"}, seed=0) == ["teacher"] for name in IDS)
