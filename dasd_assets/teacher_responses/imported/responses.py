"""Imported answers as teacher responses: what is unknown of them is null, and not made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from resources.engines.protocol import RAW_LOGPROBS
from resources.lake.tables.teacher_responses import IMPORTED, TEACHER_RESPONSES


class ImportedResponses:
    """The answers of one partition whose question curation has kept."""

    def __init__(
        self, questions: pa.Table, *, model: str | None, temperature: float | None
    ) -> None:
        """Prepare for the answers to the questions of one shard.

        Args:
            questions: rows with the schema QUESTIONS.
            model: who wrote the answers, if the profile says so.
            temperature: what they were sampled with, if it is known.
        """
        self._questions = questions
        self._known = {"model": model, "temperature": temperature, "engine": IMPORTED}
        self._n_answers: Counter[str] = Counter()
        self.n_without_question = 0
        """Answers that are left out: curation has rejected their question."""

    def rows(self, answers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches of TEACHER_RESPONSES from batches of IMPORTED_ANSWERS, in their order."""
        for batch in answers:
            place = pc.index_in(
                batch["question_id"], self._questions["question_id"].combine_chunks()
            )
            self.n_without_question += place.null_count
            kept, place = batch.filter(place.is_valid()), place.drop_null()
            if kept.num_rows:
                yield self._responses(kept, self._questions.take(place))

    def _responses(self, answers: pa.RecordBatch, questions: pa.Table) -> pa.RecordBatch:
        n = answers.num_rows
        has_logprobs = answers["logprobs"].is_valid()
        has_end = pc.equal(answers["has_end_token"], True)
        columns = {name: answers[name] for name in ("response_id", "question_id", "text")}
        columns |= {name: answers[name] for name in ("token_ids", "logprobs")}
        for name in ("domain", "question", "earlier_messages"):
            columns[name] = questions[name].combine_chunks()
        columns |= {
            name: pa.array([value] * n, TEACHER_RESPONSES.field(name).type)
            for name, value in self._known.items()
        }
        nothing = pa.scalar(None, pa.string())
        columns |= {
            "sample_index": pa.array(self._indices(answers["question_id"]), pa.int32()),
            "logprobs_mode": pc.if_else(has_logprobs, RAW_LOGPROBS, nothing),
            # Without the token that ends it nobody knows whether an answer was cut off.
            "finish_reason": pc.if_else(has_end, "stop", nothing),
        }
        return pa.RecordBatch.from_arrays(
            [
                columns.get(field.name, pa.nulls(n, field.type)).cast(field.type)
                for field in TEACHER_RESPONSES
            ],
            schema=TEACHER_RESPONSES,
        )

    def _indices(self, question_ids: pa.Array) -> Iterator[int]:
        for name in question_ids.to_pylist():
            yield self._n_answers[name]
            self._n_answers[name] += 1
