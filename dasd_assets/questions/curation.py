"""Curation: normalised, once in all shards, and in no evaluation set (paper section 6.1)."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from resources.contracts import QUESTIONS, REJECTED_QUESTIONS

_WHITE_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")
_WORD_OR_SYMBOL = re.compile(r"""\w+|[^\w\s.,;:!?'"]""")


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


def words_and_symbols(question: str) -> str:
    """What is compared of a short question as a whole, as `3 + 4` is not `3 - 4`."""
    return " ".join(_WORD_OR_SYMBOL.findall(normalise(question).casefold()))


def curate(
    raw: pa.Table, accepted_elsewhere: pa.Table, benchmark_questions: pa.Table, ngram_words: int
) -> Curated:
    """Normalise, deduplicate and decontaminate the rows of one drop.

    Of equal questions in the drop the first stays; one that another shard has already does not. A
    question that shares `ngram_words` consecutive words with an evaluation question is
    contaminated; one with fewer words is compared whole, symbols included.

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
with question_grams as not materialized (
    select row, unnest(grams(words, whole, $n)) as gram from questions
), benchmark_grams as (
    select distinct benchmark, unnest(grams(words, whole, $n)) as gram from benchmarks
)
select row, min(gram || ' (' || benchmark || ')') as evidence
from question_grams join benchmark_grams using (gram)
group by row
"""

# The whole of a short question is never n words: it equals no gram of a long one.
_GRAMS_SQL = """
create macro grams(words, whole, n) as
    case when len(words) < n then case when whole = '' then [] else [whole] end
    else list_transform(range(1, len(words) - n + 2),
                        lambda i : array_to_string(words[i : i + n - 1], ' '))
    end
"""


def _contaminated(
    rows: list[dict[str, object]], benchmark_questions: pa.Table, ngram_words: int
) -> dict[int, str]:
    """Index of each contaminated row -> the shared n-gram and the evaluation set that has it."""
    if not rows or not benchmark_questions.num_rows:
        return {}
    import duckdb

    questions = [str(row["question"]) for row in rows]
    held_out = benchmark_questions["question"].to_pylist()
    with duckdb.connect() as connection:
        connection.register("questions", _comparable(questions, row=[*range(len(rows))]))
        connection.register(
            "benchmarks", _comparable(held_out, benchmark=benchmark_questions["benchmark"])
        )
        connection.execute(_GRAMS_SQL)
        return dict(connection.execute(_MATCH_SQL, {"n": ngram_words}).fetchall())


def _comparable(questions: list[str], **key: Any) -> pa.Table:
    return pa.table(
        {
            **key,
            "words": pa.array([words(question) for question in questions], pa.list_(pa.string())),
            "whole": [words_and_symbols(question) for question in questions],
        }
    )
