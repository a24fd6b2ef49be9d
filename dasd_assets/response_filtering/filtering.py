"""Filtering: sampled answers become training candidates or rejects with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.answering.logprobs import first_known
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.imported_parts import imported_parts
from dasd_assets.response_filtering.judging import Judge, Judgement
from dasd_assets.response_filtering.outcomes import all_rejected
from dasd_assets.response_filtering.rules import Response, broken_rules
from dasd_assets.verification.graders import PAPER_GRADERS, Graders
from formats.answer_format import MISMATCH, AnswerParts, FormatError
from formats.chat import chat_of, prompt_tokens
from formats.model_format import ModelFormat
from formats.student_text import student_text
from resources.lake.contract import partition_name
from resources.lake.table import GAINED, ContractError
from resources.lake.tables.response_filtering import FILTERED_RESPONSES, REJECTED_RESPONSES
from resources.lake.tables.teacher_responses import IMPORTED, TEACHER_RESPONSES

if TYPE_CHECKING:
    from resources.lake.lake import Lake, Partition, Written

ROWS_PER_BATCH = 64
"""Answers that are taken apart together; each can have tens of thousands of tokens."""

_Row = tuple[dict[str, Any], "pa.Array | None", "npt.NDArray[np.float32] | None"]
"""A row without its arrays, its token ids, its logprobs."""

Writers = Mapping[tuple[str, str], ModelFormat]
"""`model` and `model_revision` of a row -> how that teacher writes."""


@dataclass(frozen=True)
class Filtered:
    """Answers that keep every rule (FILTERED_RESPONSES), and the others (REJECTED_RESPONSES)."""

    kept: pa.RecordBatch
    rejected: pa.RecordBatch


@dataclass(frozen=True)
class _TakenApart:
    """One answer in its parts; without them, and with the rule that it breaks, if it has none."""

    row: dict[str, Any]
    token_ids: pa.Array | None
    logprobs: npt.NDArray[np.float32] | None
    found: AnswerParts | FormatError


@dataclass(frozen=True)
class _Candidate:
    """One answer with what is known of it, to be kept if it breaks no rule."""

    row: dict[str, Any]
    parts: AnswerParts
    text: str
    n_student_tokens: int
    logprobs: npt.NDArray[np.float32] | None
    broken: list[dict[str, str]]


def filter_responses(
    responses: Iterable[pa.RecordBatch],
    *,
    teacher: ModelFormat | Writers | None,
    student: ModelFormat,
    settings: ResponseFiltering,
    system_prompt: str,
    references: Mapping[str, str],
    graders: Graders = PAPER_GRADERS,
    threads: int = 1,
) -> Iterator[Filtered]:
    """Rewrite answers to the student's format and keep those that keep every rule.

    Args:
        responses: batches with the schema TEACHER_RESPONSES.
        teacher: how whoever wrote the answers writes; of several, each by its name and revision.
        references: question_id -> reference answer as JSON, for the domains that are judged or
            verified. Where the answer is verified and its reference missing or unusable, the
            answer is rejected as `unverifiable_answer`.
        graders: of the profile's domains.
        threads: answers that are judged at once, each in a process of its own where needed.

    Returns:
        Small batches in the order of `responses`; every answer is in exactly one of both parts.

    Raises:
        ContractError: the rows do not have the schema, or one is by none of the teachers.
        SandboxError: programs are to be judged, and this machine has no sandbox.
    """
    reader = _Reader(teacher, student, settings, system_prompt)
    judge = Judge(settings, references, graders)
    n_read = 0
    with ThreadPoolExecutor(threads) as pool:
        for large in responses:
            _check_schema(large, n_read)
            n_read += large.num_rows
            for start in range(0, large.num_rows, ROWS_PER_BATCH):
                batch = large.slice(start, ROWS_PER_BATCH)
                kept, rejected = [], []
                candidates = reader.read(_rows(batch))
                judged = pool.map(lambda each: _judged(judge, each), candidates)
                for candidate, judgement in zip(candidates, judged, strict=True):
                    if broken := [*candidate.broken, *judgement.broken]:
                        rejected.append({**candidate.row, "broken_rules": broken})
                    else:
                        kept.append(_kept(candidate, judgement.is_correct))
                yield Filtered(
                    pa.RecordBatch.from_pylist(kept, schema=FILTERED_RESPONSES),
                    pa.RecordBatch.from_pylist(rejected, schema=REJECTED_RESPONSES),
                )


def write_filtered(
    lake: Lake, cell: Partition, filtered: Iterable[Filtered]
) -> tuple[Written, Written]:
    """Write both tables of one partition as they come.

    Of a rejected answer a short row without its text stays in memory until all are read.

    Returns:
        What was written as `filtered_responses` and as `rejected_responses`.

    Raises:
        AllRejectedError: there were answers, and none was kept. What was there before stays; if
            there was nothing, the rejects are written, to be looked at.
    """
    rejected: list[pa.RecordBatch] = []
    written: list[Written] = []

    def kept() -> Iterator[pa.RecordBatch]:
        n_kept = 0
        for part in filtered:
            rejected.append(part.rejected)
            n_kept += part.kept.num_rows
            yield part.kept
        if not n_kept and any(part.num_rows for part in rejected):
            if not lake.exists("filtered_responses", cell):
                lake.write("rejected_responses", rejected, cell)
            raise all_rejected(
                rejected, f"answers of {partition_name(cell)}",
                "or take the drop out of the inbox, if it is the questions. `dasd sql \"FROM "
                "rejected_responses\"` has all of them",
            )  # fmt: skip
        # Written before the main table is there: its presence means that both are.
        written.append(lake.write("rejected_responses", rejected, cell))

    return lake.write("filtered_responses", kept(), cell), written[0]


class _Reader:
    """Takes answers apart and looks for the rules that they break."""

    def __init__(
        self,
        teacher: ModelFormat | Writers | None,
        student: ModelFormat,
        settings: ResponseFiltering,
        system_prompt: str,
    ) -> None:
        self._teacher = teacher
        self._student = student
        self._settings = settings
        self._system_prompt = system_prompt
        self._marks = student.forbidden
        self._n_prompt_tokens: dict[str, int] = {}

    def read(self, rows: Iterable[_Row]) -> list[_Candidate]:
        """Take some answers apart; the student's tokens of all are counted at once."""
        answers = [self._taken_apart(*row) for row in rows]
        parts = [one.found for one in answers if isinstance(one.found, AnswerParts)]
        counted = iter(self._student.n_tokens([(one.reasoning, one.answer) for one in parts]))
        return [
            self._candidate(one, next(counted) if isinstance(one.found, AnswerParts) else 0)
            for one in answers
        ]

    def _taken_apart(
        self,
        row: dict[str, Any],
        token_ids: pa.Array | None,
        logprobs: npt.NDArray[np.float32] | None,
    ) -> _TakenApart:
        teacher = self._writer(row)
        try:
            if row["engine"] == IMPORTED:
                parts = imported_parts(row["text"], token_ids, teacher)
            elif token_ids is None or teacher is None or logprobs is None:
                raise FormatError(MISMATCH, "there are no tokens")
            elif token_ids.null_count:
                raise FormatError(MISMATCH, f"{token_ids.null_count} ids are missing")
            else:
                ids = token_ids.to_numpy(zero_copy_only=False)
                parts = teacher.format.parse(ids, teacher.token_bytes, row["text"])
                if teacher.format.name == "split":
                    parts, logprobs = _from_first_known(parts, logprobs)
        except FormatError as error:
            return _TakenApart(row, token_ids, logprobs, error)
        return _TakenApart(row, token_ids, logprobs, parts)

    def _candidate(self, one: _TakenApart, counted: int | FormatError) -> _Candidate:
        row, token_ids, logprobs = one.row, one.token_ids, one.logprobs
        parts, n_student_tokens = AnswerParts("", "", None, np.empty(0, np.int32)), 0
        broken = []
        match one.found, counted:
            case AnswerParts(), int():
                parts, n_student_tokens = one.found, counted
            case (FormatError() as error, _) | (_, FormatError() as error):
                broken.append({"rule": error.rule, "evidence": error.evidence})
        text = student_text(parts.reasoning, parts.answer)
        found = broken_rules(
            Response(
                reasoning=parts.reasoning,
                answer=parts.answer,
                n_student_tokens=self._prompt_tokens(row) + n_student_tokens,
                finish_reason=row["finish_reason"],
                # Of an imported answer without tokens it is known that there is one.
                n_tokens=1 if token_ids is None else len(parts.token_starts) or len(token_ids),
                logprobs=logprobs,
                tool_call=parts.tool_call,
                template_marks=self._marks,
            ),
            self._settings,
        )
        # An answer that could not be read has no parts; that they are missing says no more.
        broken += [rule for rule in found if not (broken and rule["rule"].startswith("no_"))]
        return _Candidate(row, parts, text, n_student_tokens, logprobs, broken)

    def _writer(self, row: dict[str, Any]) -> ModelFormat | None:
        if not isinstance(self._teacher, Mapping):
            return self._teacher
        name = (row["model"], row["model_revision"])
        if name not in self._teacher:
            known = ", ".join(f"{model} ({revision})" for model, revision in self._teacher)
            raise ContractError(
                f"teacher_responses: {row['response_id']} is by {name[0]} ({name[1]}), the "
                f"profile's teachers are {known}. Materialize this partition of teacher_responses "
                "again"
            )
        return self._teacher[name]

    def _prompt_tokens(self, row: dict[str, Any]) -> int:
        if row["question_id"] not in self._n_prompt_tokens:
            prompt = prompt_tokens(self._student.tokenizer, chat_of(row, self._system_prompt))
            self._n_prompt_tokens[row["question_id"]] = len(prompt)
        return self._n_prompt_tokens[row["question_id"]]


def _check_schema(responses: pa.RecordBatch, n_before: int) -> None:
    if not responses.schema.equals(TEACHER_RESPONSES):
        found = {field.name: str(field.type) for field in responses.schema}
        wrong = [
            f"{field.name} must be {field.type}, found {found.get(field.name, 'nothing')}"
            for field in TEACHER_RESPONSES
            if found.get(field.name) != str(field.type)
        ]
        raise ContractError(f"teacher_responses: {'; '.join(wrong) or 'other columns'}")
    is_asked = pc.not_equal(responses["engine"], IMPORTED)
    for field in responses.schema:
        if field.name in GAINED:
            continue
        # What is unknown of an imported answer is null; one that was asked for has it all.
        is_null = responses[field.name].is_null()
        if pc.any(pc.and_kleene(is_null, is_asked) if field.nullable else is_null).as_py():
            row = n_before + pc.index(is_null, True).as_py()
            raise ContractError(f"teacher_responses: row {row} has no {field.name}")


def _rows(batch: pa.RecordBatch) -> Iterator[_Row]:
    """Rows with their token ids and logprobs; those of tens of thousands of tokens stay arrays."""
    plain = batch.drop_columns(["token_ids", "logprobs"]).to_pylist()
    token_ids, logprobs = batch.column("token_ids"), batch.column("logprobs")
    for index, row in enumerate(plain):
        yield (
            row,
            token_ids[index].values,
            logprobs[index].values.to_numpy(zero_copy_only=False)
            if logprobs[index].is_valid
            else None,
        )


def _kept(candidate: _Candidate, is_correct: bool | None) -> dict[str, Any]:
    """A row of FILTERED_RESPONSES."""
    return {
        **candidate.row,
        "reasoning": candidate.parts.reasoning,
        "answer": candidate.parts.answer,
        "response_text": candidate.text,
        "n_teacher_tokens": None if candidate.logprobs is None else len(candidate.logprobs),
        "n_student_tokens": candidate.n_student_tokens,
        "teacher_logprobs": candidate.logprobs,
        "teacher_token_starts": None
        if candidate.logprobs is None
        else candidate.parts.token_starts,
        "is_correct": is_correct,
    }


def _from_first_known(
    parts: AnswerParts, logprobs: npt.NDArray[np.float32]
) -> tuple[AnswerParts, npt.NDArray[np.float32]]:
    """The tokens of which a server told the logprobs: not those of the reasoning (`split`)."""
    first = first_known(logprobs)
    return replace(parts, token_starts=parts.token_starts[first:]), logprobs[first:]


def _judged(judge: Judge, candidate: _Candidate) -> Judgement:
    return judge(candidate.row, candidate.parts.answer)
