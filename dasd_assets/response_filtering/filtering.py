"""Filtering: sampled answers become training candidates or rejects with reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.evaluation.graders import grade
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.harmony import HarmonyAnswer, HarmonyError, parse_harmony
from dasd_assets.response_filtering.rules import MAX_EVIDENCE, Response, broken_rules
from dasd_assets.response_filtering.student_format import student_text, template_marks
from resources.contracts import FILTERED_RESPONSES, REJECTED_RESPONSES
from resources.engines.byte_offsets import TokenBytes
from training.encoding import encode_prompt, encode_response

ROWS_PER_BATCH = 64
"""Answers that are taken apart together; each can have tens of thousands of tokens."""


@dataclass(frozen=True)
class Filtered:
    """Answers that keep every rule (FILTERED_RESPONSES), and the others (REJECTED_RESPONSES)."""

    kept: pa.Table
    rejected: pa.Table


def filter_responses(
    responses: pa.Table,
    *,
    teacher_tokenizer: Any,
    student_tokenizer: Any,
    settings: ResponseFiltering,
    system_prompt: str,
    references: Mapping[str, str],
) -> Filtered:
    """Rewrite answers to the student's format and keep those that keep every rule.

    Args:
        responses: rows with the schema TEACHER_RESPONSES.
        references: question_id -> reference answer as JSON, for the domains that are verified. An
            answer whose reference is missing or unusable is rejected as `unverifiable_answer`.

    Returns:
        Both tables in the order of `responses`; every answer is in exactly one of them.
    """
    token_bytes = TokenBytes(teacher_tokenizer)
    marks = template_marks(student_tokenizer)
    n_prompt_tokens: dict[str, int] = {}
    kept_tables = [FILTERED_RESPONSES.empty_table()]
    rejected_tables = [REJECTED_RESPONSES.empty_table()]
    for batch in responses.to_batches(max_chunksize=ROWS_PER_BATCH):
        kept, rejected = [], []
        for row, token_ids, logprobs in _rows(batch):
            broken = []
            try:
                answer = parse_harmony(token_ids, row["text"], token_bytes)
            except HarmonyError as error:
                answer = HarmonyAnswer("", "", None, np.empty(0, np.int32))
                broken.append({"rule": error.rule, "evidence": error.evidence})
            text = student_text(answer.reasoning, answer.answer)
            n_student_tokens = len(encode_response(student_tokenizer, text))
            question = row["question"]
            if question not in n_prompt_tokens:
                prompt = encode_prompt(student_tokenizer, question, system_prompt)
                n_prompt_tokens[question] = len(prompt)
            found = broken_rules(
                Response(
                    reasoning=answer.reasoning,
                    answer=answer.answer,
                    n_student_tokens=n_prompt_tokens[question] + n_student_tokens,
                    finish_reason=row["finish_reason"],
                    n_tokens=len(token_ids),
                    logprobs=logprobs,
                    tool_call=answer.tool_call,
                    template_marks=marks,
                ),
                settings,
            )
            # An answer that could not be read has no parts; that they are missing says no more.
            broken += [r for r in found if not (broken and r["rule"].startswith("no_"))]
            if answer.answer and row["domain"] in settings.verify_domains:
                broken += _verify(row["domain"], answer.answer, references.get(row["question_id"]))
            if broken:
                rejected.append({**row, "broken_rules": broken})
            else:
                kept.append(
                    {
                        **row,
                        "reasoning": answer.reasoning,
                        "answer": answer.answer,
                        "response_text": text,
                        "n_teacher_tokens": len(token_ids),
                        "n_student_tokens": n_student_tokens,
                        "teacher_logprobs": logprobs,
                        "teacher_token_starts": answer.token_starts,
                    }
                )
        kept_tables.append(pa.Table.from_pylist(kept, schema=FILTERED_RESPONSES))
        rejected_tables.append(pa.Table.from_pylist(rejected, schema=REJECTED_RESPONSES))
    return Filtered(pa.concat_tables(kept_tables), pa.concat_tables(rejected_tables))


def _rows(
    batch: pa.RecordBatch,
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
    """Rows with their token ids and logprobs; those of tens of thousands of tokens stay arrays."""
    plain = batch.drop_columns(["token_ids", "logprobs"]).to_pylist()
    token_ids, logprobs = batch.column("token_ids"), batch.column("logprobs")
    for index, row in enumerate(plain):
        yield (
            row,
            token_ids[index].values.to_numpy(zero_copy_only=False),
            logprobs[index].values.to_numpy(zero_copy_only=False),
        )


def _verify(domain: str, answer: str, reference: str | None) -> list[dict[str, str]]:
    """The broken rule if an answer is wrong, or if nothing can tell whether it is."""
    if reference is None:
        return [{"rule": "unverifiable_answer", "evidence": "the question has no reference"}]
    try:
        verdict = grade(domain, answer, json.loads(reference))
    except ValueError as error:
        return [{"rule": "unverifiable_answer", "evidence": str(error)[:MAX_EVIDENCE]}]
    return [] if verdict.is_correct else [{"rule": "incorrect_answer", "evidence": verdict.reason}]


def funnel(kept: pa.Table, rejected: pa.Table) -> dict[str, dict[str, int]]:
    """Per domain: how many answers were kept, and how many broke each rule."""
    counts: dict[str, Counter[str]] = {}
    for domain in kept["domain"].to_pylist():
        counts.setdefault(domain, Counter())["kept"] += 1
    for row in rejected.select(["domain", "broken_rules"]).to_pylist():
        of_domain = counts.setdefault(row["domain"], Counter())
        of_domain.update(broken["rule"] for broken in row["broken_rules"])
    return {domain: dict(of_domain) for domain, of_domain in sorted(counts.items())}
