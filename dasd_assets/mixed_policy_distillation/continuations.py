"""Teacher continuations: a cut-off rollout is cut at random and finished by the teacher.

The teacher sees the student's prefix in its own format, from exact prompt tokens: chat templates
drop earlier reasoning (paper sections 5 and 6.4.2).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dasd_assets.response_filtering.student_format import THINK_CLOSE, THINK_OPEN
from dasd_assets.teacher_responses.earlier import row_id
from dasd_assets.teacher_responses.sampling import (
    batches,
    chat,
    complete_all,
    decode,
    request_seed,
    sampling_columns,
)
from resources.contracts import TEACHER_CONTINUATIONS
from resources.engines.byte_offsets import TokenBytes
from resources.engines.protocol import GenerationRequest, InferenceEngine, Progress

REASONING, ANSWER = "reasoning", "answer"
_OPEN_MARK, _CLOSE_MARK = "<think>", "</think>"

ANALYSIS_OPEN = "<|channel|>analysis<|message|>"
FINAL_OPEN = "<|channel|>final<|message|>"
_NEXT_MESSAGE = "<|end|><|start|>assistant"


@dataclass(frozen=True)
class Prefix:
    """What is kept of a rollout, in both formats."""

    student_text: str
    wire_text: str
    cut_part: str


def cut_position(n_tokens: int, min_fraction: float, seed: int) -> int:
    """Tokens to keep: uniform over the positions beyond a share of the length, before the end.

    A rollout too short to have such a position is kept whole: `n_tokens`.
    """
    first = math.floor(min_fraction * n_tokens) + 1
    return random.Random(seed).randrange(first, n_tokens) if first < n_tokens else n_tokens


def kept_text(token_bytes: TokenBytes, token_ids: np.ndarray) -> str:
    """The text of the kept tokens; half a character at the end is left out."""
    known = token_ids[token_ids < token_bytes.size]
    return token_bytes.decode(known).decode("utf-8", errors="ignore")


def teacher_prefix(text: str) -> Prefix:
    """A student's text, cut anywhere, in the teacher's format.

    Inside the thinking part the analysis channel stays open. Beyond it, or inside its closing mark,
    the analysis is finished and the final channel is open.
    """
    body = text.lstrip().removeprefix(_OPEN_MARK).removeprefix("\n")
    reasoning, mark, answer = body.partition(_CLOSE_MARK)
    if mark:
        kept = f"{THINK_OPEN}{reasoning.strip()}{THINK_CLOSE}{answer.lstrip()}"
        wire = f"{ANALYSIS_OPEN}{reasoning.strip()}{_NEXT_MESSAGE}{FINAL_OPEN}{answer.lstrip()}"
        return Prefix(kept, wire, ANSWER)
    # A cut inside `</think>`: the marker's characters are plain text to no model.
    reasoning = _without_partial_mark(reasoning)
    if reasoning != body:
        kept = f"{THINK_OPEN}{reasoning.strip()}{THINK_CLOSE}"
        wire = f"{ANALYSIS_OPEN}{reasoning.strip()}{_NEXT_MESSAGE}{FINAL_OPEN}"
        return Prefix(kept, wire, ANSWER)
    reasoning = reasoning.lstrip()
    return Prefix(THINK_OPEN + reasoning, ANALYSIS_OPEN + reasoning, REASONING)


def _without_partial_mark(text: str) -> str:
    for length in range(len(_CLOSE_MARK) - 1, 1, -1):
        if text.endswith(_CLOSE_MARK[:length]):
            return text[:-length]
    return text


def continue_rollouts(
    rollouts: pa.Table,
    engine: InferenceEngine,
    student_tokenizer: Any,
    *,
    min_cut_fraction: float,
    temperature: float,
    max_tokens: int,
    system_prompt: str,
    reasoning_effort: str,
    seed: int,
    journal: Path,
    on_progress: Callable[[Progress], None] | None = None,
    earlier: Iterable[pa.RecordBatch] = (),
) -> Iterator[pa.RecordBatch]:
    """Let the teacher finish every truncated rollout.

    Args:
        rollouts: rows with the schema STUDENT_ROLLOUTS; those that are not truncated are left out.
        engine: the teacher's.
        student_tokenizer: the tokenizer of the rollouts' token ids.

    Returns:
        Batches with the schema TEACHER_CONTINUATIONS, in the order of `rollouts`.
    """
    token_bytes = TokenBytes(student_tokenizer)
    rows = [row for row in rollouts.to_pylist() if row["is_truncated"]]
    prefixes, fractions, requests = [], [], []
    for row in rows:
        n_tokens = len(row["token_ids"])
        cut_seed = request_seed(seed, "cut", row["rollout_id"])
        position = cut_position(n_tokens, min_cut_fraction, cut_seed)
        prefix = teacher_prefix(kept_text(token_bytes, np.asarray(row["token_ids"][:position])))
        prompt = engine.render(
            chat(system_prompt, row["question"]), reasoning_effort=reasoning_effort
        )
        requests.append(
            GenerationRequest(
                prompt=prompt,
                prefix_token_ids=tuple(
                    engine.tokenizer.encode(prefix.wire_text, add_special_tokens=False)
                ),
                temperature=temperature,
                top_p=1.0,
                max_tokens=max_tokens,
                seed=request_seed(seed, "continuation", row["rollout_id"]),
            )
        )
        prefixes.append(prefix)
        fractions.append(position / n_tokens)
    completions = complete_all(engine, requests, journal, on_progress, earlier)
    continued = (
        {
            **{
                name: row[name]
                for name in ("rollout_id", "response_id", "question_id", "domain", "question")
            },
            "continuation_id": row_id("c", engine, request),
            **sampling_columns(engine, request, completion),
            "prefix_text": prefix.student_text,
            "cut_part": prefix.cut_part,
            "cut_fraction": fraction,
            "text": decode(engine, completion),
        }
        for row, prefix, fraction, request, completion in zip(
            rows, prefixes, fractions, requests, completions, strict=True
        )
    )
    return batches(continued, TEACHER_CONTINUATIONS)
