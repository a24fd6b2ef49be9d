"""Evaluation sets: read like question drops, but without tolerance."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from dasd_assets.questions.drops import read_whole_drop
from dasd_assets.questions.normalisation import normalise, question_id
from resources.contracts import BENCHMARK_QUESTIONS, ContractError


def read_benchmark(file: Path, benchmark: str, max_row_bytes: int) -> pa.Table:
    """Questions of one evaluation set.

    An evaluation set with a bad row would give a wrong score, so nothing is quarantined.

    Returns:
        Table with the schema BENCHMARK_QUESTIONS, in the file's order.

    Raises:
        ContractError: the file is missing, has no rows, or a row cannot be used.
    """
    if not file.is_file():
        raise ContractError(f"{file}: the evaluation set {benchmark!r} is missing")
    contents = read_whole_drop(file, None, max_row_bytes)
    if contents.quarantined.num_rows:
        first = contents.quarantined.slice(0, 1).to_pylist()[0]
        raise ContractError(
            f"{file}: {contents.quarantined.num_rows} row(s) cannot be used; the first is line "
            f"{first['line']}: {first['reason']} ({first['evidence']})"
        )
    if not contents.rows.num_rows:
        raise ContractError(f"{file}: the evaluation set {benchmark!r} has no questions")
    rows = [
        {
            "question_id": question_id(row["domain"], row["question"]),
            "benchmark": benchmark,
            "domain": row["domain"],
            "question": normalise(row["question"]),
            "answer": row["answer"],
        }
        for row in contents.rows.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=BENCHMARK_QUESTIONS)
