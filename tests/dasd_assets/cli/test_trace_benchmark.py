"""`dasd trace` of an evaluation question: every answer of every checkpoint can be opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.html_page import Page
from support.small_lake import HOSTILE, filled
from typer.testing import CliRunner, Result

from dasd_assets.cli.main import app
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def answered(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two questions; of the first the base student has one answer of two right, dasd both."""
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("aime", "gsm"):
        asked = [
            {"question_id": f"q-{name}{n}", "benchmark": name, "question": f"Find {n}.",
             "prompt": f"Find {n}. Box it. {HOSTILE}", "answer": '"7"'}
            for n in (1, 2)
        ]  # fmt: skip
        place = {"benchmark": name}
        lake.write("benchmark_questions", filled("benchmark_questions", *asked), place)
    for checkpoint, verdicts in {
        "dasd": ["correct", "correct"], "base": ["correct", "no_final_answer"],
    }.items():  # fmt: skip
        rows = [
            {
                "answer_id": f"a-{checkpoint}{index}", "checkpoint": checkpoint,
                "benchmark": "aime", "question_id": "q-aime1", "sample_index": index,
                "verdict": verdict, "is_correct": verdict == "correct", "n_tokens": 10 + index,
                "finish_reason": "stop" if verdict == "correct" else "length",
                "text": f"{checkpoint} {index} says {HOSTILE}",
                "extracted": "7" if verdict == "correct" else None, "detail": None,
            }
            for index, verdict in enumerate(verdicts)
        ]  # fmt: skip
        place = {"checkpoint": checkpoint, "benchmark": "aime"}
        lake.write("evaluation", filled("evaluation", *rows), place)


def trace(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["trace", *arguments])


def words(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_question_shows_how_each_checkpoint_did_and_names_every_answer() -> None:
    told = words(trace("q-aime1"))
    for part in (
        "Evaluation question q-aime1",
        "evaluation set aime",
        'reference answer "7"',
        "Find 1. Box it.",
        "base 1 2 1 1 10",  # right, answers, cut off, no answer, mean tokens
        "dasd 2 2 0 0 10",
        "4 answer(s)",
        "a-base0 base 0 stop 10 correct 7",
        "a-base1 base 1 length 11 no_final_answer –",
        "a-dasd1 dasd 1 stop 11 correct 7",
    ):
        assert part in told, part
    assert told.index("a-base1") < told.index("a-dasd0")
    assert "says" not in told


def test_an_answer_is_opened_with_its_whole_text_as_text() -> None:
    result = trace("a-base1")
    told = words(result)
    assert "finish reason length after 11 of at most 1 tokens" in told
    assert "verdict no_final_answer" in told
    assert "base 1 says" in told
    assert "\x1b" not in result.stdout
    assert "a-dasd0" not in told


def test_the_page_has_every_answer_and_loads_nothing(tmp_path: Path) -> None:
    file = tmp_path / "answers.html"
    assert "4 answer(s)" in words(trace("q-aime1", "--html", str(file)))
    html = file.read_text(encoding="utf-8")
    page = Page(html, " ")
    for checkpoint in ("base", "dasd"):
        for index in (0, 1):
            assert f"{checkpoint} {index} says" in page.text
            assert f"a-{checkpoint}{index}" in page.values("id")
    assert not {tag for tag, _ in page.elements} & {"script", "img", "link", "iframe"}
    assert page.values("src") == page.values("href") == []


def test_a_question_that_nobody_was_asked_yet() -> None:
    told = words(trace("q-gsm2"))
    assert "Find 2." in told
    assert "0 answer(s)" in told


def test_a_training_question_that_is_an_evaluation_question_tells_both(lake: Lake) -> None:
    row = {"question_id": "q1", "benchmark": "aime", "prompt": "What is 1 + 1?", "answer": '"2"'}
    lake.write("benchmark_questions", filled("benchmark_questions", row), {"benchmark": "aime"})
    told = words(trace("q1"))
    assert "Evaluation question q1" in told
    assert "Rejected from drop-02.jsonl, line 1" in told


def test_an_unknown_id_is_refused_with_those_most_like_it() -> None:
    refused = trace("a-das")
    assert refused.exit_code == 2
    assert "a-dasd0" in refused.output
    assert "answer_id" in refused.output
