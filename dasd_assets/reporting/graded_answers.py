"""Answers to evaluation questions with their verdicts: of one question, or a few as examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dasd_assets.reporting.metrics import NO_FINAL_ANSWER
from dasd_assets.reporting.report import template
from resources.lake.tables.evaluation import CHECKPOINTS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = dict[str, Any]

SHOWN_CHARACTERS: Final = 4_000
"""Of a text that is shown beside others: half of its beginning, half of its end."""

_ABOUT: Final = """
    answer_id, checkpoint, benchmark, question_id, domain, sample_index, seed, max_tokens,
    finish_reason, n_tokens, is_correct, verdict, extracted, detail
"""


@dataclass(frozen=True)
class BenchmarkStory:
    """One question of an evaluation set and what every checkpoint answered.

    Attributes:
        question: row of `benchmark_questions`.
        checkpoints: per checkpoint `n`, `n_correct`, `n_truncated`, `n_unanswered`, `mean_tokens`.
        answers: every answer without its text, by checkpoint, then sample index.
        opened: the answer that was asked for, with its text; None if a question was.
    """

    question: Row
    checkpoints: list[Row]
    answers: list[Row]
    opened: Row | None


def benchmark_story(warehouse: DuckDBPyConnection, name: str) -> BenchmarkStory | None:
    """The story of a question_id or an answer_id; None if no evaluation set has it.

    Args:
        warehouse: from `open_warehouse`.
    """
    opened = _rows(warehouse, f"SELECT {_ABOUT}, text FROM evaluation WHERE answer_id = $id", name)
    question_id = opened[0]["question_id"] if opened else name
    where = "benchmark = $benchmark AND question_id = $id"
    questions = _rows(warehouse, "FROM benchmark_questions WHERE question_id = $id", question_id)
    if opened:
        questions = [row for row in questions if row["benchmark"] == opened[0]["benchmark"]]
    if not questions:
        return None
    benchmark = questions[0]["benchmark"]
    order = f"ORDER BY array_position({[*CHECKPOINTS]}, checkpoint) NULLS LAST, checkpoint"
    return BenchmarkStory(
        question=questions[0],
        checkpoints=_rows(
            warehouse,
            f"""
            SELECT checkpoint, count(*) AS n, count(*) FILTER (is_correct) AS n_correct,
                   count(*) FILTER (finish_reason = 'length') AS n_truncated,
                   count(*) FILTER (verdict = '{NO_FINAL_ANSWER}') AS n_unanswered,
                   avg(n_tokens) AS mean_tokens
            FROM evaluation WHERE {where} GROUP BY checkpoint {order}
            """,
            question_id,
            benchmark=benchmark,
        ),
        answers=_rows(
            warehouse,
            f"SELECT {_ABOUT} FROM evaluation WHERE {where} {order}, sample_index",
            question_id,
            benchmark=benchmark,
        ),
        opened=opened[0] if opened else None,
    )


def render_answers(warehouse: DuckDBPyConnection, story: BenchmarkStory) -> str:
    """A page with the whole text of every answer of the story; it needs nothing but itself."""
    texts = warehouse.sql(
        "SELECT answer_id, text FROM evaluation WHERE benchmark = $benchmark AND question_id = $id",
        params={"benchmark": story.question["benchmark"], "id": story.question["question_id"]},
    ).fetchall()
    by_id = dict(texts)
    return template("answers.html.j2").render(
        title=f"Answers to {story.question['question_id']}",
        story=story,
        answers=[row | {"text": by_id[row["answer_id"]]} for row in story.answers],
        reference=shortened(story.question["answer"]),
    )


def graded_examples(
    warehouse: DuckDBPyConnection, checkpoint: str, benchmarks: Sequence[str]
) -> list[Row]:
    """The shortest right and the shortest wrong answer of a checkpoint to each evaluation set.

    Returns:
        Rows of `evaluation` with `prompt`, `reference` and a shortened `text`; sets in the order
        given, right answers first.
    """
    chosen = warehouse.sql(
        """
        SELECT answer_id FROM evaluation
        WHERE checkpoint = $checkpoint AND list_contains($benchmarks, benchmark)
        QUALIFY row_number() OVER (
            PARTITION BY benchmark, is_correct ORDER BY n_tokens, answer_id) = 1
        """,
        params={"checkpoint": checkpoint, "benchmarks": list(benchmarks)},
    ).fetchall()
    # Texts are read of these alone: a window over all of them would hold them all.
    rows = _rows(
        warehouse,
        f"""
        SELECT {", ".join(f"e.{name.strip()}" for name in _ABOUT.split(","))}, e.text,
               q.prompt, q.answer AS reference
        FROM evaluation e JOIN benchmark_questions q USING (benchmark, question_id)
        WHERE e.checkpoint = $id AND list_contains($chosen, e.answer_id)
        ORDER BY list_position($benchmarks, e.benchmark), e.is_correct DESC
        """,
        checkpoint,
        chosen=[answer_id for (answer_id,) in chosen],
        benchmarks=list(benchmarks),
    )
    return [
        row | {name: shortened(row[name]) for name in ("text", "prompt", "reference")}
        for row in rows
    ]


def shortened(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """The text, or its beginning and its end with what was left out said between them."""
    if len(text) <= most:
        return text
    left_out = len(text) - most
    return f"{text[: most // 2]}\n[… {left_out:,} characters …]\n{text[-most // 2 :]}"


def _rows(warehouse: DuckDBPyConnection, query: str, name: str, **parameters: Any) -> list[Row]:
    found = warehouse.sql(query, params={"id": name, **parameters}).to_arrow_table()
    return list(found.to_pylist())
