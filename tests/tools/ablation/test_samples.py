"""What is drawn for the arms: budgets that are equal, controls that are random, verdicts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from support.candidates import candidate_rows, put_into_lake

from dasd_assets.profile import Profile, load_profile
from dasd_assets.verification.graders import PAPER_GRADERS
from resources.lake.lake import Lake
from tools.ablation.arms import DRAWS
from tools.ablation.samples import Pool, judged, read_facts, read_pool, sample_place, write_draws

TINY = load_profile("tiny")
MOST_TOKENS = 200
"""Of a made-up answer; a budget of tokens is filled up to less than one."""


@pytest.fixture
def profile() -> Profile:
    settings = TINY.divergence_sampling.model_copy(
        update={"budget_samples": {"low": 20, "high": 30}}
    )
    return TINY.model_copy(update={"divergence_sampling": settings})


@pytest.fixture
def lakes(tmp_path: Path) -> tuple[Lake, Lake]:
    """A lake with 200 answers at each temperature, and one for the ablation."""
    lake = Lake(root=str(tmp_path / "lake"))
    for seed, temperature in enumerate(("low", "high")):
        put_into_lake(lake, candidate_rows(200, seed=seed), temperature)
    return lake, Lake(root=str(tmp_path / "ablation"))


@pytest.fixture
def pools(lakes: tuple[Lake, Lake]) -> dict[str, Pool]:
    """Every third answer is right."""
    found = {}
    for temperature in ("low", "high"):
        pool = read_pool(lakes[0], temperature, {}, PAPER_GRADERS)
        assert pool.is_right == {}  # no references
        ids = pool.responses["response_id"].to_pylist()
        verdicts = {name: int(name[1:]) % 3 == 0 for name in ids}
        found[temperature] = Pool(pool.responses, pool.shards, verdicts)
    return found


def drawn(
    lakes: tuple[Lake, Lake], pools: dict[str, Pool], profile: Profile, seed: int
) -> dict[str, list[str]]:
    """Response ids by the name of the sample."""
    lake, store = lakes
    written = write_draws(lake, store, DRAWS, pools, profile, seed)
    assert list(written) == list(DRAWS)
    return {
        name: store.read("divergence_sample", sample_place(seed, name))["response_id"].to_pylist()
        for name in written
    }


def test_budgets_are_equal(
    lakes: tuple[Lake, Lake], pools: dict[str, Pool], profile: Profile
) -> None:
    drawn(lakes, pools, profile, seed=0)
    tokens = {name: read_facts(lakes[1], 0, name)["n_tokens"] for name in DRAWS}
    assert read_facts(lakes[1], 0, "low")["n_samples"] == 20
    assert read_facts(lakes[1], 0, "high")["n_samples"] == 30
    for name, budget in {
        "low_random": tokens["low"],
        "high_random": tokens["high"],
        "high_as_low": tokens["low"],
        "low_share": tokens["low"],
        "low_longest": tokens["low"],
        "high_share": tokens["high"],
        "high_longest": tokens["high"],
        "double_high": tokens["low"] + tokens["high"],
    }.items():
        assert budget - 2 * MOST_TOKENS <= tokens[name] <= budget, name


def test_a_seed_changes_what_is_random_and_the_same_seed_nothing(
    lakes: tuple[Lake, Lake], pools: dict[str, Pool], profile: Profile
) -> None:
    first, again = (drawn(lakes, pools, profile, seed=1) for _ in range(2))
    other = drawn(lakes, pools, profile, seed=2)
    assert first == again
    assert set(first["low_random"]) != set(other["low_random"])
    assert set(first["high_random"]) != set(other["high_random"])
    assert set(first["low_random"]) != set(first["low"])


def test_each_way_to_rank_has_most_of_what_it_ranks_by(
    lakes: tuple[Lake, Lake], pools: dict[str, Pool], profile: Profile
) -> None:
    chosen = drawn(lakes, pools, profile, seed=0)
    facts = {name: read_facts(lakes[1], 0, name) for name in DRAWS}
    by_sample = {name: found["n_tokens"] / found["n_samples"] for name, found in facts.items()}
    for temperature in ("low", "high"):
        ways = [temperature, *(f"{temperature}_{way}" for way in ("share", "longest", "random"))]
        assert len({tuple(sorted(chosen[way])) for way in ways}) == len(ways)
        most = {
            name: max(ways, key=lambda way: facts[way][name])
            for name in ("n_teacher_sentences", "teacher_sentence_share")
        }
        assert most["n_teacher_sentences"] == temperature
        assert most["teacher_sentence_share"] == f"{temperature}_share"
        assert max(ways, key=by_sample.__getitem__) == f"{temperature}_longest"


def test_right_answers_of_a_sample_are_counted(
    lakes: tuple[Lake, Lake], pools: dict[str, Pool], profile: Profile
) -> None:
    chosen = drawn(lakes, pools, profile, seed=0)
    n_right = sum(int(name[1:]) % 3 == 0 for name in chosen["high"])
    assert read_facts(lakes[1], 0, "high")["right_share"] == n_right / len(chosen["high"])


def test_an_answer_is_judged_by_its_final_part() -> None:
    rows = pa.table(
        {
            "question_id": ["q1", "q1", "q1", "no reference", "no letter"],
            "domain": ["science"] * 5,
            "question": ["A or B?"] * 5,
            "response_text": [
                "<think>\nA or B.\n</think>\n\nThe answer is B.",
                "<think>\nThe answer is B.\n</think>\n\nThe answer is A.",
                "<think>\nThe answer is B.",
                "<think>\nSo.\n</think>\n\nThe answer is B.",
                "<think>\nSo.\n</think>\n\nThe answer is B.",
            ],
        }
    )
    verdicts = judged(rows, {"q1": '"B"', "no letter": "5"}, PAPER_GRADERS)
    assert verdicts == [True, False, False, None, None]
