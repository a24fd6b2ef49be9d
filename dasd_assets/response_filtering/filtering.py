"""Filtering: sampled answers become training candidates or rejects with reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dasd_assets.evaluation.graders import grade
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.harmony import HarmonyAnswer, HarmonyError, parse_harmony
from dasd_assets.response_filtering.rules import Response, broken_rules
from dasd_assets.response_filtering.student_format import student_text, template_marks
from resources.contracts import FILTERED_RESPONSES, REJECTED_RESPONSES
from resources.engines.byte_offsets import TokenBytes
from training.encoding import encode_prompt, encode_response


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
        references: question_id -> reference answer as JSON, for the domains that are verified.

    Returns:
        Both tables in the order of `responses`; every answer is in exactly one of them.
    """
    token_bytes = TokenBytes(teacher_tokenizer)
    marks = template_marks(student_tokenizer)
    kept, rejected = [], []
    for row in responses.to_pylist():
        token_ids = np.asarray(row["token_ids"], np.int32)
        logprobs = np.asarray(row["logprobs"], np.float32)
        broken = []
        try:
            answer = parse_harmony(token_ids, row["text"], token_bytes)
        except HarmonyError as error:
            answer = HarmonyAnswer("", "", None, np.empty(0, np.int32))
            broken.append({"rule": error.rule, "evidence": error.evidence})
        text = student_text(answer.reasoning, answer.answer)
        response_tokens = encode_response(student_tokenizer, text)
        prompt_tokens = encode_prompt(student_tokenizer, row["question"], system_prompt)
        found = broken_rules(
            Response(
                reasoning=answer.reasoning,
                answer=answer.answer,
                n_student_tokens=len(prompt_tokens) + len(response_tokens),
                finish_reason=row["finish_reason"],
                n_tokens=len(token_ids),
                logprobs=logprobs,
                tool_call=answer.tool_call,
                template_marks=marks,
            ),
            settings,
        )
        # An answer that could not be read has no parts; that they are missing says nothing more.
        broken += [r for r in found if not (broken and r["rule"].startswith("no_"))]
        if not broken and row["domain"] in settings.verify_domains:
            reference = json.loads(references[row["question_id"]])
            verdict = grade(row["domain"], answer.answer, reference)
            if not verdict.is_correct:
                broken.append({"rule": "incorrect_answer", "evidence": verdict.reason})
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
                    "n_student_tokens": len(response_tokens),
                    "teacher_logprobs": logprobs,
                    "teacher_token_starts": answer.token_starts,
                }
            )
    return Filtered(
        pa.Table.from_pylist(kept, schema=FILTERED_RESPONSES),
        pa.Table.from_pylist(rejected, schema=REJECTED_RESPONSES),
    )


def funnel(kept: pa.Table, rejected: pa.Table) -> dict[str, dict[str, int]]:
    """Per domain: how many answers were kept, and how many broke each rule."""
    counts: dict[str, Counter[str]] = {}
    for domain in kept["domain"].to_pylist():
        counts.setdefault(domain, Counter())["kept"] += 1
    for row in rejected.select(["domain", "broken_rules"]).to_pylist():
        of_domain = counts.setdefault(row["domain"], Counter())
        of_domain.update(broken["rule"] for broken in row["broken_rules"])
    return {domain: dict(of_domain) for domain, of_domain in sorted(counts.items())}
