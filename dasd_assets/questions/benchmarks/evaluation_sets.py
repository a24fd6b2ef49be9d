"""Evaluation sets: read like question drops, but without tolerance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from dasd_assets.profile import Benchmark
from dasd_assets.questions.benchmarks.benchmark_files import MAX_ROW_BYTES, benchmark_rows
from dasd_assets.questions.benchmarks.benchmark_formats import FORMATS, BenchmarkQuestion
from dasd_assets.questions.benchmarks.livecodebench import contest_day
from dasd_assets.questions.curation.normalisation import normalise, question_id
from dasd_assets.questions.reading.rows import DropError, standard_layout, usable
from dasd_assets.questions.reading.unusable import UnusableRowError
from dasd_assets.verification.graders import PAPER_GRADERS, Graders
from resources.lake.row_batches import batches
from resources.lake.table import ContractError
from resources.lake.tables.questions import BENCHMARK_QUESTIONS

UNUSABLE_REFERENCE: Final = "unusable_reference"


def read_benchmark(
    benchmark: Benchmark,
    name: str,
    graders: Graders = PAPER_GRADERS,
    seed: int = 0,
    left_out: list[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Questions of one evaluation set, in the order of its files.

    An evaluation set with a bad row would give a wrong score, so nothing is quarantined; only a
    question whose reference its grader cannot use is left out, before any answer is sampled, as no
    answer to it could be right.

    Args:
        benchmark: where it lies and in which format.
        name: of the evaluation set.
        graders: of the profile's domains; each reference has to be one that its grader can use.
        seed: gives the order of options, where a question has some.
        left_out: is filled with file, row and reason of each question that is left out.

    Returns:
        Batches with the schema BENCHMARK_QUESTIONS; of bounded size, as the hidden tests of
        programs can take gigabytes.

    Raises:
        ContractError: nothing is there, no reference can be used, or a row cannot; names the file
            and the row.
    """
    try:
        rows = _questions(benchmark, name, graders, seed, [] if left_out is None else left_out)
        yield from batches(rows, BENCHMARK_QUESTIONS)
    except (DropError, OSError, pa.ArrowException) as error:
        raise ContractError(f"the evaluation set {name!r} cannot be read: {error}") from error


def _questions(
    benchmark: Benchmark, name: str, graders: Graders, seed: int, left_out: list[str]
) -> Iterator[dict[str, Any]]:
    bad: list[str] = []
    seen: dict[str, str] = {}
    for file, (number, content) in benchmark_rows(benchmark.path, benchmark.files):
        place = f"{file}: row {number}"
        try:
            if isinstance(content, UnusableRowError):
                raise content
            if not _is_in_window(content, benchmark):
                continue
            row = _row(content, benchmark, name, graders, seed)
            earlier = seen.setdefault(row["question_id"], place)
            if earlier != place:
                raise UnusableRowError("duplicate_question", f"the question of {earlier}")
            yield row
        except UnusableRowError as error:
            to = left_out if error.reason == UNUSABLE_REFERENCE else bad
            to.append(f"{place}: {error.reason} ({error.evidence[:200]})")
    if not seen:
        bad += left_out
    if bad:
        raise ContractError(
            f"the evaluation set {name!r}: {len(bad)} row(s) cannot be used as "
            f"{benchmark.format}; the first is {bad[0]}"
        )
    if not seen:
        window = f" from {benchmark.since} to {benchmark.before}"
        raise ContractError(
            f"{benchmark.path}: the evaluation set {name!r} has no questions"
            f"{window if benchmark.since or benchmark.before else ''}"
        )


def _row(
    content: dict[str, Any], benchmark: Benchmark, name: str, graders: Graders, seed: int
) -> dict[str, Any]:
    question = _question(content, benchmark, graders, seed)
    try:
        graders.check_reference(question.domain, question.answer)
    except ValueError as error:
        raise UnusableRowError(UNUSABLE_REFERENCE, str(error)) from None
    try:
        return {
            "question_id": question_id(question.domain, question.question),
            "benchmark": name,
            "domain": question.domain,
            "question": normalise(question.question),
            "prompt": normalise(question.prompt),
            # As ASCII where it need not be: half a surrogate pair has no UTF-8.
            "answer": json.dumps(question.answer, sort_keys=True),
        }
    except UnicodeEncodeError:
        raise UnusableRowError("invalid_utf8", "a lone surrogate") from None


def _question(
    content: dict[str, Any], benchmark: Benchmark, graders: Graders, seed: int
) -> BenchmarkQuestion:
    if benchmark.format != "questions":
        return FORMATS[benchmark.format](content, seed)
    row = usable(content, standard_layout(), MAX_ROW_BYTES, graders.domains)
    if row["earlier_messages"]:
        raise UnusableRowError(
            "conversation", "a question of an evaluation set is one text, without a system prompt"
        )
    return BenchmarkQuestion(
        row["domain"], row["question"], row["question"], json.loads(row["answer"])
    )


def _is_in_window(content: dict[str, Any], benchmark: Benchmark) -> bool:
    """Whether a problem's contest is one of those that are asked; tests need not be read for it."""
    if not (benchmark.since or benchmark.before):
        return True
    day = contest_day(content)
    return (benchmark.since is None or benchmark.since <= day) and (
        benchmark.before is None or day < benchmark.before
    )
