"""A lake small enough to know by heart: two shards, two temperatures, everything that can happen.

q1 is in drop-01 and again in drop-02, q2 in drop-02. Of q1's low answers r1 is selected and r2 is
not, as only one may be. Of q2's answers r3 (low) breaks two rules and r4 (high) is over the quota,
but in the random control. r1's rollout was cut off and continued, and the result is kept; r4's was
continued, too, and rejected.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from resources.lake.bucket_lake import BucketLake
from resources.lake.lake import Lake
from resources.lake.tables import TABLES

Row = dict[str, Any]

HOSTILE = "</script><img src=x onerror=alert(1)> [bold]\x1b[31m"
REASONING = f"Für 1 + 1. {HOSTILE}"
TEXT = f"<think>\n{REASONING}\n</think>\n\nIt is 2."
DROP_01, DROP_02 = {"question_shard": "drop-01"}, {"question_shard": "drop-02"}


def filled(table: str, *rows: Row) -> pa.Table:
    """Rows of a table; a column that is not said has a plain value of its type."""
    return pa.Table.from_pylist(
        [{field.name: row.get(field.name, _plain(field.type)) for field in TABLES[table].schema}
         for row in rows],
        schema=TABLES[table].schema,
    )  # fmt: skip


def _plain(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return []
    if pa.types.is_boolean(kind):
        return False
    return 1 if pa.types.is_integer(kind) else 0.5 if pa.types.is_floating(kind) else "plain"


def make_small_lake(lake: Lake) -> None:
    """Write the lake's tables, checkpoints and training logs; into a folder, a copy of those."""
    if isinstance(lake, BucketLake):
        _write(lake)
    else:
        copied, root = Path(_written().name), Path(lake.root)
        shutil.copytree(copied, root, symlinks=True, dirs_exist_ok=True)


@cache
def _written() -> TemporaryDirectory[str]:
    """Once in a process: it takes twenty times as long as a copy."""
    folder = TemporaryDirectory(prefix="small-lake-")
    _write(Lake(root=folder.name))
    return folder


def _write(lake: Lake) -> None:
    q1 = {"question_id": "q1", "domain": "math", "question": f"What is 1 + 1? {HOSTILE}"}
    q2 = {"question_id": "q2", "domain": "math", "question": "What is 2 + 2?"}
    first = {"drop": "drop-01.jsonl", "line": 1, "answer": "2", "source": "me"}
    again = {"drop": "drop-02.jsonl", "line": 1}
    second = {"drop": "drop-02.jsonl", "line": 2, "answer": "4"}
    lake.write("raw_questions", filled("raw_questions", q1 | first), DROP_01)
    lake.write("raw_questions", filled("raw_questions", q1 | again, q2 | second), DROP_02)
    lake.write("questions", filled("questions", q1 | first), DROP_01)
    lake.write("questions", filled("questions", q2 | second), DROP_02)
    duplicate = again | {"reason": "duplicate_of_shard", "evidence": "drop-01"}
    lake.write("rejected_questions", filled("rejected_questions", q1 | duplicate), DROP_02)

    _responses(lake, q1, q2)
    _samples(lake, q1, q2)
    for checkpoint in ("low_temperature", "high_temperature"):
        folder = lake.checkpoint_folder(checkpoint, "0123abcdef")
        folder.mkdir()
        log = json.dumps({"step": 1, "loss": 0.5})
        (folder / "training_log.jsonl").write_text(log, encoding="utf-8")
        lake.publish_checkpoint(checkpoint, "0123abcdef")
    place = {"checkpoint": "base", "benchmark": "math"}
    answers = [place | {"is_correct": i > 0, "n_tokens": 10 + i} for i in range(3)]
    lake.write("evaluation", filled("evaluation", *answers), place)
    _own_answers(lake)


def _own_answers(lake: Lake) -> None:
    """A right and a wrong answer of the last checkpoint, with whose sentences they are."""
    place = {"checkpoint": "dasd", "benchmark": "math"}
    answers = [place | {"answer_id": name, "is_correct": name == "a1"} for name in ("a1", "a2")]
    lake.write("evaluation", filled("evaluation", *answers), place)
    scores = [{"answer_id": name, "left_out": None} for name in ("a1", "a2")]
    table = "evaluation_teacher_scores"
    lake.write(table, filled(table, *scores), place)
    table = "evaluation_provenance"
    rows = [
        {"answer_id": name, "sentence_index": index, "sentence_class": kind}
        for name, kinds in {"a1": ("teacher", "shared"), "a2": ("boosted", "unscored")}.items()
        for index, kind in enumerate(kinds)
    ]
    lake.write(table, filled(table, *rows), place)


def _responses(lake: Lake, q1: Row, q2: Row) -> None:
    """Answers, verdicts and provenance."""
    low, high = {"temperature": 0.6}, {"temperature": 1.0}
    sampled = {"finish_reason": "stop", "token_ids": [1, 2, 3], "max_tokens": 9, "text": TEXT}
    r1 = q1 | low | sampled | {"response_id": "r1", "sample_index": 0, "logprobs": [-0.5] * 3}
    r2 = q1 | low | sampled | {"response_id": "r2", "sample_index": 1, "logprobs": [-1.0, -2.0]}
    r3 = q2 | low | {"response_id": "r3", "finish_reason": "length", "token_ids": [1] * 9}
    r4 = q2 | high | sampled | {"response_id": "r4", "sample_index": 0, "logprobs": [-0.25]}
    kept = {"reasoning": REASONING, "answer": "It is 2.", "response_text": TEXT}
    broken = [
        {"rule": "hit_max_tokens", "evidence": "9 tokens"},
        {"rule": "repeated_ngram", "evidence": "4 x 'so it is'"},
    ]
    for table, cells in {
        "teacher_responses": {"low/drop-01": [r1, r2], "low/drop-02": [r3], "high/drop-02": [r4]},
        "filtered_responses": {
            "low/drop-01": [r1 | kept | {"n_student_tokens": 30, "is_correct": True},
                            r2 | kept | {"n_student_tokens": 20, "is_correct": False}],
            "low/drop-02": [],
            "high/drop-02": [r4 | kept | {"n_student_tokens": 10, "is_correct": None}],
        },
        "rejected_responses": {"low/drop-02": [r3 | {"broken_rules": broken}]},
        "sentence_provenance": {
            "low/drop-01": [*sentences("r1", "teacher", "common"),
                            *sentences("r2", "student", "unscored")],
            "high/drop-02": sentences("r4", "teacher", "student"),
        },
        "response_provenance": {
            "low/drop-01": [q1 | provenance("r1", 1, 0), q1 | provenance("r2", 0, 1)],
            "high/drop-02": [q2 | provenance("r4", 1, 1)],
        },
    }.items():  # fmt: skip
        for cell, rows in cells.items():
            temperature, shard = cell.split("/")
            place = {"temperature": temperature, "question_shard": shard}
            lake.write(table, filled(table, *rows), place)


def sentences(response_id: str, reasoning: str, answer: str) -> list[Row]:
    """The two sentences of TEXT with their classes."""
    probabilities = {
        "teacher": (0.9, 0.3), "student": (0.2, 0.6), "common": (0.5, 0.5), "unscored": (None, None)
    }  # fmt: skip
    start, size = len(b"<think>\n"), len(REASONING.encode())
    spans = [(start, start + size), (len(TEXT.encode()) - len(b"It is 2."), len(TEXT.encode()))]
    return [
        {
            "response_id": response_id, "sentence_index": index, "part": part,
            "start_byte": span[0], "end_byte": span[1], "sentence_class": kind,
            "p_teacher": probabilities[kind][0], "p_student": probabilities[kind][1],
        }
        for index, (part, span, kind) in enumerate(
            zip(("reasoning", "answer"), spans, (reasoning, answer), strict=True)
        )
    ]  # fmt: skip


def provenance(response_id: str, n_teacher: int, n_student: int) -> Row:
    """Counts of a response of two sentences."""
    return {
        "response_id": response_id, "n_sentences": 2, "n_teacher_sentences": n_teacher,
        "n_student_sentences": n_student, "n_common_sentences": 2 - n_teacher - n_student,
    }  # fmt: skip


def _samples(lake: Lake, q1: Row, q2: Row) -> None:
    """What was chosen, rolled out, continued and mixed."""
    r1 = q1 | provenance("r1", 1, 0) | DROP_01 | {
        "policy": "divergence_share", "rank": 1, "score": 0.5, "is_selected": True,
        "decision": "selected", "n_student_tokens": 30,
    }  # fmt: skip
    r2 = q1 | provenance("r2", 0, 1) | DROP_01 | {
        "policy": "divergence_share", "rank": 2, "score": 0.0, "n_student_tokens": 20,
        "decision": "over_answers_per_question",
    }  # fmt: skip
    r4 = q2 | provenance("r4", 1, 1) | DROP_02 | {
        "policy": "divergence_share", "rank": 1, "score": 0.5, "decision": "over_domain_quota",
        "is_random_control": True, "is_longest_control": False, "n_student_tokens": 10,
    }  # fmt: skip
    for temperature, rows in {"low": [r1, r2], "high": [r4]}.items():
        place = {"temperature": temperature}
        chosen = [row | {"response_text": TEXT} for row in rows if row.get("is_selected")]
        lake.write("divergence_candidates", filled("divergence_candidates", *rows), place)
        lake.write("divergence_sample", filled("divergence_sample", *chosen), place)
    rolled = {"is_truncated": True, "finish_reason": "length", "text": "<think>\nFür"}
    o1 = q1 | rolled | {"rollout_id": "o1", "response_id": "r1"}
    o2 = q2 | rolled | {"rollout_id": "o2", "response_id": "r4"}
    lake.write("student_rollouts", filled("student_rollouts", o1), DROP_01)
    lake.write("student_rollouts", filled("student_rollouts", o2), DROP_02)
    at_random = {"cut_kind": "random", "cut_fraction": 0.75}
    c1 = o1 | at_random | {
        "continuation_id": "c1", "cut_part": "reasoning", "finish_reason": "stop",
    }  # fmt: skip
    c2 = o2 | at_random | {
        "continuation_id": "c2", "cut_part": "answer", "finish_reason": "length",
    }  # fmt: skip
    lake.write("teacher_continuations", filled("teacher_continuations", c1), DROP_01)
    lake.write("teacher_continuations", filled("teacher_continuations", c2), DROP_02)
    broken = c2 | {"broken_rules": [{"rule": "hit_max_tokens", "evidence": "9 tokens"}]}
    lake.write("rejected_continuations", filled("rejected_continuations", broken))
    mixed = q1 | {"sample_id": "c1", "policy": "mixed_policy"}
    lake.write("mixed_policy_sample", filled("mixed_policy_sample", mixed))
