"""The mixed-policy sample: what student and teacher wrote together, and an off-policy share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dasd_assets.divergence_sampling.policies import random_order
from dasd_assets.mixed_policy_distillation.continuations import (
    ANALYSIS_OPEN,
    FINAL_OPEN,
    REASONING,
)
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.harmony import HarmonyError, wire_parts
from dasd_assets.response_filtering.rules import Response, broken_rules
from dasd_assets.response_filtering.student_format import (
    THINK_CLOSE,
    THINK_OPEN,
    student_text,
    template_marks,
)
from resources.contracts import MIXED_POLICY_SAMPLE, REJECTED_CONTINUATIONS
from training.encoding import encode_prompt, encode_response

MIXED_POLICY, OFF_POLICY = "mixed_policy", "off_policy"


@dataclass(frozen=True)
class Finished:
    """Finished answers that keep every rule, and the others (REJECTED_CONTINUATIONS)."""

    kept: pa.Table
    rejected: pa.Table


def finish_continuations(
    continuations: pa.Table,
    student_tokenizer: Any,
    settings: ResponseFiltering,
    system_prompt: str,
) -> Finished:
    """Join the student's prefixes with the teacher's continuations and filter the answers.

    The same rules as for teacher responses judge the whole answer. One to which the teacher added
    nothing is the student's own, and is rejected as `nothing_continued`.

    Args:
        continuations: rows with the schema TEACHER_CONTINUATIONS.

    Returns:
        Kept rows with the schema MIXED_POLICY_SAMPLE; every continuation is in one of the tables.
    """
    marks = template_marks(student_tokenizer)
    kept, rejected = [], []
    for row in continuations.to_pylist():
        broken = []
        reasoning = answer = ""
        tool_call = None
        try:
            reasoning, answer, tool_call = _join(row)
        except HarmonyError as error:
            broken.append({"rule": error.rule, "evidence": error.evidence})
        text = student_text(reasoning, answer)
        tokens = encode_response(student_tokenizer, text)
        prompt = encode_prompt(student_tokenizer, row["question"], system_prompt)
        found = broken_rules(
            Response(
                reasoning=reasoning,
                answer=answer,
                n_student_tokens=len(prompt) + len(tokens),
                finish_reason=row["finish_reason"],
                n_tokens=len(row["token_ids"]),
                logprobs=np.asarray(row["logprobs"], np.float32),
                tool_call=tool_call,
                template_marks=marks,
            ),
            settings,
        )
        # An answer that could not be read has no parts; that they are missing says nothing more.
        broken += [r for r in found if not (broken and r["rule"].startswith("no_"))]
        prefix_bytes = _common_bytes(row["prefix_text"], text)
        if not broken and prefix_bytes == len(text.encode()):
            broken.append(
                {"rule": "nothing_continued", "evidence": f"{len(row['text'])} characters"}
            )
        if broken:
            rejected.append({**row, "broken_rules": broken})
        else:
            kept.append(
                {
                    "sample_id": row["continuation_id"],
                    "policy": MIXED_POLICY,
                    "question_id": row["question_id"],
                    "domain": row["domain"],
                    "question": row["question"],
                    "response_text": text,
                    "student_prefix_bytes": prefix_bytes,
                    "n_student_tokens": len(tokens),
                }
            )
    return Finished(
        pa.Table.from_pylist(kept, schema=MIXED_POLICY_SAMPLE),
        pa.Table.from_pylist(rejected, schema=REJECTED_CONTINUATIONS),
    )


def mix(kept: pa.Table, off_policy: pa.Table, n_off_policy: int, seed: int) -> pa.Table:
    """The finished answers, and a random share of the divergence sample to keep the balance.

    Args:
        kept: rows with the schema MIXED_POLICY_SAMPLE.
        off_policy: rows with the schema DIVERGENCE_SAMPLE of all temperatures.
        n_off_policy: rows to add; all, if there are fewer.
    """
    order = np.argsort(random_order(off_policy, seed), kind="stable")[:n_off_policy]
    chosen = off_policy.take(pa.array(np.sort(order))).to_pylist()
    rows = [
        {
            **row,
            "sample_id": row["response_id"],
            "policy": OFF_POLICY,
            "student_prefix_bytes": 0,
        }
        for row in chosen
    ]
    return pa.concat_tables([kept, pa.Table.from_pylist(rows, schema=MIXED_POLICY_SAMPLE)])


def _join(row: dict[str, Any]) -> tuple[str, str, str | None]:
    """Reasoning, answer and tool call of prefix and continuation, read as one answer."""
    prefix = row["prefix_text"]
    if row["cut_part"] == REASONING:
        return wire_parts(ANALYSIS_OPEN + prefix.removeprefix(THINK_OPEN) + row["text"])
    # The prefix is split by hand: its trailing white space belongs to the answer.
    reasoning, _, answer_start = prefix.removeprefix(THINK_OPEN).partition(THINK_CLOSE)
    _, answer, tool_call = wire_parts(f"{FINAL_OPEN}{answer_start}{row['text']}")
    return reasoning.strip(), answer, tool_call


def _common_bytes(prefix: str, text: str) -> int:
    """Leading bytes of the text that the student wrote."""
    n = 0
    for left, right in zip(prefix, text, strict=False):
        if left != right:
            break
        n += len(left.encode())
    return n
