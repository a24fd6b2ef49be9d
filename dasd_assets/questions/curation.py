"""Curation: normalised, once in all shards, and in no evaluation set (paper section 6.1)."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

import pyarrow as pa

from resources.contracts import QUESTIONS, REJECTED_QUESTIONS

_WHITE_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Curated:
    """Questions that stay (QUESTIONS) and those that do not (REJECTED_QUESTIONS)."""

    questions: pa.Table
    rejected: pa.Table


def normalise(question: str) -> str:
    """The question as it is asked: Unicode NFC, outer white space removed."""
    return unicodedata.normalize("NFC", question).strip()


def question_id(domain: str, question: str) -> str:
    """Content hash of a question, the same for spellings that differ in case or white space."""
    folded = _WHITE_SPACE.sub(" ", normalise(question)).casefold()
    return "q-" + hashlib.sha256(f"{domain}\0{folded}".encode()).hexdigest()[:16]


def words(question: str) -> list[str]:
    """The words that decontamination compares: letters and digits, case folded."""
    return _WORD.findall(normalise(question).casefold())


def curate(
    raw: pa.Table, accepted_elsewhere: pa.Table, benchmark_questions: pa.Table, ngram_words: int
) -> Curated:
    """Normalise, deduplicate and decontaminate the rows of one drop.

    Of equal questions in the drop the first stays; one that another shard has already does not. A
    question that shares `ngram_words` consecutive words with an evaluation question is
    contaminated; one with fewer words is compared whole.

    Args:
        raw: rows with the schema RAW_QUESTIONS.
        accepted_elsewhere: question_id and question_shard of the questions of all other shards.
        benchmark_questions: rows with the schema BENCHMARK_QUESTIONS.
        ngram_words: length of the n-grams.

    Returns:
        Both tables in the order of the drop; every row of `raw` is in exactly one.
    """
    rows = raw.to_pylist()
    for row in rows:
        row["question"] = normalise(row["question"])
        row["question_id"] = question_id(row["domain"], row["question"])
    elsewhere = dict(
        zip(
            accepted_elsewhere["question_id"].to_pylist(),
            accepted_elsewhere["question_shard"].to_pylist() if accepted_elsewhere.num_rows else [],
            strict=True,
        )
    )
    contaminated = _contaminated(rows, benchmark_questions, ngram_words)
    first_line: dict[str, int] = {}
    kept, rejected = [], []
    for index, row in enumerate(rows):
        identity = row["question_id"]
        if identity in first_line:
            verdict = ("duplicate_in_drop", f"line {first_line[identity]}")
        elif identity in elsewhere:
            verdict = ("duplicate_of_shard", elsewhere[identity])
        elif index in contaminated:
            verdict = ("contaminated", contaminated[index])
        else:
            kept.append(row)
            first_line[identity] = row["line"]
            continue
        first_line.setdefault(identity, row["line"])
        rejected.append({**row, "reason": verdict[0], "evidence": verdict[1]})
    return Curated(
        pa.Table.from_pylist(kept, schema=QUESTIONS),
        pa.Table.from_pylist(rejected, schema=REJECTED_QUESTIONS),
    )


_MATCH_SQL = """
with grams as (
    select row, side, label,
           unnest(case when len(words) <= $n then [words]
                  else list_transform(range(1, len(words) - $n + 2),
                                      lambda i : words[i : i + $n - 1])
                  end) as gram
    from asked
    where len(words) > 0
)
select q.row, min(array_to_string(q.gram, ' ') || ' (' || b.label || ')') as evidence
from grams q join grams b on q.gram = b.gram
where q.side = 'question' and b.side = 'benchmark'
group by q.row
"""


def _contaminated(
    rows: list[dict[str, object]], benchmark_questions: pa.Table, ngram_words: int
) -> dict[int, str]:
    """Index of each contaminated row -> the shared n-gram and the evaluation set that has it."""
    if not rows or not benchmark_questions.num_rows:
        return {}
    import duckdb

    benchmark_rows = benchmark_questions.select(["benchmark", "question"]).to_pylist()
    asked = pa.table(
        {
            "row": [*range(len(rows)), *range(len(benchmark_rows))],
            "side": ["question"] * len(rows) + ["benchmark"] * len(benchmark_rows),
            "label": [None] * len(rows) + [row["benchmark"] for row in benchmark_rows],
            "words": [words(str(row["question"])) for row in [*rows, *benchmark_rows]],
        }
    )
    with duckdb.connect() as connection:
        connection.register("asked", asked)
        return dict(connection.execute(_MATCH_SQL, {"n": ngram_words}).fetchall())
