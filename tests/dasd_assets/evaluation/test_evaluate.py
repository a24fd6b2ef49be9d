"""Answers of a checkpoint to an evaluation set: asked once, kept, graded within the limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.writing_engine import Writes

from dasd_assets.evaluation.evaluate import EARLIER, evaluate_checkpoint
from dasd_assets.profile import Benchmark, Evaluation, Verification
from dasd_assets.verification.grade import NotJudgedError
from dasd_assets.verification.graders import Graders
from resources.engines.protocol import Completion, FinishReason
from resources.lake.tables.evaluation import EVALUATION
from resources.lake.tables.questions import BENCHMARK_QUESTIONS

RIGHT = "<think>\nOnes.\n</think>\n\n\\boxed{3}"


def settings(k: int = 4, max_tokens: int = 9_000) -> Evaluation:
    sets = {"set": Benchmark(path="set.jsonl", max_tokens=max_tokens)}
    return Evaluation(benchmarks=sets, samples_per_question=k)


def questions(*texts: str, domain: str = "math", answer: Any = "3") -> pa.Table:
    rows = [
        {
            "question_id": f"q-{text}", "benchmark": "set", "domain": domain, "question": text,
            "prompt": f"{text}! Box it.", "answer": json.dumps(answer),
        }
        for text in texts
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=BENCHMARK_QUESTIONS)


def evaluated(table: pa.Table, engine: Any, journal: Path, **changes: Any) -> pa.Table:
    arguments: dict[str, Any] = {
        "checkpoint": "base", "settings": settings(), "system_prompt": "s", "seed": 0,
    }  # fmt: skip
    rows = evaluate_checkpoint(table, engine, journal=journal, **(arguments | changes))
    return pa.Table.from_batches(rows, EVALUATION)


def test_every_question_is_rendered_once_and_asked_k_times_at_temperature_1(
    tmp_path: Path,
) -> None:
    engine = Writes(RIGHT, "<think>\nTwos.\n</think>\n\n\\boxed{4}")
    rows = evaluated(questions("a", "b"), engine, tmp_path / "j").to_pylist()
    assert [messages[-1]["content"] for messages in engine.rendered] == [
        "a! Box it.", "b! Box it.",
    ]  # fmt: skip
    assert len(set(engine.asked)) == len(rows) == 8
    assert [(row["question_id"], row["sample_index"]) for row in rows] == [
        (name, index) for name in ("q-a", "q-b") for index in range(4)
    ]
    assert (settings().temperature, settings().top_p) == (1.0, 1.0)
    for row in rows:
        assert row["is_correct"] == ("{3}" in row["text"])
        assert row["verdict"] == ("correct" if row["is_correct"] else "wrong_number")
        assert row["extracted"] == row["text"][-2]
        assert (row["detail"] is None) == row["is_correct"]
        assert "".join(map(chr, row["token_ids"])) == row["text"]
    assert len({row["answer_id"] for row in rows}) == 8
    again = evaluated(questions("a"), engine, tmp_path / "k", checkpoint="dasd").to_pylist()
    assert [row["seed"] for row in again] == [row["seed"] for row in rows[:4]]


@pytest.mark.parametrize(
    ("text", "reason", "opens", "verdict"),
    [
        (RIGHT, "stop", "", "correct"),
        ("Ones.\n</think>\n\n\\boxed{3}", "stop", "<think>\n", "correct"),
        ("<think>\nOnes: \\boxed{3}", "stop", "", "no_final_answer"),
        ("Ones: \\boxed{3}", "length", "<think>\n", "no_final_answer"),
        ("Ones: \\boxed{3}", "stop", "<think>\n", "no_final_answer"),
        # A student that was never taught to think first: what it says is its answer,
        ("It is \\boxed{3}.", "stop", "", "correct"),
        # unless it was cut off.
        ("It is \\boxed{3}.", "length", "", "no_final_answer"),
        ("", "stop", "", "no_final_answer"),
    ],
)
def test_what_is_judged_is_the_final_part(
    tmp_path: Path, text: str, reason: FinishReason, opens: str, verdict: str
) -> None:
    engine = Writes(text, reason=reason)
    engine.opens = opens
    rows = evaluated(questions("a"), engine, tmp_path / "j")
    assert set(rows["verdict"].to_pylist()) == {verdict}
    assert set(rows["is_correct"].to_pylist()) == {verdict == "correct"}


def test_the_profiles_limits_are_those_of_the_graders(tmp_path: Path) -> None:
    hang = "<think>\nHm.\n</think>\n\n\\boxed{9^{9^{9^{9}}}}"
    limits = Verification(math_seconds=0.3)
    rows = evaluated(
        questions("a"),
        Writes(hang),
        tmp_path / "j",
        settings=settings(1),
        graders=Graders(limits=limits),
    )
    assert rows["verdict"].to_pylist() == ["timeout"]


class Silent(Graders):
    """Its judge is down."""

    def grade(self, *arguments: Any) -> Any:
        raise NotJudgedError("the judge of math cannot be asked")


def test_an_answer_without_a_verdict_is_none_that_is_wrong_by_rule(tmp_path: Path) -> None:
    (row,) = evaluated(
        questions("a"), Writes(RIGHT), tmp_path / "j", settings=settings(1), graders=Silent()
    ).to_pylist()
    assert (row["verdict"], row["is_correct"]) == ("not_judged", False)
    assert row["detail"] == "the judge of math cannot be asked"


def test_a_reference_that_fails_spoils_no_other_answer(tmp_path: Path) -> None:
    table = pa.concat_tables([questions("a", domain="science", answer="3"), questions("b")])
    rows = evaluated(table, Writes(RIGHT), tmp_path / "j").to_pylist()
    assert [row["verdict"] for row in rows] == ["unusable_reference"] * 4 + ["correct"] * 4
    assert rows[0]["detail"] == "science reference must be one letter, found '3'"
    assert not rows[0]["is_correct"]


def test_a_question_beyond_the_context_is_refused_before_anything_is_sampled(
    tmp_path: Path,
) -> None:
    engine = Writes(RIGHT, context=100)
    with pytest.raises(ValueError, match=r"set: question q-b+ cannot be asked of base: too long"):
        evaluated(questions("a", "b" * 99), engine, tmp_path / "j")
    assert engine.asked == []


class Breaks(Writes):
    """Stops after five answers."""

    def generate(self, requests: Any, on_progress: Any = None) -> Iterator[Completion]:
        for number, completion in enumerate(super().generate(requests, on_progress)):
            if number == 5:
                raise ConnectionError("gone")
            yield completion


def test_a_retry_asks_only_for_what_the_journal_has_not(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        evaluated(questions("a", "b"), Breaks(RIGHT), tmp_path / "j")
    engine = Writes(RIGHT)
    found = evaluated(questions("a", "b"), engine, tmp_path / "j")
    assert len(engine.asked) == 3
    assert found.equals(evaluated(questions("a", "b"), Writes(RIGHT), tmp_path / "fresh"))


def test_a_partition_made_again_keeps_answers_to_the_same_requests_and_grades_them_anew(
    tmp_path: Path,
) -> None:
    first = evaluated(questions("a", "b"), Writes(RIGHT), tmp_path / "j")
    engine = Writes("<think>\nNew.\n</think>\n\n\\boxed{5}")
    grown = pa.concat_tables([questions("c"), questions("b", "a", answer="5")])
    found = evaluated(
        grown, engine, tmp_path / "k", earlier=first.select(list(EARLIER)).to_batches()
    ).to_pylist()
    assert len(engine.asked) == 4  # those of c
    assert [row["verdict"] for row in found] == ["wrong_number"] * 12
    assert [row["extracted"] for row in found] == ["5"] * 4 + ["3"] * 8
    assert [row["text"] for row in found[4:]] == [RIGHT] * 8
    changed = Writes(RIGHT)
    evaluated(
        questions("a", "b"), changed, tmp_path / "l", settings=settings(max_tokens=8_000),
        earlier=first.select(list(EARLIER)).to_batches(),
    )  # fmt: skip
    assert len(changed.asked) == 8  # another cap is another request


@pytest.mark.parametrize("threads", [1, 3])
def test_answers_are_read_and_graded_no_faster_than_rows_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    graded: list[str] = []

    class Counting(Graders):
        def grade(self, domain: str, answer: str, *arguments: Any) -> Any:
            graded.append(answer)
            return super().grade(domain, answer, *arguments)

    monkeypatch.setattr("resources.lake.row_batches.ROWS_PER_BATCH", 4)
    names = [f"{n}" for n in range(20)]
    rows = evaluate_checkpoint(
        questions(*names), Writes(RIGHT), checkpoint="base", settings=settings(),
        system_prompt="s", seed=0, journal=tmp_path / "j", threads=threads, graders=Counting(),
    )  # fmt: skip
    assert graded == []
    next(rows)
    assert len(graded) == 4
    assert sum(batch.num_rows for batch in rows) == 76
