"""Decontamination: which questions share words with an evaluation set (paper section 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dasd_assets.questions.curation.normalisation import normalise, words, words_and_symbols

if TYPE_CHECKING:
    import duckdb

# The whole of a short question is never n words: it equals no gram of a long one.
_GRAMS_SQL = """
create or replace macro grams(words, whole, n) as
    case when len(words) < n then case when whole = '' then [] else [whole] end
    else list_transform(range(1, len(words) - n + 2),
                        lambda i : array_to_string(words[i : i + n - 1], ' '))
    end
"""

_BENCHMARK_SQL = """
create table benchmark_grams as
select gram, min(benchmark) as benchmark
from (select benchmark, unnest(grams(words, whole, $n)) as gram from held_out)
group by gram
"""

_MATCH_SQL = """
with question_grams as not materialized (
    select row, unnest(grams(words, whole, $n)) as gram from questions
)
select row, min(gram || ' (' || benchmark || ')') as evidence
from question_grams join benchmark_grams using (gram)
group by row
"""


class EvaluationGrams:
    """The word n-grams of all evaluation sets, to be looked up by batches of questions.

    A question that shares `ngram_words` consecutive words with an evaluation question is
    contaminated; one with fewer words is compared whole, symbols included.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, benchmark_questions: pa.Table, ngram_words: int
    ) -> None:
        self._connection = connection
        self._n = {"n": ngram_words}
        self._is_empty = not benchmark_questions.num_rows
        connection.execute(_GRAMS_SQL)
        held_out = list(map(normalise, benchmark_questions["question"].to_pylist()))
        connection.register(
            "held_out", _comparable(held_out, benchmark=benchmark_questions["benchmark"])
        )
        connection.execute(_BENCHMARK_SQL, self._n)
        connection.unregister("held_out")

    def matches(self, questions: list[str]) -> dict[int, str]:
        """Index of each contaminated question -> the shared n-gram and the set that has it.

        Args:
            questions: normalised questions.
        """
        if not questions or self._is_empty:
            return {}
        self._connection.register("questions", _comparable(questions, row=[*range(len(questions))]))
        found = self._connection.execute(_MATCH_SQL, self._n).fetchall()
        self._connection.unregister("questions")
        return dict(found)

    def matches_of_turns(self, conversations: list[list[str]]) -> dict[int, str]:
        """Index of each contaminated conversation -> what its first such turn shares.

        Args:
            conversations: the user's normalised turns of each.
        """
        owner = [index for index, turns in enumerate(conversations) for _ in turns]
        found = self.matches([turn for turns in conversations for turn in turns])
        return {owner[turn]: found[turn] for turn in sorted(found, reverse=True)}


def _comparable(questions: list[str], **key: Any) -> pa.Table:
    return pa.table(
        {
            **key,
            "words": pa.array([words(question) for question in questions], pa.list_(pa.string())),
            "whole": [words_and_symbols(question) for question in questions],
        }
    )
