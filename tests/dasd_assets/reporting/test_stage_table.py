"""The stage table and its text."""

from __future__ import annotations

import itertools
import re

import pyarrow as pa
import pytest

from dasd_assets.reporting.metrics import OVERALL
from dasd_assets.reporting.stage_table import (
    markdown_stage_table,
    render_answer_table,
    render_stage_table,
    stage_table,
)


def answers(checkpoint: str, benchmark: str, n_correct: int, n_questions: int = 20) -> pa.Table:
    questions = range(n_questions)
    return pa.table(
        {
            "checkpoint": [checkpoint] * n_questions,
            "benchmark": [benchmark] * n_questions,
            "question_id": [f"q{i}" for i in questions],
            "finish_reason": ["stop"] * n_questions,
            "n_tokens": pa.array([5] * n_questions, pa.int32()),
            "is_correct": [i < n_correct for i in questions],
        }
    )


def test_rows_hold_scores_and_gains_in_order() -> None:
    table = pa.concat_tables(
        [
            answers("dasd", "math", 18),
            answers("base", "math", 4),
            answers("base", "code", 0),
            answers("low_temperature", "math", 14),
            answers("low_temperature", "code", 2),
        ]
    )
    rows = stage_table(table, ["math", "code"])
    assert [row.checkpoint for row in rows] == [
        "base", "low_temperature", "high_temperature", "dasd",
    ]  # fmt: skip
    assert all(list(row.scores) == list(row.gains) == ["math", "code", OVERALL] for row in rows)
    base, low, high, dasd = rows
    assert set(base.gains.values()) == {None}
    assert low.gains["math"] is not None
    assert low.gains["math"].difference.value == pytest.approx(0.5)
    assert low.gains[OVERALL] is not None
    assert low.gains[OVERALL].difference.value == pytest.approx(0.3)
    assert set(high.scores.values()) == set(high.gains.values()) == {None}
    assert dasd.scores["math"] is not None
    # dasd is compared with the stage above, which was not measured, and never with another one.
    assert dasd.gains["math"] is None
    assert dasd.total_gains["math"] is not None
    assert dasd.total_gains["math"].difference.value == pytest.approx(0.7)
    assert dasd.total_gains[OVERALL] is None
    assert set(base.total_gains.values()) == {None}
    assert dasd.scores["code"] is dasd.scores[OVERALL] is None


def test_text_is_aligned_and_says_what_is_missing() -> None:
    table = pa.concat_tables(
        [answers("base", "instruction_following", 4), answers("dasd", "instruction_following", 20)]
    )
    text = render_stage_table(stage_table(table, ["instruction_following", "code"]))
    lines = text.splitlines()
    assert lines[0].split() == ["instruction"]
    assert lines[1].split() == ["following", "code", "overall"]
    assert lines[2].split() == ["base", "20.0", "±17.5", "–", "–"]
    assert lines[3].split() == ["low_temperature", "–", "–", "–"]
    assert lines[5].split() == ["dasd", "100.0", "±0.0", "–", "–"]
    assert "avg@k in %, k = 1; ± half of the 95% bootstrap interval" in text


def test_text_shows_gain_and_significance() -> None:
    table = pa.concat_tables([answers("base", "math", 4), answers("low_temperature", "math", 14)])
    lines = render_stage_table(stage_table(table, ["math"])).splitlines()
    assert lines[2].split()[:2] == ["low_temperature", "70.0"]
    assert lines[3].split() == ["+50.0*", "+50.0*"]
    weak = pa.concat_tables([answers("base", "math", 4), answers("low_temperature", "math", 5)])
    assert render_stage_table(stage_table(weak, ["math"])).splitlines()[3].split() == ["+5.0"] * 2


def test_markdown_has_the_gain_in_brackets_behind_each_score() -> None:
    table = pa.concat_tables([answers("base", "math", 4), answers("low_temperature", "math", 14)])
    lines = markdown_stage_table(stage_table(table, ["math"])).splitlines()
    assert lines[0] == "| checkpoint | math | overall |"
    assert lines[2] == "| base | 20.0 ±17.5 | 20.0 ±17.5 |"
    assert re.fullmatch(r"\| low_temperature( \| 70\.0 ±\d+\.\d \(\+50\.0\\\*\)){2} \|", lines[3])
    assert lines[4] == "| high_temperature | – | – |"
    assert "in brackets: gain over the row above, \\* if paired p < 0.05" in lines[-1]


def test_nothing_measured_is_said() -> None:
    rows = stage_table(answers("base", "math", 1).slice(0, 0), ["math"])
    text = render_stage_table(rows)
    assert text.count("–") == 8
    assert text.endswith("nothing measured yet")


def test_every_checkpoint_is_compared_with_every_one_before_it() -> None:
    table = pa.concat_tables(
        [
            answers("base", "math", 4),
            answers("low_temperature", "math", 10),
            answers("high_temperature", "math", 16),
            answers("dasd", "math", 13),
        ]
    )
    rows = {row.checkpoint: row for row in stage_table(table, ["math"])}
    found = {
        (before, after): gain["math"].difference.value
        for after, row in rows.items()
        for before, gain in row.differences.items()
        if gain["math"] is not None
    }
    n_correct = {"base": 4, "low_temperature": 10, "high_temperature": 16, "dasd": 13}
    assert found == {
        (before, after): pytest.approx((n_correct[after] - n_correct[before]) / 20)
        for before, after in itertools.combinations(n_correct, 2)
    }
    assert rows["dasd"].gains is rows["dasd"].differences["high_temperature"]
    assert rows["dasd"].total_gains is rows["dasd"].differences["base"]


def test_the_answers_behind_the_scores_as_text() -> None:
    verdicts = ["correct"] * 10 + ["no_final_answer"] * 5 + ["wrong_number"] * 5
    math = answers("base", "math", 10).append_column("verdict", [verdicts])
    twice = pa.concat_tables([math, math])  # two answers to each question
    lines = render_answer_table(stage_table(twice, ["math", "code"])).splitlines()
    assert lines[0].split() == ["pass@2", "cut", "off", "no", "answer", "tokens"]
    assert lines[1].split() == ["base", "math", "50.0", "0.0", "25.0", "5"]
    assert lines[2] == ""  # no overall: code was not measured
    unknown = render_answer_table(stage_table(answers("base", "math", 1), ["math"]))
    assert unknown.splitlines()[1].split() == ["base", "math", "0.0", "–", "5"]
    nothing = stage_table(answers("base", "math", 1).slice(0, 0), ["math"])
    assert render_answer_table(nothing) == "nothing measured yet"
