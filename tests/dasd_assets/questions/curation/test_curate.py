"""Curation: every row in exactly one table, once in all shards, in no evaluation set."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dasd_assets.questions.curation.curate import NothingLeftError
from dasd_assets.questions.curation.normalisation import normalise, question_id, words
from resources.lake.tables.questions import BENCHMARK_QUESTIONS, QUESTIONS, RAW_QUESTIONS
from tests.support.curation import Result, curate, settings_of

NGRAM = 4
EXACT = settings_of(decontamination_ngram_words=NGRAM, near_duplicate_jaccard=None)


def raw(*questions: str, domain: str = "math", first_line: int = 1) -> pa.Table:
    rows = [
        {"drop": "d.jsonl", "line": line, "question": q, "domain": domain, "answer": "1"}
        for line, q in enumerate(questions, first_line)
    ]
    return pa.Table.from_pylist(rows, schema=RAW_QUESTIONS)


def benchmark(*questions: str) -> pa.Table:
    rows = [
        {"question_id": "b", "benchmark": "aime", "domain": "math", "question": q, "answer": "1"}
        for q in questions
    ]
    return pa.Table.from_pylist(rows, schema=BENCHMARK_QUESTIONS)


def elsewhere(**shard_of: str) -> dict[str, pa.Table]:
    """Questions of other shards: shard -> table, from question_id -> shard."""
    return {
        shard: pa.Table.from_pylist(
            [
                {"question_id": i, "domain": "math", "question": i, "answer": "1", "drop": "o",
                 "line": 1}
                for i, name in shard_of.items() if name == shard
            ],
            schema=QUESTIONS,
        )
        for shard in sorted(set(shard_of.values()))
    }  # fmt: skip


def curated(
    rows: pa.Table, others: dict[str, pa.Table] | None = None, held_out: pa.Table | None = None
) -> Result:
    return curate(rows, EXACT, others=others, held_out=held_out)


def verdicts(result: Result) -> list[tuple[int, str, str]]:
    return [(r["line"], r["reason"], r["evidence"]) for r in result.rejected.to_pylist()]


@pytest.mark.parametrize(
    "other", ["what is É ?", "What\n is\u00a0\tE\u0301\u3000?", "  WHAT IS é ?\n", "What is É ?"]
)
def test_case_white_space_and_composition_do_not_make_another_question(other: str) -> None:
    assert question_id("math", "What is é ?") == question_id("math", other)


def test_domain_and_words_make_another_question() -> None:
    ids = [("math", "a b"), ("code", "a b"), ("math", "ab"), ("math", "a b?")]
    assert len({question_id(*each) for each in ids}) == len(ids)


def test_questions_are_trimmed_and_composed_but_keep_their_case_and_inner_space() -> None:
    (kept,) = curated(raw(" Was ist  E\u0301?\n")).questions["question"].to_pylist()
    assert kept == "Was ist  \u00c9?" == normalise(kept)


def test_of_equal_questions_the_first_stays_and_is_the_evidence() -> None:
    result = curated(raw("one?", "two?", " ONE? ", "three?", "one?", first_line=5))
    assert result.questions["line"].to_pylist() == [5, 6, 8]
    assert verdicts(result) == [
        (7, "duplicate_in_drop", "line 5"),
        (9, "duplicate_in_drop", "line 5"),
    ]


def test_equal_words_in_two_domains_are_two_questions() -> None:
    both = pa.concat_tables([raw("one?"), raw("one?", domain="science", first_line=2)])
    assert curated(both).questions.num_rows == 2


def test_a_question_of_another_shard_is_rejected_and_the_shard_named() -> None:
    others = elsewhere(**{question_id("math", "one?"): "drop-07"})
    result = curated(raw("One?", "two?", "one?"), others)
    assert result.questions["line"].to_pylist() == [2]
    assert verdicts(result) == [
        (1, "duplicate_of_shard", "drop-07"),
        (3, "duplicate_in_drop", "line 1"),
    ]


def test_shared_ngrams_are_contamination_and_the_evidence() -> None:
    held_out = benchmark("Compute the sum of all primes below ten.")
    result = curated(
        raw(
            "Now: THE sum, of all! But of evens.",
            "the sum of evens of all primes",
            "sum of the all primes below ten",
        ),
        held_out=held_out,
    )
    assert result.questions["line"].to_pylist() == [2]
    assert verdicts(result) == [
        (1, "contaminated", "the sum of all (aime)"),
        (3, "contaminated", "all primes below ten (aime)"),
    ]


def test_a_question_shorter_than_the_ngram_is_compared_whole() -> None:
    held_out = benchmark("What is six?")
    result = curated(raw("what is SIX", "what is six times two", "is six?"), held_out=held_out)
    assert result.questions["line"].to_pylist() == [2, 3]
    assert verdicts(result) == [(1, "contaminated", "what is six (aime)")]


def test_a_short_question_with_another_operator_is_another_question() -> None:
    held_out = benchmark("Is 3 - 4?", "Six?")
    result = curated(raw("Is 3 + 4?", "IS 3 -4", "seven?"), held_out=held_out)
    assert verdicts(result) == [(2, "contaminated", "is 3 - 4 (aime)")]


def test_a_question_of_exactly_the_ngrams_length_is_found_inside_a_longer_one() -> None:
    held_out = benchmark("Tell me: what is 3 - 4? Quickly.")
    result = curated(raw("What is 3 + 4?"), held_out=held_out)
    assert verdicts(result) == [(1, "contaminated", "what is 3 4 (aime)")]


def test_a_question_without_words_has_nothing_in_common_with_another() -> None:
    result = curated(raw("∑ ∫ ?", "+"), held_out=benchmark("→ ∞ !"))
    assert result.questions.num_rows == 2


def test_no_rows_and_no_evaluation_set_are_fine() -> None:
    assert curated(raw(), held_out=benchmark("a b c d")).questions.num_rows == 0
    assert curated(raw("a b c d")).questions.num_rows == 1


VOCABULARY = st.sampled_from(["a", "B", "b", "é", "e\u0301", "7", "?"])
QUESTION = st.lists(VOCABULARY, min_size=1, max_size=7).map(" ".join)


def shares_ngram(question: str, held_out: list[str]) -> bool:
    def grams(text: str) -> set[tuple[str, ...]]:
        found = words(normalise(text))
        size = min(len(found), NGRAM)
        return {tuple(found[i : i + size]) for i in range(len(found) - size + 1)} - {()}

    return any(grams(question) & grams(other) for other in held_out)


@settings(max_examples=40, deadline=None)
@given(
    questions=st.lists(QUESTION, max_size=6),
    others=st.lists(QUESTION, max_size=2),
    held_out=st.lists(QUESTION, max_size=2),
)
def test_every_row_is_in_exactly_one_table_for_a_reason_that_holds(
    questions: list[str], others: list[str], held_out: list[str]
) -> None:
    taken = {question_id("math", q): "other" for q in others}
    result = curated(raw(*questions), elsewhere(**taken), benchmark(*held_out))
    kept, rejected = result.questions["line"].to_pylist(), result.rejected["line"].to_pylist()
    assert kept == sorted(kept)
    assert rejected == sorted(rejected)
    assert sorted(kept + rejected) == list(range(1, len(questions) + 1))
    seen: set[str] = set()
    for line, question in enumerate(questions, 1):
        identity = question_id("math", question)
        reason = (
            "duplicate_in_drop"
            if identity in seen
            else "duplicate_of_shard"
            if identity in taken
            else "contaminated"
            if shares_ngram(question, held_out)
            else None
        )
        seen.add(identity)
        assert (line in kept) == (reason is None)
        assert reason in (None, *(r for at, r, _ in verdicts(result) if at == line))


def conversations(*said: tuple[str, ...]) -> pa.Table:
    """Rows of turns of user and assistant; one that begins with "> " is a system prompt."""
    rows = []
    for line, turns in enumerate(said, 1):
        system = [turn for turn in turns if turn.startswith("> ")]
        roles = ["system"] * len(system) + ["user", "assistant"] * len(turns)
        messages = [
            {"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)
        ]
        rows.append(
            {"drop": "d.jsonl", "line": line, "question": turns[-1], "domain": "math",
             "answer": "1", "earlier_messages": messages[:-1] or None}
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=RAW_QUESTIONS)


def test_a_conversation_is_known_by_all_that_is_said() -> None:
    rows = conversations(
        ("Why?",), ("Is 2 even?", "Yes.", "Why?"), ("> Be brief.", "Why?"), ("> Be kind.", "Why?"),
        ("is 2  even?", "Yes.\u200b", "why?"), ("Is 2 even?", "Yes. Why?"),
    )  # fmt: skip
    result = curated(rows.slice(0, 5))
    assert verdicts(result) == [(5, "duplicate_in_drop", "line 2")]
    assert len(set(result.questions["question_id"].to_pylist())) == 4
    assert result.questions["question_id"][0].as_py() == question_id("math", "Why?")
    assert result.questions["earlier_messages"].to_pylist()[:2] == [
        None, [{"role": "user", "content": "Is 2 even?"}, {"role": "assistant", "content": "Yes."}],
    ]  # fmt: skip
    other = {"other": curated(rows.slice(1, 1))}
    assert verdicts(curated(rows.slice(0, 2), others=other)) == [(2, "duplicate_of_shard", "other")]


def test_every_turn_of_the_user_is_held_against_the_evaluation_sets() -> None:
    held_out = benchmark("Find the sum of all primes below ten.")
    rows = conversations(
        ("Find the sum of all primes.", "17.", "Why?"),
        ("Why?", "Find the sum of all primes.", "Hm"),
        ("> Find the sum of all primes.", "Why not?"), ("Hm", "Yes?", "find the SUM of it"),
    )  # fmt: skip
    assert verdicts(curated(rows, held_out=held_out)) == [
        (1, "contaminated", "find the sum of (aime)"),
        (4, "contaminated", "find the sum of (aime)"),
    ]  # fmt: skip


def test_conversations_with_one_question_are_no_near_duplicates() -> None:
    long = "Please explain in a few words why that is so, and how one would see it."
    rows = conversations(
        ("Is 2 even?", "Yes.", long), ("Is a rose red, or may it be white?", "Both.", long),
        ("Is a rose red, or may it be white?", "Both!", long),
    )  # fmt: skip
    result = curate(rows, settings_of(decontamination_ngram_words=13))
    assert [line for line, _, _ in verdicts(result)] == [3]


OTHER = {"first": pa.Table.from_pylist(
    [{"question_id": question_id("math", "one?"), "domain": "math", "question": "one?",
      "answer": "1", "drop": "o", "line": 1}], schema=QUESTIONS,
)}  # fmt: skip
HELD_OUT = [f"what are these {n} very long words" for n in range(12)]


@pytest.mark.parametrize(
    ("questions", "others", "told"),
    [
        (["new?"], OTHER, None),
        ([], OTHER, None),
        # Sent again, under whatever name: said, and nothing breaks.
        (["one?", "one?"], OTHER,
         "100 % of 2 questions of the-drop rejected: duplicate_in_drop 1, duplicate_of_shard 1. "
         "For example duplicate_of_shard of d.jsonl, line 1: first. It brings nothing new: was it "
         "sent again?"),
        (["one?", *HELD_OUT], OTHER,
         "100 % of 13 questions of the-drop rejected: contaminated 12, duplicate_of_shard 1. "
         "For example duplicate_of_shard of d.jsonl, line 1: first. It brings nothing new: was it "
         "sent again?"),
        (HELD_OUT[:3], OTHER,
         "100 % of 3 questions of the-drop rejected: contaminated 3. For example contaminated of "
         "d.jsonl, line 1: 0 very long words (aime)"),
    ],
)  # fmt: skip
def test_a_drop_that_brings_nothing_is_told(
    questions: list[str], others: dict[str, pa.Table], told: str | None
) -> None:
    said: list[str] = []
    curate(raw(*questions), EXACT, others=others, held_out=benchmark(*HELD_OUT), warn=said.append)
    assert said == ([] if told is None else [told])


def test_a_drop_of_nothing_but_evaluation_questions_fails() -> None:
    with pytest.raises(NothingLeftError, match=r"^100 % of 12 .* contaminated 12\. For example"):
        curate(raw(*HELD_OUT), EXACT, held_out=benchmark(*HELD_OUT), warn=pytest.fail)
