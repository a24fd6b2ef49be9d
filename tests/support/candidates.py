"""Responses with made-up provenance, and a lake that holds them: what selection starts from."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa

from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from resources.lake.tables.divergence_sampling import RESPONSE_PROVENANCE

WITH_SHARD = RESPONSE_PROVENANCE.append(pa.field("question_shard", pa.string(), nullable=False))
DOMAINS = ("math", "math", "code")
"""Domain of every third question."""


def candidate_rows(n: int = 100, answers: int = 2, seed: int = 0) -> list[dict[str, Any]]:
    """Rows with the schema RESPONSE_PROVENANCE and their shard; many have the same score."""
    rng = random.Random(seed)
    return [candidate(i, i // answers, DOMAINS[i // answers % 3], rng) for i in range(n)]


def candidate(index: int, question: int, domain: str, rng: random.Random) -> dict[str, Any]:
    """One response of 4 to 40 sentences of 5 tokens."""
    classes = [rng.randrange(2, 14) for _ in range(3)]
    teacher, student, common = classes
    return {
        "response_id": f"r{index}", "question_id": f"q{question}", "domain": domain,
        "sample_index": index, "n_teacher_tokens": 9, "n_student_tokens": 5 * sum(classes) + 2,
        "n_sentences": sum(classes), "n_teacher_sentences": teacher,
        "n_student_sentences": student, "n_common_sentences": common,
        "teacher_sentence_share": round(teacher / sum(classes), 1),
        "n_teacher_sentence_tokens": 5 * teacher, "n_student_sentence_tokens": 5 * student,
        "n_common_sentence_tokens": 5 * common, "p_teacher": rng.uniform(0.5, 1.0),
        "p_student": rng.uniform(0.2, 0.9), "mean_student_rank": rng.uniform(1, 60),
        "mean_clipped_student_rank": rng.uniform(1, 9), "question_shard": f"drop-{index % 3}",
    }  # fmt: skip


def candidate_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as selection gets them."""
    return pa.Table.from_pylist(rows, schema=WITH_SHARD)


def put_into_lake(lake: Lake, rows: list[dict[str, Any]], temperature: str) -> None:
    """Write the rows' provenance and the responses that they came from."""
    for shard in sorted({row["question_shard"] for row in rows}):
        mine = [_with_response(row) for row in rows if row["question_shard"] == shard]
        cell = {"temperature": temperature, "question_shard": shard}
        for table in (
            "teacher_responses", "filtered_responses", "sentence_provenance", "response_provenance",
        ):  # fmt: skip
            lake.write(table, pa.Table.from_pylist(mine, schema=TABLES[table].schema), cell)


def _with_response(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the columns of its response and of the one sentence in it."""
    return {
        **row, "question": f"question {row['question_id']}", "logprobs_mode": "raw_logprobs",
        "reasoning": "so", "answer": "1", "response_text": f"text of {row['response_id']}",
        "teacher_logprobs": [-0.1], "teacher_token_starts": [0], "system_prompt": "",
        "reasoning_effort": "high", "model": "teacher", "model_revision": "0", "engine": "stub",
        "engine_version": "0", "temperature": 1.0, "top_p": 1.0, "max_tokens": 9, "seed": 0,
        "finish_reason": "stop", "token_ids": [0], "logprobs": [-0.1], "text": "so 1",
        "sentence_index": 0, "part": "reasoning", "start_byte": 0, "end_byte": 4,
        "sentence_class": "common", "segmenter": "none",
    }  # fmt: skip
