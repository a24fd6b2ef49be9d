"""What the teacher's pass over a checkpoint's answers holds in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from support.scripted_engine import ScriptedEngine, encode, written

from dasd_assets.evaluation.teacher_scoring import ANSWER_COLUMNS, Answers, score_answers
from resources.engines.protocol import ScoringRequest, TokenScores
from resources.lake.tables.evaluation import EVALUATION

N_ANSWERS = 8


class ScoringEngine(ScriptedEngine):
    """A teacher to which every token is as likely."""

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: Any = None
    ) -> Iterator[TokenScores]:
        """Of each token -1."""
        for request in requests:
            n = len(request.token_ids)
            yield TokenScores(request.key, np.full(n, -1, np.float32), np.ones(n, np.int32))


def test_of_a_token_only_the_request_is_an_object_of_python() -> None:
    ids = encode("student", "<think>\n" + "We add 12 and 13 to the sum. " * 300)
    logprobs = np.random.default_rng(0).random(len(ids), np.float32)
    rows = {
        "answer_id": [f"a{index}" for index in range(N_ANSWERS)], "question_id": ["q"] * N_ANSWERS,
        "sample_index": range(N_ANSWERS), "finish_reason": ["length"] * N_ANSWERS,
        "token_ids": [ids] * N_ANSWERS, "logprobs": [logprobs] * N_ANSWERS,
    }  # fmt: skip
    answers = pa.table(rows, pa.schema([EVALUATION.field(name) for name in ANSWER_COLUMNS]))
    teacher = ScoringEngine("teacher", lambda request: ([], "stop"))

    def scored(table: pa.Table) -> int:
        found = score_answers(
            Answers(table.to_batches(), table.num_rows, {"q": "?"}), teacher, written("student"),
            system_prompt="s", reasoning_effort="low",
        )  # fmt: skip
        return sum(batch.num_rows for batch in found)

    assert scored(answers.slice(0, 1)) == 1  # what is read once is there
    tracemalloc.start()
    try:
        assert scored(answers) == N_ANSWERS
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Ids and places in arrays, 8 in the request, and one answer at a time as a list. As lists of
    # Python's numbers all ids and logprobs would take 40 more.
    assert peak / (N_ANSWERS * len(ids)) < 60
