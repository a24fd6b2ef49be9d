"""The mixed sample as it is written: as mixed in memory, with exactly its share, nothing lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.scripted_engine import encode, written
from support.small_lake import filled

from dasd_assets.mixed_policy_distillation.mixed_sample import (
    finish_continuations,
    off_policy_choice,
    off_policy_rows,
)
from dasd_assets.mixed_policy_distillation.write_sample import (
    MixedSample,
    Places,
    write_mixed_sample,
)
from dasd_assets.profile import load_profile
from dasd_assets.reporting.funnel import render_funnel
from dasd_assets.reporting.mixed_policy_funnel import (
    cut_counts,
    mixed_policy_steps,
    rollout_counts,
)
from dasd_assets.response_filtering import outcomes
from dasd_assets.response_filtering.outcomes import AllRejectedError
from resources.lake import lake as lake_module
from resources.lake.lake import Lake
from resources.lake.tables.mixed_policy_distillation import MIXED_POLICY_SAMPLE
from resources.lake.warehouse import open_warehouse

pytestmark = pytest.mark.slow

FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
SETTINGS = load_profile("tiny").response_filtering
SYSTEM_PROMPT = "You are a helpful assistant."
N = 30


def continuation(i: int) -> dict[str, Any]:
    said = (
        f"dd {i}.{FINAL}It is \\boxed{{{i}}}.<|return|>" if i % 3 else "dd"
    )  # every third is unfinished
    token_ids = encode("teacher", said)
    return {
        "continuation_id": f"c{i}", "rollout_id": f"o{i}", "question_id": f"q{i}",
        "domain": "math", "question": f"What is {i} + 0?", "finish_reason": "stop",
        "token_ids": token_ids, "logprobs": [-1.0] * len(token_ids), "prefix_text": "<think>\nWe a",
        "cut_part": "reasoning", "text": said,
        "cut_kind": "random" if i % 5 else "entropy", "cut_fraction": 0.75 if i % 5 else 0.5,
    }  # fmt: skip


def answer(i: int, answers: int = 2) -> dict[str, Any]:
    return {
        "response_id": f"r{i}", "question_id": f"q{i // answers}", "domain": "math",
        "question": f"What is {i // answers} + 0?", "response_text": f"text {i}",
        "n_student_tokens": i + 1, "weight": 1 + i / 4,
    }  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path))
    for shard in ("a", "b"):
        mine = [i for i in range(N) if (i < 20) == (shard == "a")]
        rollouts = [
            {"rollout_id": f"o{i}{other}", "is_truncated": not other,
             "broken_rules": [{"rule": "no_text", "evidence": "?"}] if other == "x" else []}
            for i in mine for other in ("", "x", "y")
        ]  # fmt: skip
        place = {"question_shard": shard}
        lake.write("student_rollouts", filled("student_rollouts", *rollouts), place)
        rows = filled("teacher_continuations", *map(continuation, mine))
        lake.write("teacher_continuations", rows, place)
    for name, numbers in {"low": range(60), "high": range(60, 200)}.items():
        rows = filled("divergence_sample", *map(answer, numbers))
        lake.write("divergence_sample", rows, {"temperature": name})
    return lake


def write(
    lake: Lake, n_off_policy: int = 40, distinct_questions: bool = True, seed: int = 0
) -> MixedSample:
    return write_mixed_sample(
        lake, written("student"), written("teacher"), SETTINGS, SYSTEM_PROMPT,
        n_off_policy=n_off_policy, distinct_questions=distinct_questions, seed=seed,
    )  # fmt: skip


def test_exactly_the_off_policy_share_to_other_questions(lake: Lake) -> None:
    sample = write(lake)
    rows = lake.read("mixed_policy_sample").to_pylist()
    assert (sample.n_mixed, sample.n_rejected, sample.written.n_rows) == (20, 10, 60)
    assert Counter(row["policy"] for row in rows) == {"mixed_policy": 20, "off_policy": 40}
    mixed = {row["question_id"] for row in rows if row["policy"] == "mixed_policy"}
    others = {row["question_id"] for row in rows if row["policy"] == "off_policy"}
    assert mixed.isdisjoint(others)
    assert len({row["sample_id"] for row in rows}) == 60
    assert {row["weight"] for row in rows[:20]} == {1.0}
    sampled = {row["response_id"]: row for row in map(answer, range(200))}
    for row in rows[20:]:
        source = sampled[row["sample_id"]]
        assert row["student_prefix_bytes"] == 0
        for name in ("question_id", "question", "response_text", "n_student_tokens", "weight"):
            assert row[name] == source[name]


def ids(lake: Lake) -> set[str]:
    return set(lake.read("mixed_policy_sample", columns=["sample_id"])["sample_id"].to_pylist())


def test_the_seed_draws_whatever_the_order_of_the_answers(lake: Lake) -> None:
    write(lake)
    first = ids(lake)
    for partition in lake.partitions("divergence_sample"):
        rows = lake.read("divergence_sample", partition)
        backwards = rows.take(list(range(rows.num_rows))[::-1]).combine_chunks()
        lake.write("divergence_sample", backwards, partition)
    write(lake)
    assert ids(lake) == first
    write(lake, seed=1)
    assert ids(lake) != first


def test_the_rows_are_those_that_are_mixed_in_memory(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    continuations = lake.read_partitions("teacher_continuations")
    finished = finish_continuations(
        continuations, written("student"), written("teacher"), SETTINGS, SYSTEM_PROMPT
    )
    off_policy = lake.read_partitions("divergence_sample")
    for distinct in (True, False):
        write(lake, 40, distinct)
        taken = finished.kept["question_id"] if distinct else pa.array([], pa.string())
        chosen = off_policy_choice(off_policy, taken, 40, 0)
        added = off_policy_rows(off_policy.to_batches(), chosen)
        expected = [finished.kept, pa.Table.from_batches(added, MIXED_POLICY_SAMPLE)]
        assert lake.read("mixed_policy_sample").equals(pa.concat_tables(expected))
        assert lake.read("rejected_continuations").equals(finished.rejected)
    # Read back in row groups of few rows, the same file is written.
    once = write(lake)
    monkeypatch.setattr(lake_module, "row_groups", lambda batches: _few_rows(batches))
    for table in ("divergence_sample", "teacher_continuations"):
        for partition in lake.partitions(table):
            lake.write(table, lake.read(table, partition), partition)
    monkeypatch.undo()
    assert write(lake).written.data_version == once.written.data_version


def _few_rows(batches: Any) -> Any:
    table = pa.Table.from_batches(list(batches))
    return [table.slice(start, 7) for start in range(0, table.num_rows, 7)]


def test_answers_are_verified_where_the_filters_verify_them(lake: Lake) -> None:
    settings = SETTINGS.model_copy(update={"verify_domains": ["math"]})
    rows = [{"question_id": f"q{i}", "answer": json.dumps(str(i + i % 2))} for i in range(1, N)]
    lake.write("questions", filled("questions", *rows), {"question_shard": "a"})
    write_mixed_sample(
        lake, written("student"), written("teacher"), settings, SYSTEM_PROMPT,
        n_off_policy=0, distinct_questions=True, seed=0, threads=2,
    )  # fmt: skip
    kept = lake.read("mixed_policy_sample", columns=["question_id"])["question_id"].to_pylist()
    assert kept == [f"q{i}" for i in range(N) if i % 3 and not i % 2]
    broken = {
        row["question_id"]: [each["rule"] for each in row["broken_rules"]]
        for row in lake.read("rejected_continuations").to_pylist()
    }
    assert broken["q1"] == ["incorrect_answer"]
    assert broken["q3"] == ["no_final_answer"]
    assert len(kept) + len(broken) == N


def test_fewer_answers_than_asked_for_are_all_mixed_in(lake: Lake) -> None:
    # 200 answers, two to each question; of the 30 questions with continuations 20 were kept.
    assert write(lake, 1_000).written.n_rows == 20 + 200 - 40
    assert write(lake, 1_000, distinct_questions=False).written.n_rows == 20 + 200
    assert write(lake, 0).written.n_rows == 20
    for partition in lake.partitions("divergence_sample"):
        lake.path("divergence_sample", partition).unlink()
    assert write(lake).written.n_rows == 20


def test_other_places_and_references_than_the_lakes_own(lake: Lake) -> None:
    settings = SETTINGS.model_copy(update={"verify_domains": ["math"]})
    places = Places(
        [{"question_shard": "b"}],
        [{"temperature": "low"}],
        {"try": "1"},
        {"try": "1", "sample": "x"},
    )
    sample = write_mixed_sample(
        lake, written("student"), written("teacher"), settings, SYSTEM_PROMPT,
        n_off_policy=1_000, distinct_questions=False, seed=0, places=places,
        references={f"q{i}": json.dumps(str(i)) for i in range(25)},
    )  # fmt: skip
    assert not lake.exists("mixed_policy_sample") and not lake.exists("rejected_continuations")
    rows = lake.read("mixed_policy_sample", {"try": "1", "sample": "x"}).to_pylist()
    mixed = [row["question_id"] for row in rows if row["policy"] == "mixed_policy"]
    assert mixed == [f"q{i}" for i in range(20, 25) if i % 3]
    assert {row["sample_id"] for row in rows[len(mixed) :]} == {f"r{i}" for i in range(60)}
    assert lake.read("rejected_continuations", {"try": "1"}).num_rows == sample.n_rejected == 7


def test_without_continuations_the_sample_is_off_policy(lake: Lake) -> None:
    for partition in lake.partitions("teacher_continuations"):
        lake.path("teacher_continuations", partition).unlink()
    sample = write(lake)
    assert (sample.n_mixed, sample.n_rejected, sample.written.n_rows) == (0, 0, 40)
    assert lake.read("rejected_continuations").num_rows == 0


def test_continuations_of_which_none_is_kept_are_the_cause(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(lake).written.data_version
    too_short = SETTINGS.model_copy(update={"max_student_tokens": 1})
    with pytest.raises(AllRejectedError, match=r"100 % of 30 continuations rejected: too_long 30"):
        write_mixed_sample(
            lake, written("student"), written("teacher"), too_short, SYSTEM_PROMPT,
            n_off_policy=0, distinct_questions=True, seed=0,
        )  # fmt: skip
    assert lake.read("rejected_continuations").num_rows == 10
    assert write(lake).written.data_version == before
    monkeypatch.setattr(outcomes, "FEWEST_TELLING", 31)
    told: list[str] = []
    written_all = write_mixed_sample(
        lake, written("student"), written("teacher"), too_short, SYSTEM_PROMPT,
        n_off_policy=3, distinct_questions=True, seed=0, warn=told.append,
    )  # fmt: skip
    assert written_all.written.n_rows == 3  # off-policy ones alone
    assert told[0].startswith("100 % of 30 continuations rejected: too_long 30")


def test_the_funnel_says_what_was_lost_and_why(lake: Lake) -> None:
    root = Path(lake.root)
    assert [step.n for step in mixed_policy_steps(open_warehouse(root))] == [90, 60, 30, 30, 0]
    write(lake)
    steps = mixed_policy_steps(open_warehouse(root))
    assert [(step.name, step.n, step.rejected) for step in steps] == [
        ("student rollouts", 90, {}),
        ("usable rollouts", 60, {"no_text": 30}),
        ("cut off by the cap", 30, {"ended by itself": 30}),
        ("continued by the teacher", 30, {}),
        ("mixed-policy samples", 20, {"no_final_answer": 10}),
    ]
    assert rollout_counts(open_warehouse(root), {"question_shard": "b"}) == {
        "rollouts": 30, "usable": 20, "truncated": 10, "cut_off_rate": 0.5,
        "rejected": {"no_text": 10},
    }  # fmt: skip


def test_the_funnel_says_how_rollouts_were_cut(lake: Lake) -> None:
    write(lake)
    warehouse = open_warehouse(Path(lake.root))
    assert cut_counts(warehouse, {"question_shard": "b"}) == {
        "entropy": {"n": 2, "mean_cut_fraction": 0.5},
        "random": {"n": 8, "mean_cut_fraction": 0.75},
    }
    (line,) = (
        line for line in render_funnel(mixed_policy_steps(warehouse)).splitlines()
        if line.startswith("continued by the teacher")
    )  # fmt: skip
    assert line.endswith(
        "cut at the student's boundary: 6 after 50% on average, at random: 24 after 75% on average"
    )


def test_an_empty_lake_has_no_funnel(tmp_path: Path) -> None:
    assert mixed_policy_steps(open_warehouse(tmp_path)) == []
    assert rollout_counts(open_warehouse(tmp_path), {})["cut_off_rate"] == 0.0
