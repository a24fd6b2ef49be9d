"""Answers of one checkpoint to one evaluation set, graded one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from dasd_assets.answering.earlier import SAMPLED, has_logprobs, row_id
from dasd_assets.answering.requests import complete_all, request_seed
from dasd_assets.profile import Evaluation
from dasd_assets.reporting.metrics import NO_FINAL_ANSWER
from dasd_assets.verification.grade import NotJudgedError
from dasd_assets.verification.graders import PAPER_GRADERS, Graders
from formats.answer_format import FormatError
from formats.chat import chat
from resources.engines.protocol import Completion, GenerationRequest, InferenceEngine, Progress
from resources.lake.row_batches import batches
from resources.lake.tables.evaluation import EVALUATION

EARLIER: Final = ("answer_id", *SAMPLED)
"""Columns of an earlier evaluation of the partition that its answers are taken from."""

UNUSABLE_REFERENCE: Final = "unusable_reference"
NOT_JUDGED: Final = "not_judged"
"""Verdicts on answers that nobody judged; the check `all_graded` stops what is below."""


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
    graders: Graders = PAPER_GRADERS,
    earlier: Iterable[pa.RecordBatch] = (),
    threads: int = 1,
) -> Iterator[pa.RecordBatch]:
    """Ask one evaluation set k times and grade every answer (paper section 7.3).

    The seeds do not depend on the checkpoint, so that checkpoints are compared on the same draws.
    An answer that was cut off or has no final part is wrong, never left out. All are sampled when
    this returns; as batches are taken, the answers to one question at a time are read from the
    journal and graded.

    Args:
        questions: rows with the schema BENCHMARK_QUESTIONS, all of one evaluation set.
        graders: of the profile's domains.
        earlier: the columns `EARLIER` of the partition as it was: answers to the same requests
            are graded again and not asked for.
        threads: answers that are graded at once.

    Returns:
        Batches with the schema EVALUATION, ordered by question, then sample index.

    Raises:
        ValueError: a question is beyond the context; nothing has been sampled then.
    """
    requests: list[GenerationRequest] = []
    shown = ("benchmark", "question_id", "prompt")
    for question in questions.select(shown).to_pylist():
        # Rendered once for all its answers.
        prompt = engine.render(chat(system_prompt, question["prompt"]))
        asked = [
            GenerationRequest(
                prompt=prompt,
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_tokens=settings.benchmarks[question["benchmark"]].max_tokens,
                seed=request_seed(seed, "evaluation", question["question_id"], index),
            )
            for index in range(settings.samples_per_question)
        ]
        if problem := engine.check(asked[0]):
            raise ValueError(
                f"{question['benchmark']}: question {question['question_id']} cannot be asked of "
                f"{checkpoint}: {problem}"
            )
        requests += asked
    completions = zip(
        requests,
        filter(None, complete_all(engine, requests, journal, on_progress, earlier)),
        strict=True,
    )

    def rows() -> Iterator[dict[str, Any]]:
        with ThreadPoolExecutor(threads) as pool:
            for question in _one_by_one(questions):
                judge = partial(_judged, question, json.loads(question["answer"]), graders)
                answers = [
                    _answer(engine, checkpoint, question, index, request, completion)
                    for index, (request, completion) in enumerate(
                        islice(completions, settings.samples_per_question)
                    )
                ]
                yield from pool.map(judge, answers)

    return batches(rows(), EVALUATION)


def _one_by_one(questions: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries, one at a time: the tests of a program can take 100 MB."""
    for batch in questions.to_batches(max_chunksize=1):
        yield from batch.to_pylist()


def _answer(
    engine: InferenceEngine,
    checkpoint: str,
    question: dict[str, Any],
    index: int,
    request: GenerationRequest,
    completion: Completion,
) -> dict[str, Any]:
    """A row of EVALUATION without the verdict, and `final`, the text that is judged."""
    token_ids, is_special = completion.token_ids, engine.format.token_bytes.is_special
    if len(token_ids) and is_special[token_ids[-1]]:  # the end token is no text
        token_ids = token_ids[:-1]
    return {
        "answer_id": row_id("a", engine, request),
        "checkpoint": checkpoint,
        "benchmark": question["benchmark"],
        "question_id": question["question_id"],
        "domain": question["domain"],
        "sample_index": index,
        "seed": request.seed,
        "max_tokens": request.max_tokens,
        "finish_reason": completion.finish_reason,
        "n_tokens": len(completion.token_ids),
        "token_ids": completion.token_ids,
        "logprobs": completion.logprobs if has_logprobs(completion) else None,
        "text": engine.decode(token_ids),
        "final": _final(engine, completion),
    }


def _final(engine: InferenceEngine, completion: Completion) -> str | None:
    """The final part of an answer; None if it has none.

    A model that never learnt to think first, as the paper's base student, answers without the
    marks: then all of its text is the answer, if it came to its end.
    """
    try:
        parts = engine.format.format.parse(completion.token_ids, engine.format.token_bytes)
    except FormatError:
        return None
    if not parts.reasoning and completion.finish_reason != "stop":
        return None
    return parts.answer or None


def _judged(
    question: dict[str, Any], reference: Any, graders: Graders, answer: dict[str, Any]
) -> dict[str, Any]:
    """The row with its verdict; a reference that fails its grader spoils no other answer."""
    final = answer.pop("final")
    row = answer | {"is_correct": False, "extracted": None, "detail": None}
    if final is None:
        return row | {"verdict": NO_FINAL_ANSWER}
    try:
        found = graders.grade(question["domain"], final, reference, question["prompt"])
    except NotJudgedError as error:
        return row | {"verdict": NOT_JUDGED, "detail": str(error)}
    except ValueError as error:
        return row | {"verdict": UNUSABLE_REFERENCE, "detail": str(error)}
    return row | {
        "is_correct": found.is_correct,
        "verdict": found.reason,
        "extracted": found.extracted,
        "detail": found.detail or None,
    }
