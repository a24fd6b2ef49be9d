"""Rollouts: which questions, with which cap, independent of order and of new shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.scripted_engine import Answer, ScriptedEngine, encode

from dasd_assets.mixed_policy_distillation.rollouts import (
    QUESTION_COLUMNS,
    chosen_questions,
    rollout_cap,
    sample_rollout_questions,
    sample_rollouts,
)
from resources.engines.protocol import GenerationRequest
from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE
from resources.lake.tables.mixed_policy_distillation import STUDENT_ROLLOUTS


def sample(questions: range, answers: int = 2, shard: str = "s", temperature: str = "") -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "response_id": f"r{question}-{answer}{temperature}", "question_id": f"q{question}",
            "domain": "math", "question": "?", "question_shard": shard, "response_text": "t",
            "n_student_tokens": 9, "score": 0.5, "rank": 1, "weight": 1.0,
        }
        for question in questions
        for answer in range(answers)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=DIVERGENCE_SAMPLE)


def chosen(table: pa.Table, n: int = 30, seed: int = 0) -> list[str]:
    rows = sample_rollout_questions(table, n, seed)
    assert rows.schema.equals(DIVERGENCE_SAMPLE)
    return list(rows["response_id"].to_pylist())


def question(response_id: str) -> str:
    return response_id.split("-")[0]


def test_one_answer_per_question() -> None:
    names = chosen(sample(range(100)))
    assert len(names) == len({question(name) for name in names}) == 30
    assert {name.split("-")[1] for name in names} == {"0", "1"}


def test_neither_order_nor_chance_but_the_seed_decides() -> None:
    table = sample(range(100))
    backwards = table.take(list(range(table.num_rows))[::-1])
    assert chosen(table) == chosen(table) == chosen(backwards)
    assert set(chosen(table)) != set(chosen(table, seed=1))


def test_a_new_shard_displaces_only_as_many_as_it_brings() -> None:
    old = sample(range(100))
    before = chosen(old)
    after = chosen(pa.concat_tables([old, sample(range(100, 150), shard="new")]))
    new = [name for name in after if int(question(name)[1:]) >= 100]
    assert 0 < len(new) < 30
    assert [name for name in after if name not in new] == before[: 30 - len(new)]


def test_fewer_questions_than_asked_for_are_all_taken() -> None:
    assert len(chosen(sample(range(5)))) == 5
    assert chosen(sample(range(0))) == []


@pytest.mark.parametrize(("n", "ratio", "cap"), [(100, 1.5, 150), (101, 1.5, 151), (1, 1.5, 1)])
def test_cap(n: int, ratio: float, cap: int) -> None:
    assert rollout_cap(n, ratio) == cap


def test_a_shard_reads_its_part_of_the_choice_without_the_answers(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    parts = {
        "low": pa.concat_tables([sample(range(40), 1, "a"), sample(range(40, 60), 1, "b")]),
        "high": sample(range(30, 90), 3, "b", "h"),
    }
    for name, rows in parts.items():
        lake.write("divergence_sample", rows, {"temperature": name})
    whole = lake.read_partitions("divergence_sample").drop_columns("temperature")
    expected = sample_rollout_questions(whole, 50, 7)
    for shard in ("a", "b"):
        rows = chosen_questions(lake, shard, 50, 7)
        assert rows.column_names == QUESTION_COLUMNS
        mine = [
            row["response_id"] for row in expected.to_pylist() if row["question_shard"] == shard
        ]
        assert rows["response_id"].to_pylist() == mine
        assert len(mine) > 5
    assert chosen_questions(lake, "c", 50, 7).num_rows == 0


def test_a_sample_that_changes_meanwhile_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(root=str(tmp_path))
    lake.write("divergence_sample", sample(range(5)), {"temperature": "low"})
    ids = lake.read_partitions(
        "divergence_sample", ["question_id", "response_id", "question_shard"]
    )
    lake.write("divergence_sample", sample(range(2)), {"temperature": "low"})
    monkeypatch.setattr(Lake, "read_partitions", lambda *_: ids)
    with pytest.raises(ContractError, match=r"5 answers were chosen, but 2 found.*changed"):
        chosen_questions(lake, "s", 10, 0)


ENDED = [*encode("student", "<think>\nA.\n</think>\n\nB"), *encode("student", "<|im_end|>")]
LONG = encode("student", "We add " * 40)


def scripted(request: GenerationRequest) -> Answer:
    """By the cap: ended, cut off, empty, ended by a server before the cap, a special token."""
    cap = request.max_tokens
    return {
        30: (ENDED, "stop"),
        15: (LONG[:15], "length"),
        3: ([], "length"),
        33: (LONG[:20], "length"),
        36: ([*LONG[:35], ENDED[-1]], "length"),
    }[cap]  # type: ignore[return-value]


def test_every_rollout_is_kept_with_its_cap_and_its_reasons(tmp_path: Path) -> None:
    lengths = [20, 10, 2, 22, 24, 40_000]
    asked = pa.Table.from_pylist(
        [
            {**sample(range(i, i + 1), 1).to_pylist()[0], "n_student_tokens": n}
            for i, n in enumerate(lengths)
        ],
        schema=DIVERGENCE_SAMPLE,
    )
    engine: Any = ScriptedEngine("student", scripted, context=10_000)

    def run(**changes: Any) -> list[dict[str, Any]]:
        settings = {"cap_ratio": 1.5, "temperature": 1.0, "system_prompt": "s", "seed": 0}
        rollouts = sample_rollouts(
            asked, engine, journal=tmp_path / "journal", **{**settings, **changes}
        )
        rows: list[dict[str, Any]] = pa.Table.from_batches(
            list(rollouts), STUDENT_ROLLOUTS
        ).to_pylist()
        return rows

    rows = run()
    assert [row["max_tokens"] for row in rows] == [30, 15, 3, 33, 36, 60_000]
    assert [row["n_teacher_response_tokens"] for row in rows] == lengths
    assert [row["is_truncated"] for row in rows] == [False, True, False, False, True, False]
    assert [[broken["rule"] for broken in row["broken_rules"]] for row in rows] == [
        [], [], ["empty_completion"], [], ["no_text"], ["empty_completion"],
    ]  # fmt: skip
    assert [row["finish_reason"] for row in rows][-1] == "context_exceeded"
    assert rows[0]["text"].endswith("B<|im_end|>")
    n_asked = len(engine.requests)
    assert n_asked == 5
    assert run() == rows
    assert len(engine.requests) == n_asked
    assert {row["seed"] for row in run(seed=1)}.isdisjoint(row["seed"] for row in rows)
