"""Examples of right and wrong answers, and texts that are shortened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.small_lake import filled

from dasd_assets.reporting import graded_answers
from dasd_assets.reporting.graded_answers import graded_examples, shortened
from resources.lake.lake import Lake
from resources.lake.warehouse import open_warehouse


def put(lake: Lake, benchmark: str, *lengths_and_verdicts: tuple[int, bool], **row: Any) -> None:
    question = {"question_id": "q", "benchmark": benchmark, "prompt": "P", "answer": '"7"'}
    lake.write(
        "benchmark_questions", filled("benchmark_questions", question), {"benchmark": benchmark}
    )
    rows = [
        {
            "answer_id": f"a-{benchmark}{index}", "checkpoint": "dasd", "benchmark": benchmark,
            "question_id": "q", "n_tokens": n_tokens, "is_correct": is_correct,
            "text": "x" * n_tokens, **row,
        }
        for index, (n_tokens, is_correct) in enumerate(lengths_and_verdicts)
    ]  # fmt: skip
    place = {"checkpoint": "dasd", "benchmark": benchmark}
    lake.write("evaluation", filled("evaluation", *rows), place)


def test_the_shortest_right_and_wrong_answer_to_each_set(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    put(lake, "math", (9, True), (5, True), (7, False), (8, False))
    put(lake, "code", (3, False))
    put(lake, "unused", (1, True))
    rows = graded_examples(open_warehouse(tmp_path), "dasd", ["math", "code", "none"])
    assert [(row["answer_id"], row["is_correct"], row["text"]) for row in rows] == [
        ("a-math1", True, "xxxxx"), ("a-math2", False, "xxxxxxx"), ("a-code0", False, "xxx"),
    ]  # fmt: skip
    assert (rows[0]["prompt"], rows[0]["reference"]) == ("P", '"7"')
    assert graded_examples(open_warehouse(tmp_path), "base", ["math"]) == []


def test_long_texts_keep_their_beginning_and_their_end(tmp_path: Path) -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("ab" + "x" * 9 + "cd", 4) == "ab\n[… 9 characters …]\ncd"
    lake = Lake(root=str(tmp_path))
    put(lake, "math", (graded_answers.SHOWN_CHARACTERS + 1, True))
    (row,) = graded_examples(open_warehouse(tmp_path), "dasd", ["math"])
    assert "[… 1 characters …]" in row["text"]
