"""Answers of one checkpoint to one evaluation set, graded one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_assets.evaluation.graders import grade
from dasd_assets.profile import Evaluation
from dasd_assets.response_filtering.student_format import split_student_text
from dasd_assets.teacher_responses.sampling import batches, chat, complete_all, request_seed
from resources.contracts import EVALUATION
from resources.engines.protocol import Completion, GenerationRequest, InferenceEngine, Progress


def evaluate_checkpoint(
    questions: pa.Table,
    engine: InferenceEngine,
    *,
    checkpoint: str,
    settings: Evaluation,
    system_prompt: str,
    seed: int,
    journal: Path,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Ask one evaluation set k times and grade every answer (paper section 7.3).

    The seeds do not depend on the checkpoint, so that checkpoints are compared on the same draws.
    An answer that was cut off or has no final part is wrong, never left out.

    Args:
        questions: rows with the schema BENCHMARK_QUESTIONS, all of one evaluation set.

    Returns:
        Batches with the schema EVALUATION, ordered by question, then sample index.
    """
    asked = []
    requests = []
    for question in questions.to_pylist():
        prompt = engine.render(chat(system_prompt, question["question"]))
        for index in range(settings.samples_per_question):
            asked.append((question, index))
            requests.append(
                GenerationRequest(
                    prompt=prompt,
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    max_tokens=settings.benchmarks[question["benchmark"]].max_tokens,
                    seed=request_seed(seed, "evaluation", question["question_id"], index),
                )
            )
    completions = complete_all(engine, requests, journal, on_progress)
    rows = (
        _graded(engine, checkpoint, question, index, request, completion)
        for (question, index), request, completion in zip(asked, requests, completions, strict=True)
    )
    return batches(rows, EVALUATION)


def _graded(
    engine: InferenceEngine,
    checkpoint: str,
    question: dict[str, Any],
    index: int,
    request: GenerationRequest,
    completion: Completion | None,
) -> dict[str, Any]:
    if completion is None:
        raise ValueError(
            f"{question['benchmark']}: question {question['question_id']} with "
            f"{len(request.prompt.token_ids)} prompt tokens and max_tokens "
            f"{request.max_tokens} is beyond the context of {checkpoint}"
        )
    text = engine.tokenizer.decode(completion.token_ids, skip_special_tokens=True)
    answer = split_student_text(text).answer
    reference = json.loads(question["answer"])
    verdict = grade(question["domain"], answer, reference) if answer is not None else None
    return {
        "checkpoint": checkpoint,
        "benchmark": question["benchmark"],
        "question_id": question["question_id"],
        "domain": question["domain"],
        "sample_index": index,
        "seed": request.seed,
        "finish_reason": completion.finish_reason,
        "n_tokens": len(completion.token_ids),
        "text": text,
        "is_correct": verdict is not None and verdict.is_correct,
        "verdict": verdict.reason if verdict is not None else "no_final_answer",
    }
