"""The numbers behind the pictures, gathered by DuckDB: at most one number an answer leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dasd_assets.reporting.figures import ANSWER_CLASSES, SENTENCE_CLASSES
from resources.lake.tables.divergence_sampling import CONTROLS

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Numbers = NDArray[np.float64]
Partition = Mapping[str, str]


def likelihoods(warehouse: DuckDBPyConnection, where: Partition) -> dict[str, Numbers]:
    """Geometric mean of the token probabilities of every answer of the teacher (Fig. 3a).

    Answers that a rule rejects are among them; those without tokens are not, and those with a
    logprob that is not finite have a likelihood that is not finite.

    Args:
        warehouse: from `open_warehouse`.
        where: partition columns and their keys; all partitions if empty.

    Returns:
        Temperature -> one number an answer, shape (answers,).
    """
    return _by_name(
        warehouse, "SELECT temperature, exp(list_avg(logprobs))", "teacher_responses",
        where, "len(logprobs) > 0",
    )  # fmt: skip


def response_lengths(warehouse: DuckDBPyConnection, where: Partition) -> dict[str, Numbers]:
    """Tokens of every answer that the teacher sampled, by temperature."""
    return _by_name(warehouse, "SELECT temperature, len(token_ids)", "teacher_responses", where)


def filtered_lengths(warehouse: DuckDBPyConnection, where: Partition) -> dict[str, Numbers]:
    """Student tokens of every answer that passed the filters, by temperature."""
    return _by_name(warehouse, "SELECT temperature, n_student_tokens", "filtered_responses", where)


def evaluation_lengths(warehouse: DuckDBPyConnection) -> dict[str, Numbers]:
    """Tokens of every answer to an evaluation question, by checkpoint."""
    return _by_name(warehouse, "SELECT checkpoint, n_tokens", "evaluation", {})


def candidates(warehouse: DuckDBPyConnection, temperature: str, column: str) -> dict[str, Numbers]:
    """A number of every candidate of one temperature: all, the selected, both controls."""
    rows = _rows(
        warehouse,
        f"SELECT {column}, is_selected, {', '.join(f'is_{name}_control' for name in CONTROLS)} "
        "FROM divergence_candidates",
        {"temperature": temperature},
    )
    values, is_selected, *is_control = (column.to_numpy() for column in rows.columns)
    return {
        "all": values,
        "selected": values[is_selected],
        **{
            f"{name} control": values[drawn]
            for name, drawn in zip(CONTROLS, is_control, strict=True)
        },
    }


@dataclass(frozen=True)
class Classified:
    """A table of sentences with their classes, and where it stands which answers are right.

    Attributes:
        key: columns that name an answer in both tables.
        classes: of scored sentences, in the order they are shown in.
    """

    sentences: str
    answers: str
    key: str
    classes: tuple[str, ...]


OF_TEACHER = Classified(
    "sentence_provenance", "filtered_responses", "temperature, question_shard, response_id",
    SENTENCE_CLASSES,
)  # fmt: skip
"""The teacher's answers, before training."""
OF_CHECKPOINTS = Classified(
    "evaluation_provenance", "evaluation", "checkpoint, benchmark, answer_id", ANSWER_CLASSES
)
"""The checkpoints' own answers, after training."""


def judged_answers(
    warehouse: DuckDBPyConnection, where: Partition, of: Classified = OF_TEACHER
) -> dict[bool, int]:
    """How many classified answers are right (True) and wrong; no key where there are none."""
    counts = warehouse.sql(
        f"""
        SELECT is_correct, count(*)
        FROM (FROM {of.answers} WHERE {in_partition(where)} AND is_correct IS NOT NULL)
        SEMI JOIN (FROM {of.sentences} WHERE {in_partition(where)}) USING ({of.key})
        GROUP BY ALL
        """,
        params=dict(where),
    ).fetchall()
    return dict(counts)


def class_shares(
    warehouse: DuckDBPyConnection,
    where: Partition,
    n_bins: int = 10,
    is_correct: bool | None = None,
    of: Classified = OF_TEACHER,
) -> dict[str, Numbers]:
    """Share of each sentence class by relative position in the answer (paper Fig. 6).

    Unscored sentences have a position, but no share.

    Args:
        warehouse: from `open_warehouse`.
        where: partition columns and their keys; all partitions if empty.
        n_bins: bins from the beginning of an answer to its end.
        is_correct: of the right (wrong) answers only; None: of all, judged or not.
        of: whose sentences.

    Returns:
        Class -> share per bin, shape (n_bins,); NaN where a bin has no scored sentence.
    """
    sentences = f"(FROM {of.sentences} WHERE {in_partition(where)})"
    if is_correct is not None:
        sentences = f"""(FROM {sentences} WHERE ({of.key}) IN (
            SELECT ({of.key}) FROM {of.answers}
            WHERE {in_partition(where)} AND is_correct = {is_correct}))"""
    rows = warehouse.sql(
        f"""
        WITH last AS (
            SELECT {of.key}, max(sentence_index) AS last_index FROM {sentences} GROUP BY ALL
        )
        SELECT sentence_class, count(*) AS n,
               least(floor((sentence_index + 0.5) / (last_index + 1) * {n_bins:d}),
                     {n_bins:d} - 1)::INTEGER AS bin
        FROM {sentences} JOIN last USING ({of.key})
        GROUP BY ALL
        """,
        params=dict(where),
    ).to_arrow_table()
    counts = np.zeros((len(of.classes), n_bins))
    for name, n, index in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        if name in of.classes:
            counts[of.classes.index(name), index] = n
    totals = counts.sum(axis=0)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return dict(zip(of.classes, shares, strict=True))


def varied_answer(
    warehouse: DuckDBPyConnection, where: Partition, of: Classified = OF_TEACHER
) -> list[dict[str, Any]]:
    """Sentences of the answer that has the most of all classes; none if there is no answer."""
    counted = [f"count(*) FILTER (sentence_class = '{name}')" for name in of.classes]
    found = warehouse.sql(
        f"""
        SELECT {of.key} FROM {of.sentences} WHERE {in_partition(where)} GROUP BY ALL
        ORDER BY list_sum([least(n, 5) FOR n IN [{", ".join(counted)}]]) DESC,
                 count(*), {of.key}
        LIMIT 1
        """,
        params=dict(where),
    ).to_arrow_table()
    if not found.num_rows:
        return []
    named = found.to_pylist()[0]
    rows: list[dict[str, Any]] = (
        warehouse.sql(
            f"FROM {of.sentences} WHERE {in_partition(named)} ORDER BY sentence_index",
            params=named,
        )
        .to_arrow_table()
        .to_pylist()
    )
    return rows


@dataclass(frozen=True)
class CutOffRates:
    """Rollouts by the length of the teacher's answer, in bins of about equally many.

    Attributes:
        shortest, longest: student tokens of the teacher's answers of a bin, shape (bins,).
        rollouts: usable rollouts of a bin.
        share: of them, cut off by the cap; 0 to 1.
    """

    shortest: Numbers
    longest: Numbers
    rollouts: Numbers
    share: Numbers


def cut_off_rates(warehouse: DuckDBPyConnection, where: Partition, n_bins: int = 10) -> CutOffRates:
    """How often the student's own answers hit their cap, by length (paper Fig. 7).

    Rollouts that cannot be used count nowhere. Equal lengths are in one bin.

    Args:
        warehouse: from `open_warehouse`.
        where: partition columns and their keys; all partitions if empty.
        n_bins: bins at most.
    """
    rows = warehouse.sql(
        f"""
        WITH ranked AS (
            SELECT n_teacher_response_tokens AS n_tokens, is_truncated,
                   percent_rank() OVER (ORDER BY n_teacher_response_tokens) AS position
            FROM student_rollouts
            WHERE {in_partition(where)} AND coalesce(len(broken_rules), 0) = 0
        )
        SELECT min(n_tokens) AS shortest, max(n_tokens) AS longest, count(*) AS rollouts,
               avg(is_truncated::INTEGER) AS share
        FROM ranked GROUP BY least(floor(position * {n_bins:d}), {n_bins:d} - 1) ORDER BY shortest
        """,
        params=dict(where),
    ).to_arrow_table()
    return CutOffRates(*(column.to_numpy().astype(np.float64) for column in rows.columns))


def _by_name(
    warehouse: DuckDBPyConnection, select: str, table: str, where: Partition, and_also: str = "true"
) -> dict[str, Numbers]:
    """Two selected columns, a name and a number, as the numbers of each name."""
    rows = _rows(warehouse, f"{select} AS number FROM {table}", where, and_also)
    names = rows[0].combine_chunks().dictionary_encode()
    numbers = rows["number"].to_numpy().astype(np.float64)
    codes = names.indices.to_numpy(zero_copy_only=False)
    return {name: numbers[codes == code] for code, name in enumerate(names.dictionary.to_pylist())}


def _rows(
    warehouse: DuckDBPyConnection, query: str, where: Partition, and_also: str = "true"
) -> pa.Table:
    condition = f"{in_partition(where)} AND {and_also}"
    return warehouse.sql(f"{query} WHERE {condition}", params=dict(where)).to_arrow_table()


def in_partition(where: Partition) -> str:
    """SQL that is true of the rows of these partitions; `where` itself has its parameters."""
    return " AND ".join(["true", *(f"{name} = ${name}" for name in where)])
