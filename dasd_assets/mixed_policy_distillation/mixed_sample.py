"""The mixed-policy sample: what student and teacher wrote together, and an off-policy share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.policies import random_order
from dasd_assets.mixed_policy_distillation.prefix import begun_parts
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.judging import Judge
from dasd_assets.response_filtering.rules import Response, broken_rules
from formats.answer_format import FormatError
from formats.chat import chat_of, prompt_tokens
from formats.model_format import ModelFormat
from formats.student_text import student_text
from resources.lake.tables.mixed_policy_distillation import (
    MIXED_POLICY_SAMPLE,
    REJECTED_CONTINUATIONS,
)

MIXED_POLICY, OFF_POLICY = "mixed_policy", "off_policy"

CONTINUATION_COLUMNS = [
    "continuation_id", "rollout_id", "question_id", "domain", "question", "earlier_messages",
    "finish_reason",
    "token_ids", "logprobs", "prefix_text", "cut_part", "text",
]  # fmt: skip
"""All that is needed of a continuation."""

OFF_POLICY_COLUMNS = [
    "response_id", "question_id", "domain", "question", "earlier_messages", "response_text",
    "n_student_tokens",    "weight",
]  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """Finished answers that keep every rule, and the others (REJECTED_CONTINUATIONS)."""

    kept: pa.Table
    rejected: pa.Table


def finish_continuations(
    continuations: pa.Table,
    student: ModelFormat,
    teacher: ModelFormat,
    settings: ResponseFiltering,
    system_prompt: str,
    judge: Judge | None = None,
    threads: int = 1,
) -> Finished:
    """Join the student's prefixes with the teacher's continuations and filter the answers.

    The same rules as for teacher responses judge the whole answer. One to which the teacher added
    nothing is the student's own, and is rejected as `nothing_continued`.

    Args:
        continuations: rows with CONTINUATION_COLUMNS.
        judge: of the answers in the domains that are verified; None: right or not, they are kept.
        threads: answers that are judged at once.

    Returns:
        Kept rows with the schema MIXED_POLICY_SAMPLE; every continuation is in one of the tables.
    """
    answers = [
        _read(*values, student, teacher, settings, system_prompt) for values in _rows(continuations)
    ]

    def judged(each: _Answer) -> tuple[dict[str, str], ...]:
        if judge is None or each.row["domain"] not in settings.verify_domains:
            return ()
        return judge(each.row, each.answer).broken

    kept, rejected = [], []
    with ThreadPoolExecutor(threads) as pool:
        for each, found in zip(answers, pool.map(judged, answers), strict=True):
            if broken := [*each.broken, *found]:
                rejected.append({**each.row, "broken_rules": broken})
            else:
                kept.append(each.as_sample())
    return Finished(
        pa.Table.from_pylist(kept, schema=MIXED_POLICY_SAMPLE),
        pa.Table.from_pylist(rejected, schema=REJECTED_CONTINUATIONS),
    )


@dataclass(frozen=True)
class _Answer:
    """A finished answer with what is known of it."""

    row: dict[str, Any]
    text: str
    answer: str
    n_student_tokens: int
    prefix_bytes: int
    broken: list[dict[str, str]]

    def as_sample(self) -> dict[str, Any]:
        """A row of MIXED_POLICY_SAMPLE."""
        return {
            **self.row,
            "sample_id": self.row["continuation_id"],
            "policy": MIXED_POLICY,
            "response_text": self.text,
            "student_prefix_bytes": self.prefix_bytes,
            "n_student_tokens": self.n_student_tokens,
            "weight": 1.0,
        }


def _read(
    row: dict[str, Any],
    token_ids: npt.NDArray[np.int32],
    logprobs: npt.NDArray[np.float32],
    student: ModelFormat,
    teacher: ModelFormat,
    settings: ResponseFiltering,
    system_prompt: str,
) -> _Answer:
    """Prefix and continuation as one answer, and the rules that it breaks."""
    broken = []
    reasoning = answer = ""
    tool_call = None
    n_student_tokens = 0
    try:
        # The student's prefix is text; only what the teacher wrote has marks.
        begun = begun_parts(row["prefix_text"], row["cut_part"])
        reasoning, answer, tool_call = teacher.format.continued(
            *begun, token_ids, teacher.token_bytes
        )
        (counted,) = student.n_tokens([(reasoning, answer)])
        if isinstance(counted, FormatError):
            raise counted
        n_student_tokens = counted
    except FormatError as error:
        broken.append({"rule": error.rule, "evidence": error.evidence})
    text = student_text(reasoning, answer)
    found = broken_rules(
        Response(
            reasoning=reasoning,
            answer=answer,
            n_student_tokens=n_student_tokens
            + len(prompt_tokens(student.tokenizer, chat_of(row, system_prompt))),
            finish_reason=row["finish_reason"],
            n_tokens=len(token_ids),
            logprobs=logprobs,
            tool_call=tool_call,
            template_marks=student.forbidden,
        ),
        settings,
    )
    # An answer that could not be read has no parts; that they are missing says nothing more.
    broken += [rule for rule in found if not (broken and rule["rule"].startswith("no_"))]
    prefix_bytes = _prefix_bytes(row["prefix_text"], text)
    if not broken and prefix_bytes == len(text.encode()):
        broken.append({"rule": "nothing_continued", "evidence": f"{len(row['text'])} characters"})
    return _Answer(row, text, answer, n_student_tokens, prefix_bytes, broken)


def off_policy_choice(
    candidates: pa.Table, taken: pa.Array | pa.ChunkedArray, n: int, seed: int
) -> pa.Array:
    """Ids of answers of the divergence samples, drawn at random by a seeded hash of the ids.

    Args:
        candidates: response_id and question_id of all temperatures.
        taken: questions whose answers are not drawn.
        n: answers to draw; all, if there are fewer.
    """
    free = candidates.filter(pc.invert(pc.is_in(candidates["question_id"], _one_piece(taken))))
    order = np.argsort(random_order(free, seed), kind="stable")[:n]
    return _one_piece(free["response_id"]).take(pa.array(order))


def off_policy_rows(
    batches: Iterable[pa.RecordBatch], chosen: pa.Array
) -> Iterator[pa.RecordBatch]:
    """The chosen answers as rows of the mixed sample, in the order of the batches.

    Args:
        batches: of OFF_POLICY_COLUMNS.
        chosen: response ids, from `off_policy_choice`.
    """
    for batch in batches:
        rows = batch.filter(pc.is_in(batch["response_id"], chosen))
        columns = {
            **{name: rows[name] for name in OFF_POLICY_COLUMNS},
            "sample_id": rows["response_id"],
            "policy": pa.repeat(OFF_POLICY, rows.num_rows),
            "student_prefix_bytes": pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows),
        }
        yield pa.RecordBatch.from_arrays(
            [columns[name] for name in MIXED_POLICY_SAMPLE.names], schema=MIXED_POLICY_SAMPLE
        )


def _rows(
    continuations: pa.Table,
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
    """Rows without their lists, token ids, and logprobs."""
    for batch in continuations.select(CONTINUATION_COLUMNS).to_batches():
        token_ids, logprobs = batch["token_ids"], batch["logprobs"]
        plain = batch.drop_columns(["token_ids", "logprobs"]).to_pylist()
        for index, row in enumerate(plain):
            yield (
                row,
                token_ids[index].values.to_numpy(zero_copy_only=False),
                logprobs[index].values.to_numpy(zero_copy_only=False),
            )


def _prefix_bytes(prefix: str, text: str) -> int:
    """Leading bytes of the text that the student wrote.

    White space at the prefix's end is gone where the teacher ended the part there.
    """
    for begun in (prefix, prefix.rstrip()):
        if text.startswith(begun):
            return len(begun.encode())
    return 0


def _one_piece(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
