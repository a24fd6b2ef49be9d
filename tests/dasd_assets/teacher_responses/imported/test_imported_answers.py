"""Drops of answers in the shape of three public data sets: what is kept, what is quarantined."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import answer_drops
from transformers import AutoTokenizer

from dasd_assets.profile import PAPER_DOMAINS, ImportedAnswers, Layout
from dasd_assets.questions.reading.drops import read_drop
from dasd_assets.questions.reading.rows import DropError, UnusableRowError
from dasd_assets.teacher_responses.imported.checking import (
    AnswerReader,
    imported_answers,
    require_raw,
)
from dasd_assets.teacher_responses.imported.delivered import delivered_answers
from dasd_assets.teacher_responses.imported.sources import writers_format
from formats.token_bytes import TokenBytes
from resources.lake.tables.teacher_responses import IMPORTED_ANSWERS

TEACHER = Path(__file__).parents[4] / "tiny_world" / "models" / "teacher"
MAX_ROW_BYTES = 1_000_000


@pytest.fixture(scope="module")
def teacher() -> Any:
    return AutoTokenizer.from_pretrained(TEACHER)


def imported(
    drop: Path, layout: Layout, temperature: str, tokenizer: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    reader = AnswerReader(layout, MAX_ROW_BYTES, PAPER_DOMAINS, TokenBytes(tokenizer))
    quarantined: list[dict[str, Any]] = []
    scratch = drop.parent / "scratch"
    rows = delivered_answers(drop, layout, temperature, MAX_ROW_BYTES, scratch)
    kept = list(imported_answers(rows, reader, quarantined))
    assert not scratch.exists()
    return pa.Table.from_batches(kept, IMPORTED_ANSWERS).to_pylist(), quarantined


def test_the_authors_release_is_joined_and_every_bad_row_told(tmp_path: Path, teacher: Any) -> None:
    drop = answer_drops.released(tmp_path, teacher)
    kept, quarantined = imported(drop, answer_drops.RELEASED, "low", teacher)
    assert [row["answer_id"] for row in kept] == [f"u{number}" for number in range(12)]
    for number, row in enumerate(kept):
        companion = answer_drops.tokens(teacher, number)
        assert row["token_ids"] == companion["token_ids"]
        assert row["logprobs"] == pytest.approx(companion["logprobs"])
        assert (row["has_answer_tokens"], row["has_end_token"]) == (True, True)
        assert row["line"] == number + 1
    stage1 = "superior/Superior-Reasoning-SFT-gpt-oss-120b-stage1-train-data.jsonl"
    found = {(row["drop"], row["line"]): row["reason"] for row in quarantined}
    assert [found.pop((stage1, line)) for line in range(13, 24)] == [
        "tokens_do_not_spell_text", "logprobs_not_raw", "repeated_id", "repeated_id",
        "no_companion", "repeated_companion", "invalid_logprobs", "logprobs_not_per_token",
        "tokens_do_not_spell_text", "empty_answer", "unmapped_value",
    ]  # fmt: skip
    # A row of tokens without an answer is told once, where it is.
    assert found == {("superior/logprob/train-00000.parquet", 1): "no_answer"}
    evidence = {row["line"]: row["evidence"] for row in quarantined if row["drop"] == stage1}
    assert evidence[13].startswith("at byte 0 of its reasoning the text has 'Tens: ")
    assert "above max_p_teacher (0.98)" in evidence[14]
    assert evidence[15] == "u902 is the id of 2 rows of the drop"
    assert evidence[18].count("logprob/train-0000") == 2
    assert evidence[19] == "nan at token 0"
    assert evidence[21] == "the tokenizer has no token 200002"


def test_the_second_stage_has_its_own_rows_and_none_of_the_firsts_faults(
    tmp_path: Path, teacher: Any
) -> None:
    drop = answer_drops.released(tmp_path, teacher)
    kept, quarantined = imported(drop, answer_drops.RELEASED, "high", teacher)
    assert [row["answer_id"] for row in kept] == [f"u{number}" for number in range(12, 24)]
    assert quarantined == []


@pytest.mark.parametrize(
    ("put", "layout", "n_kept", "reasons"),
    [
        (answer_drops.open_thoughts, answer_drops.OPEN_THOUGHTS, 12, {"missing_field": 1}),
        (answer_drops.open_r1, answer_drops.OPEN_R1, 6, {"missing_field": 1, "repeated_id": 2}),
    ],
)
def test_answers_without_tokens_have_none_made_up(
    tmp_path: Path, teacher: Any, put: Any, layout: Layout, n_kept: int, reasons: dict[str, int]
) -> None:
    kept, quarantined = imported(put(tmp_path), layout, "low", teacher)
    assert len(kept) == len({row["response_id"] for row in kept}) == n_kept
    assert Counter(row["reason"] for row in quarantined) == reasons
    for name in ("token_ids", "logprobs", "has_answer_tokens", "has_end_token"):
        assert {row[name] for row in kept} == {None}


def test_the_questions_of_such_a_drop_are_read_as_any_others(tmp_path: Path, teacher: Any) -> None:
    drop = answer_drops.released(tmp_path, teacher)
    kept, _ = imported(drop, answer_drops.RELEASED, "low", teacher)
    contents = list(read_drop(drop, answer_drops.RELEASED, MAX_ROW_BYTES, PAPER_DOMAINS))
    questions = pa.concat_tables(part.rows for part in contents)
    assert questions.num_rows == 34  # of both stages; the companion is not among them
    assert [row["text"].count("<think>") for row in kept] == [1] * 12
    with pytest.raises(DropError, match=r"no column 'output', which answers\.text is to be read"):
        imported(answer_drops.open_r1(tmp_path), _with_text("output"), "low", teacher)


def _with_text(column: str) -> Layout:
    answers = {**answer_drops.OPEN_R1.model_dump(exclude_unset=True)["answers"], "text": column}
    return Layout.model_validate(
        answer_drops.OPEN_R1.model_dump(exclude_unset=True) | {"answers": answers}
    )


def test_the_same_answer_twice_has_two_ids_that_do_not_depend_on_others(
    tmp_path: Path, teacher: Any
) -> None:
    layout = answer_drops.OPEN_THOUGHTS
    once, _ = imported(answer_drops.open_thoughts(tmp_path / "a", 3, 1), layout, "low", teacher)
    more, _ = imported(answer_drops.open_thoughts(tmp_path / "b", 3, 2), layout, "low", teacher)
    assert {row["response_id"] for row in once} < {row["response_id"] for row in more}


@pytest.mark.parametrize(
    ("logprobs", "reason"),
    [
        ([-0.5, -0.25], None),
        ([0.00005, -0.5], None),  # rounding
        ([-0.5], "logprobs_not_per_token"),
        ([-0.5, float("nan")], "invalid_logprobs"),
        ([-0.5, float("-inf")], "invalid_logprobs"),
        ([0.7, -0.5], "invalid_logprobs"),  # probabilities, not their logarithms
        ([-0.01, -0.02], "logprobs_not_raw"),
    ],
)
def test_logprobs_have_to_be_possible(logprobs: list[float], reason: str | None) -> None:
    arrays = np.asarray([1, 2], np.int32), np.asarray(logprobs, np.float32)
    if reason is None:
        require_raw(*arrays, 0.98)
        return
    with pytest.raises(UnusableRowError) as raised:
        require_raw(*arrays, 0.98)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("answers", "reads"),
    [
        (None, "the teacher"),
        ({"tokens": {}}, "the teacher"),
        ({"tokens": {}, "model": str(TEACHER)}, str(TEACHER)),
        ({"model": "somebody/unknown"}, None),
    ],
)
def test_tokens_are_read_by_who_wrote_them(
    answers: dict[str, Any] | None, reads: str | None
) -> None:
    class Asked:
        def written_format(self) -> str:
            return "the teacher"

    settings = answers and ImportedAnswers.model_validate(
        {"text": "t", "temperatures": {"low": {}}, **answers}
    )
    found: Any = writers_format(settings, Asked())  # type: ignore[arg-type]
    assert getattr(getattr(found, "tokenizer", None), "name_or_path", found) == reads
