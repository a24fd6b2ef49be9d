"""Evaluation sets: read without tolerance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dasd_assets.questions.evaluation_sets import read_benchmark
from dasd_assets.questions.normalisation import question_id
from resources.contracts import BENCHMARK_QUESTIONS, ContractError

GOOD = {"question": " Wie groß ist e\u0301? ", "domain": "math", "answer": 2}


def write(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "math.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def test_questions_are_normalised_as_the_training_questions_are(tmp_path: Path) -> None:
    rows = read_benchmark(write(tmp_path, GOOD), "held_out", 1_000)
    assert rows.schema.equals(BENCHMARK_QUESTIONS, check_metadata=True)
    assert rows.to_pylist() == [
        {
            "question_id": question_id("math", "Wie groß ist é?"),
            "benchmark": "held_out",
            "domain": "math",
            "question": "Wie groß ist \u00e9?",
            "answer": "2",
        }
    ]


def test_one_bad_row_refuses_the_whole_set_and_names_the_first(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD, {**GOOD, "domain": "poetry"}, {})
    with pytest.raises(ContractError, match=r"2 row\(s\) cannot be used; .* line 2: unknown_dom"):
        read_benchmark(file, "held_out", 1_000)


def test_a_missing_or_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="the evaluation set 'held_out' is missing"):
        read_benchmark(tmp_path / "none.jsonl", "held_out", 1_000)
    with pytest.raises(ContractError, match="'held_out' has no questions"):
        read_benchmark(write(tmp_path), "held_out", 1_000)
