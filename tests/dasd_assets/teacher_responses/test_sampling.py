"""From questions to rows: keys, retries with changed question files, streaming."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.stub_engine import IDENTITY, StubEngine

from dasd_assets.answering.requests import complete_all
from dasd_assets.teacher_responses.sampling import sample_responses
from resources.engines.protocol import Completion, GenerationRequest, Prompt
from resources.lake import row_batches
from resources.lake.row_batches import batches
from resources.lake.tables.questions import QUESTIONS
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES

PROMPT = Prompt((1, 2, 3), (("system", "s"), ("user", "q")), (("reasoning_effort", "low"),))
REQUEST = GenerationRequest(PROMPT, temperature=1.0, top_p=0.9, max_tokens=10, seed=1)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": dataclasses.replace(PROMPT, token_ids=(1, 2, 4))},
        {"prompt": dataclasses.replace(PROMPT, messages=(("system", "t"), ("user", "q")))},
        {"prompt": dataclasses.replace(PROMPT, messages=(("user", "s"), ("user", "q")))},
        {"prompt": dataclasses.replace(PROMPT, template_settings=(("reasoning_effort", "high"),))},
        {"prompt": dataclasses.replace(PROMPT, template_settings=())},
        {"prefix_token_ids": (9,)},
        {"temperature": 0.6},
        {"top_p": 1.0},
        {"max_tokens": 11},
        {"seed": 2},
        {"top_logprobs": 1},
    ],
    ids=str,
)
def test_each_part_of_a_request_changes_its_key(change: dict[str, Any]) -> None:
    assert dataclasses.replace(REQUEST, **change).key(IDENTITY) != REQUEST.key(IDENTITY)


@pytest.mark.parametrize("part", ["model", "revision", "engine"])
def test_model_revision_and_engine_change_the_key(part: str) -> None:
    other = dataclasses.replace(IDENTITY, **{part: "other"})
    assert REQUEST.key(other) != REQUEST.key(IDENTITY) == REQUEST.key(IDENTITY)


def test_tokens_do_not_wander_between_prompt_and_prefix() -> None:
    moved = dataclasses.replace(
        REQUEST, prompt=dataclasses.replace(PROMPT, token_ids=(1, 2)), prefix_token_ids=(3,)
    )
    assert moved.key(IDENTITY) != REQUEST.key(IDENTITY)


def questions(*texts: str) -> pa.Table:
    rows = [
        {
            "question_id": f"q-{text}", "domain": "math", "question": text, "answer": "1",
            "difficulty": None, "source": None, "drop": "d", "line": line,
        }
        for line, text in enumerate(texts, start=1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=QUESTIONS)


def sample(rows: pa.Table, engine: StubEngine, journal: Path, **changes: Any) -> pa.Table:
    settings: dict[str, Any] = {
        "temperature_name": "high", "temperature": 1.0, "samples_per_question": 3, "top_p": 1.0,
        "max_tokens": 100, "system_prompt": "s", "reasoning_effort": "high", "seed": 0,
    }  # fmt: skip
    found = sample_responses(rows, engine, journal=journal, **(settings | changes))
    return pa.Table.from_batches(list(found), TEACHER_RESPONSES)


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Equal rows; a NaN equals a NaN here."""
    assert json.dumps(found.to_pylist()) == json.dumps(expected.to_pylist())


class Breaks(StubEngine):
    """Stops after so many answers."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def generate(self, requests: Any, on_progress: Any = None) -> Iterator[Completion]:
        for number, completion in enumerate(super().generate(requests, on_progress)):
            if number == self._after:
                raise ConnectionError("gone")
            yield completion


def test_reordered_and_edited_question_files_neither_skip_nor_reuse_a_wrong_row(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "journal"
    with pytest.raises(ConnectionError):
        sample(questions("A", "B", "C", "D", "E"), Breaks(after=8), journal)  # E, D, and 2 of C
    edited = questions("E", "new", "C, edited", "D", "A")  # B is gone, C edited, one is new
    engine = StubEngine()
    found = sample(edited, engine, journal)
    assert len(engine.asked) == 3 * 3  # new, edited C and A; all of E and D were finished
    assert found["question"].to_pylist() == [
        text for text in ("E", "new", "C, edited", "D", "A") for _ in range(3)
    ]
    assert found["sample_index"].to_pylist() == [0, 1, 2] * 5
    assert_same(found, sample(edited, StubEngine(), tmp_path / "fresh"))


@pytest.mark.parametrize(
    "change",
    [
        {"system_prompt": "t"}, {"reasoning_effort": "low"}, {"temperature": 0.5}, {"top_p": 0.5},
        {"max_tokens": 99}, {"seed": 1}, {"temperature_name": "low"},
    ],
    ids=str,
)  # fmt: skip
def test_a_changed_setting_asks_everything_again(tmp_path: Path, change: dict[str, Any]) -> None:
    sample(questions("A", "B"), StubEngine(), tmp_path / "journal")
    engine = StubEngine()
    found = sample(questions("A", "B"), engine, tmp_path / "journal", **change)
    assert len(engine.asked) == 6
    fresh = sample(questions("A", "B"), StubEngine(), tmp_path / "fresh", **change)
    assert_same(found, fresh)


def test_a_prompt_beyond_the_context_gets_an_empty_row_in_its_place(tmp_path: Path) -> None:
    engine = StubEngine(context=100)
    rows = sample(questions("A", "B" * 200, "C"), engine, tmp_path / "journal").to_pylist()
    assert [row["finish_reason"] == "context_exceeded" for row in rows] == [
        question == 1 for question in range(3) for _ in range(3)
    ]
    assert all(row["token_ids"] == row["logprobs"] == [] for row in rows[3:6])
    assert len(engine.asked) == 6


def test_the_same_request_twice_gives_the_same_answer_twice(tmp_path: Path) -> None:
    engine: Any = StubEngine()
    other = dataclasses.replace(REQUEST, seed=5)
    found = list(complete_all(engine, [REQUEST, other, REQUEST], tmp_path / "journal"))
    assert [c.key for c in found if c] == [r.key(IDENTITY) for r in (REQUEST, other, REQUEST)]
    assert len(engine.asked) == 2


def test_answers_are_read_back_no_faster_than_rows_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_batches, "ROWS_PER_BATCH", 4)
    decoded = []

    class CountingEngine(StubEngine):
        def decode(self, token_ids: Any, skip_special_tokens: bool = False) -> str:
            decoded.append(len(token_ids))
            return super().decode(token_ids, skip_special_tokens)

    rows = iter(sample_responses(
        questions(*"ABCDEFGH"), CountingEngine(), temperature_name="high", temperature=1.0,
        samples_per_question=2, top_p=1.0, max_tokens=100, system_prompt="s",
        reasoning_effort="high", seed=0, journal=tmp_path / "journal",
    ))  # fmt: skip
    assert not decoded
    for n_taken in (4, 8, 12, 16):
        assert next(rows).num_rows == 4
        assert len(decoded) == n_taken


def test_batches_are_bounded_by_rows_and_by_values() -> None:
    schema = pa.schema([("ids", pa.list_(pa.int32())), ("n", pa.int64())])

    def rows_of(n: int, length: int) -> Iterator[dict[str, Any]]:
        return ({"ids": np.zeros(length, np.int32), "n": i} for i in range(n))

    assert [b.num_rows for b in batches(rows_of(600, 2), schema)] == [256, 256, 88]
    assert [b.num_rows for b in batches(rows_of(40, 65_536), schema)] == [16, 16, 8]
    assert [b.num_rows for b in batches(rows_of(2, 3_000_000), schema)] == [1, 1]
    assert list(batches([], schema)) == []
