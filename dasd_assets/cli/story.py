"""What the lake knows about one question and its answers, from the drop to the checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dasd_assets.cli.story_steps import training_place
from resources.lake.bucket_folder import content_of, written_at

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = dict[str, Any]

SAMPLE_FILES = {
    "low_temperature": "divergence_sample/temperature=low/data.parquet",
    "high_temperature": "divergence_sample/temperature=high/data.parquet",
    "dasd": "mixed_policy_sample/data.parquet",
}
"""Checkpoint -> the file of the lake that it is trained on."""

_IDS = """
    SELECT question_id AS id, question_id, NULL AS response_id, question_shard, 1 AS preference
    FROM questions
    UNION ALL SELECT question_id, question_id, NULL, question_shard, 2 FROM rejected_questions
    UNION ALL SELECT response_id, question_id, response_id, question_shard, 1
    FROM teacher_responses
    UNION ALL SELECT rollout_id, question_id, response_id, question_shard, 1
    FROM student_rollouts
    UNION ALL SELECT continuation_id, question_id, response_id, question_shard, 1
    FROM teacher_continuations
"""

_ALL_IDS = f"""
    SELECT id FROM ({_IDS})
    UNION ALL SELECT question_id FROM benchmark_questions
    UNION ALL SELECT answer_id FROM evaluation
"""


class UnknownIdError(ValueError):
    """An id that nothing in the lake has; the message names those that look like it."""


@dataclass(frozen=True)
class Answer:
    """One answer of the teacher and what became of it.

    Attributes:
        sample: row of the view `samples`.
        settings: how it was sampled, from `teacher_responses`, with `n_tokens` and `text`.
        sentences: rows of the view `sentences`, in order; none if it was not scored.
        rivals: of the candidates it was ranked with: how many there are and were selected, and
            the worst rank selected, in its domain and in its length stratum; None if not ranked.
        better_siblings: answers to the same question, temperature and policy ranked above it.
        rollouts: the student's own answers whose cap its length set.
        continuations: the teacher's continuations of those, each with `broken_rules`.
        trained: rows of the view `training_samples` made of it, with their place in the packing.
    """

    sample: Row
    settings: Row
    sentences: list[Row]
    rivals: Row | None
    better_siblings: list[Row]
    rollouts: list[Row]
    continuations: list[Row]
    trained: list[Row]


@dataclass(frozen=True)
class Story:
    """A question, all its answers in short, and those asked for in full.

    Attributes:
        question: row of `questions`; None if curation left the question out.
        rejected: rows of `rejected_questions`: where it was delivered and not taken, and why.
        left_out_text: the question as delivered, if curation left it out.
        siblings: rows of the view `samples` of every answer to the question.
        answers: the answers that were asked for.
        checkpoints: state of every checkpoint by name.
    """

    question_id: str
    question: Row | None
    rejected: list[Row]
    left_out_text: str | None
    siblings: list[Row]
    answers: list[Answer]
    checkpoints: dict[str, Row]


def tell(warehouse: DuckDBPyConnection, lake: Path, name: str) -> Story:
    """The story of a question, or of one answer to it.

    Args:
        warehouse: from `open_warehouse(lake)`.
        name: a question_id (the story has all its answers), or a response_id, rollout_id or
            continuation_id (it has that answer).

    Raises:
        UnknownIdError: nothing in the lake has the id.
    """
    found = _find(warehouse, name)
    question_id = found["question_id"]
    # The shard is named wherever texts are read, so that only its files are.
    siblings = rows(
        warehouse,
        "SELECT * EXCLUDE (reasoning, answer, response_text) FROM samples "
        "WHERE question_id = $question_id AND question_shard = $question_shard "
        "ORDER BY sampling_temperature, sample_index",
        question_id=question_id,
        question_shard=found["question_shard"],
    )
    questions = rows(
        warehouse,
        "FROM questions WHERE question_id = $question_id AND question_shard = $question_shard",
        question_id=question_id,
        question_shard=found["question_shard"],
    )
    rejected = rows(
        warehouse,
        "FROM rejected_questions WHERE question_id = $question_id ORDER BY question_shard, line",
        question_id=question_id,
    )
    answers = [
        _answer(warehouse, sample)
        for sample in siblings
        if found["response_id"] in (None, sample["response_id"])
    ]
    for row in (row for answer in answers for row in answer.trained):
        row |= training_place(warehouse, lake, row["checkpoint"], row["sample_id"])
    return Story(
        question_id=question_id,
        question=questions[0] if questions else None,
        rejected=rejected,
        left_out_text=None if questions else _delivered_text(warehouse, rejected),
        siblings=siblings,
        answers=answers,
        checkpoints={name: _checkpoint(lake, name) for name in SAMPLE_FILES},
    )


def rows(warehouse: DuckDBPyConnection, query: str, **parameters: Any) -> list[Row]:
    """Rows of a query with named parameters, as dictionaries."""
    return warehouse.sql(query, params=parameters).to_arrow_table().to_pylist()


def _find(warehouse: DuckDBPyConnection, name: str) -> Row:
    """The question of an id with its shard, and the response if it names one."""
    found = rows(
        warehouse, f"FROM ({_IDS}) WHERE id = $id ORDER BY preference, id LIMIT 1", id=name
    )
    if found:
        return found[0]
    near = rows(
        warehouse,
        f"SELECT DISTINCT id, starts_with(id, $id) AS begins, "
        f"jaro_winkler_similarity(id, $id) AS likeness FROM ({_ALL_IDS}) "
        "ORDER BY begins DESC, likeness DESC, id LIMIT 3",
        id=name,
    )
    known = "; most like it: " + ", ".join(row["id"] for row in near) if near else ""
    raise UnknownIdError(
        f"{name!r} is no question_id, response_id, rollout_id, continuation_id or answer_id of the "
        f"lake{known or ', which has none yet'}"
    )


def _delivered_text(warehouse: DuckDBPyConnection, rejected: list[Row]) -> str | None:
    """The question as the first drop that was not taken has it."""
    if not rejected:
        return None
    place = {name: rejected[0][name] for name in ("question_shard", "drop", "line")}
    found = rows(
        warehouse,
        "SELECT question FROM raw_questions WHERE question_shard = $question_shard "
        'AND "drop" = $drop AND line = $line',
        **place,
    )
    return found[0]["question"] if found else None


def _answer(warehouse: DuckDBPyConnection, sample: Row) -> Answer:
    # The partition is named in every query, so that only its files are read.
    cell = {name: sample[name] for name in ("response_id", "temperature", "question_shard")}
    shard = {name: sample[name] for name in ("response_id", "question_shard")}
    in_cell = " AND ".join(f"{name} = ${name}" for name in cell)
    in_shard = " AND ".join(f"{name} = ${name}" for name in shard)
    continuations = rows(
        warehouse,
        f"""
        SELECT t.* EXCLUDE (token_ids, logprobs), len(t.token_ids) AS n_tokens, r.broken_rules,
               m.sample_id IS NOT NULL AS is_kept
        FROM (FROM teacher_continuations WHERE {in_shard}) t
        LEFT JOIN rejected_continuations r USING (continuation_id)
        LEFT JOIN mixed_policy_sample m ON m.sample_id = t.continuation_id
        """,
        **shard,
    )
    is_ranked = sample["rank"] is not None
    ranked = {name: sample[name] for name in ("temperature", "domain")}
    return Answer(
        sample=sample,
        settings=rows(
            warehouse,
            "SELECT * EXCLUDE (token_ids, logprobs), len(token_ids) AS n_tokens "
            f"FROM teacher_responses WHERE {in_cell}",
            **cell,
        )[0],
        sentences=rows(
            warehouse, f"SELECT * FROM sentences WHERE {in_cell} ORDER BY sentence_index", **cell
        ),
        rivals=rows(
            warehouse,
            """
            SELECT count(*) AS n, count(*) FILTER (is_selected) AS n_selected,
                   max(rank) FILTER (is_selected) AS last_rank,
                   count(*) FILTER (length_stratum = $stratum) AS n_in_stratum,
                   count(*) FILTER (is_selected AND length_stratum = $stratum)
                       AS n_selected_in_stratum
            FROM divergence_candidates WHERE temperature = $temperature AND domain = $domain
            """,
            stratum=sample["length_stratum"],
            **ranked,
        )[0]
        if is_ranked
        else None,
        better_siblings=rows(
            warehouse,
            "SELECT response_id, rank FROM divergence_candidates WHERE temperature = $temperature "
            "AND domain = $domain AND question_id = $question_id AND rank < $rank ORDER BY rank",
            question_id=sample["question_id"],
            rank=sample["rank"],
            **ranked,
        )
        if is_ranked
        else [],
        rollouts=rows(
            warehouse,
            "SELECT * EXCLUDE (token_ids, logprobs), len(token_ids) AS n_tokens "
            f"FROM student_rollouts WHERE {in_shard}",
            **shard,
        ),
        continuations=continuations,
        trained=rows(
            warehouse,
            "SELECT * FROM training_samples WHERE response_id = $response_id",
            response_id=sample["response_id"],
        ),
    )


def _checkpoint(lake: Path, name: str) -> Row:
    """Key and time of the current checkpoint, and whether its sample was written after it."""
    pointer = f"checkpoints/{name}/current.json"
    trained = written_at(lake, pointer)
    if trained is None:
        return {"key": None, "is_sample_newer": False}
    sampled = written_at(lake, SAMPLE_FILES[name])
    return {
        "key": json.loads(content_of(lake, pointer))["key"],
        "is_sample_newer": sampled is not None and sampled > trained,
    }
