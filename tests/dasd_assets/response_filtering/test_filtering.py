"""Filtering as a whole: every answer is kept or rejected, with the contracts' schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.teacher_rows import teacher_rows
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT, Verification, load_profile
from dasd_assets.response_filtering import filtering
from dasd_assets.response_filtering.filtering import (
    Filtered,
    filter_responses,
    write_filtered,
)
from dasd_assets.response_filtering.outcomes import AllRejectedError, outcomes
from dasd_assets.verification.graders import Graders
from dasd_assets.verification.sandbox import SandboxError
from formats.model_format import ModelFormat, student_format
from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables.response_filtering import FILTERED_RESPONSES, REJECTED_RESPONSES
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES

MODELS = PROJECT_ROOT / "tiny_world" / "models"
ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"


@cache
def load_tokenizers() -> tuple[Any, Any]:
    return (
        AutoTokenizer.from_pretrained(MODELS / "teacher"),
        AutoTokenizer.from_pretrained(MODELS / "student"),
    )


@pytest.fixture(scope="module")
def tokenizers() -> tuple[Any, Any]:
    return load_tokenizers()


@dataclass(frozen=True)
class Tables:
    """Everything that filtering kept and rejected."""

    kept: pa.Table
    rejected: pa.Table


def formats_of(tokenizers: tuple[Any, Any]) -> dict[str, ModelFormat]:
    return {
        "teacher": student_format(tokenizers[0]), "student": student_format(tokenizers[1])
    }  # fmt: skip


def filter_all(responses: pa.Table, **arguments: Any) -> Tables:
    parts = list(filter_responses(responses.to_batches(), **arguments))
    return Tables(
        pa.Table.from_batches((part.kept for part in parts), FILTERED_RESPONSES),
        pa.Table.from_batches((part.rejected for part in parts), REJECTED_RESPONSES),
    )


def run(
    tokenizers: tuple[Any, Any],
    *wires: str,
    references: dict[str, str] | None = None,
    columns: dict[str, Any] | None = None,
    threads: int = 1,
    limits: Verification | None = None,
    **settings: Any,
) -> Tables:
    rows = teacher_rows(tokenizers[0], wires, **(columns or {}))
    filtered = filter_all(
        pa.Table.from_pylist(rows, schema=TEACHER_RESPONSES),
        threads=threads,
        **formats_of(tokenizers),
        settings=load_profile("tiny").response_filtering.model_copy(update=settings),
        system_prompt="You are a helpful assistant.",
        references={"q": json.dumps("3")} if references is None else references,
        graders=Graders(limits=limits or Verification()),
    )
    assert filtered.kept.schema.equals(FILTERED_RESPONSES)
    assert filtered.rejected.schema.equals(REJECTED_RESPONSES)
    assert filtered.kept.num_rows + filtered.rejected.num_rows == len(wires)
    return filtered


def rules(filtered: Tables) -> list[list[str]]:
    return [
        [broken["rule"] for broken in row] for row in filtered.rejected["broken_rules"].to_pylist()
    ]


GOOD = f"{ANALYSIS}Ones: 1 + 2 = 3.<|end|>{FINAL}The answer is \\boxed{{3}}.<|return|>"
WRONG = GOOD.replace("{3}", "{4}")


def test_kept_and_rejected(tokenizers: tuple[Any, Any]) -> None:
    filtered = run(tokenizers, GOOD, f"{ANALYSIS}Cut off", "no channel at all<|return|>")
    (kept,) = filtered.kept.to_pylist()
    assert kept["response_text"] == (
        "<think>\nOnes: 1 + 2 = 3.\n</think>\n\nThe answer is \\boxed{3}."
    )
    assert len(kept["teacher_token_starts"]) == len(kept["teacher_logprobs"])
    first, second = rules(filtered)
    assert first == ["hit_max_tokens", "no_final_answer"]
    assert second[0] in ("malformed_answer", "token_text_mismatch")
    counts = outcomes({"low": (filtered.kept, filtered.rejected)})
    assert counts["low"]["math"]["kept"] == 1
    assert counts["low"]["math"]["hit_max_tokens"] == 1


NAN = float("nan")


@pytest.mark.parametrize(
    ("wire", "columns", "broken"),
    [
        (GOOD, {"logprobs": []}, ["invalid_logprobs"]),
        (GOOD, {"logprobs": [-1.0, -1.0]}, ["invalid_logprobs"]),
        (GOOD, {"logprobs": [NAN] * 200}, ["invalid_logprobs"]),
        (GOOD, {"finish_reason": "content_filter"}, ["stopped_by_server"]),
        (GOOD, {"finish_reason": "tool_calls"}, ["stopped_by_server"]),
        ("", {"finish_reason": "stop"}, ["malformed_answer", "empty_completion"]),
        ("", {"finish_reason": "context_exceeded"}, ["malformed_answer", "empty_completion"]),
        (f"{ANALYSIS}It goes on and on<|return|>", {}, ["no_final_answer"]),
        (f"{ANALYSIS}It goes on and on", {"finish_reason": "stop"}, ["no_final_answer"]),
    ],
)
def test_what_an_engine_could_not_deliver_reaches_the_funnel_and_the_others_are_kept(
    tokenizers: tuple[Any, Any], wire: str, columns: dict[str, Any], broken: list[str]
) -> None:
    filtered = run(tokenizers, wire, columns=columns)
    assert rules(filtered) == [broken]
    kept = pa.concat_tables([filtered.kept, run(tokenizers, GOOD).kept])
    assert outcomes({"low": (kept, filtered.rejected)}) == {
        "low": {"math": {"sampled": 2, "kept": 1, **dict.fromkeys(broken, 1)}}
    }


def test_a_wrong_answer_is_rejected_only_where_the_domain_is_verified(
    tokenizers: tuple[Any, Any],
) -> None:
    assert run(tokenizers, GOOD, WRONG).kept.num_rows == 2
    verified = run(tokenizers, GOOD, WRONG, verify_domains=["math"])
    assert verified.kept["response_id"].to_pylist() == ["r0"]
    assert rules(verified) == [["incorrect_answer"]]


def test_a_judged_domain_loses_no_answer_and_says_which_are_right(
    tokenizers: tuple[Any, Any],
) -> None:
    unjudged = run(tokenizers, GOOD, WRONG, judge_domains=[])
    assert unjudged.kept["is_correct"].to_pylist() == [None, None]
    judged = run(tokenizers, GOOD, WRONG, judge_domains=["math"])
    assert judged.kept["is_correct"].to_pylist() == [True, False]
    other = run(tokenizers, GOOD, WRONG, judge_domains=["science"])
    assert other.kept["is_correct"].to_pylist() == [None, None]
    both = run(tokenizers, GOOD, WRONG, judge_domains=["math"], verify_domains=["math"])
    assert both.kept["is_correct"].to_pylist() == [True]
    assert rules(both) == [["incorrect_answer"]]


@pytest.mark.parametrize("references", [{}, {"q": '""'}])
def test_a_judged_answer_without_a_usable_reference_is_kept_unjudged(
    tokenizers: tuple[Any, Any], references: dict[str, str]
) -> None:
    judged = run(tokenizers, GOOD, references=references, judge_domains=["math"])
    assert judged.kept["is_correct"].to_pylist() == [None]


def test_both_tables_are_written_as_they_come_or_neither(
    tokenizers: tuple[Any, Any], tmp_path: Path
) -> None:
    lake, cell = Lake(root=str(tmp_path)), {"temperature": "low", "question_shard": "s"}
    rows = teacher_rows(tokenizers[0], [GOOD, "no channel<|return|>", GOOD])
    batch = pa.RecordBatch.from_pylist(rows, schema=TEACHER_RESPONSES)

    def filtered(responses: Iterator[pa.RecordBatch]) -> Iterator[Filtered]:
        return filter_responses(
            responses, **formats_of(tokenizers),
            settings=load_profile("tiny").response_filtering, system_prompt="s", references={},
        )  # fmt: skip

    def cut_off() -> Iterator[pa.RecordBatch]:
        yield batch
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_filtered(lake, cell, filtered(cut_off()), pytest.fail)
    assert not lake.exists("filtered_responses", cell)
    assert not lake.exists("rejected_responses", cell)
    kept, rejected = write_filtered(lake, cell, filtered(iter([batch])), pytest.fail)
    assert (kept.n_rows, rejected.n_rows) == (2, 1)
    assert lake.read("filtered_responses", cell)["response_id"].to_pylist() == ["r0", "r2"]
    assert lake.read("rejected_responses", cell)["response_id"].to_pylist() == ["r1"]


@pytest.mark.parametrize("n_questions", [12, 3])
def test_where_nothing_is_kept_the_cause_and_an_example_are_told(
    tokenizers: tuple[Any, Any], tmp_path: Path, n_questions: int
) -> None:
    """And it fails, but for a drop of few questions, which would fail for ever."""
    lake, cell = Lake(root=str(tmp_path)), {"temperature": "low", "question_shard": "s"}
    told: list[str] = []

    def write(*wires: str) -> None:
        rows = [
            {**row, "question_id": f"q{index % n_questions}"}
            for index, row in enumerate(teacher_rows(tokenizers[0], list(wires)))
        ]
        batch = pa.RecordBatch.from_pylist(rows, schema=TEACHER_RESPONSES)
        filtered = filter_responses(
            iter([batch]), **formats_of(tokenizers), system_prompt="s", references={},
            settings=load_profile("tiny").response_filtering,
        )  # fmt: skip
        try:
            write_filtered(lake, cell, filtered, told.append)
        except AllRejectedError as error:
            told.append(f"failed: {error}")

    no_answer = "<|channel|>analysis<|message|>Ones: 1 + 2 = 3.<|end|>"
    none_good = ["no channel<|return|>", no_answer, "nor here<|return|>"] * 4
    write(*none_good)
    (said,) = told
    fails = n_questions == 12
    assert said.startswith("failed: " if fails else "100 % of 12")
    assert (
        "100 % of 12 answers of low/s rejected: malformed_answer 8, hit_max_tokens 4, no_final"
        in said
    )
    assert "For example malformed_answer of r0: " in said
    assert "take the drop out of the inbox" in said
    assert lake.exists("filtered_responses", cell) != fails
    assert lake.read("rejected_responses", cell).num_rows == 12
    write(GOOD, no_answer)
    write(*none_good)
    if fails:  # and leaves both tables as they were
        assert lake.read("filtered_responses", cell).num_rows == 1
        assert lake.read("rejected_responses", cell)["response_id"].to_pylist() == ["r1"]
    assert len(told) == 2
    write()  # where nothing came in nothing is wrong
    assert lake.read("filtered_responses", cell).num_rows == 0
    assert len(told) == 2


def test_a_wrong_answer_is_reported_beside_the_other_rules_that_it_breaks(
    tokenizers: tuple[Any, Any],
) -> None:
    filtered = run(tokenizers, WRONG, verify_domains=["math"], max_student_tokens=2)
    assert rules(filtered) == [["too_long", "incorrect_answer"]]


@pytest.mark.parametrize(
    ("references", "evidence"),
    [({}, "the question has no reference"), ({"q": '""'}, "math reference must be a number")],
)
def test_an_answer_that_nothing_can_verify_is_rejected_and_fails_no_partition(
    tokenizers: tuple[Any, Any], references: dict[str, str], evidence: str
) -> None:
    filtered = run(tokenizers, GOOD, references=references, verify_domains=["math"])
    ((broken,),) = filtered.rejected["broken_rules"].to_pylist()
    assert broken["rule"] == "unverifiable_answer"
    assert evidence in broken["evidence"]


def test_batches_change_nothing(
    tokenizers: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wires = [GOOD, f"{ANALYSIS}Cut off", WRONG, "no channel<|return|>", GOOD]
    whole = run(tokenizers, *wires)
    monkeypatch.setattr(filtering, "ROWS_PER_BATCH", 2)
    batched = run(tokenizers, *wires)
    assert batched.kept.equals(whole.kept)
    assert batched.rejected.equals(whole.rejected)
    assert whole.kept["response_id"].to_pylist() == ["r0", "r2", "r4"]
    starts, logprobs = (whole.kept[f"teacher_{name}"] for name in ("token_starts", "logprobs"))
    assert [len(row) for row in starts.to_pylist()] == [len(row) for row in logprobs.to_pylist()]


def test_length_counts_prompt_and_response_under_the_students_tokenizer(
    tokenizers: tuple[Any, Any],
) -> None:
    n = run(tokenizers, GOOD).kept["n_student_tokens"].to_pylist()[0]
    assert rules(run(tokenizers, GOOD, max_student_tokens=n)) == [["too_long"]]


def test_an_answer_by_none_of_several_teachers_is_an_error(
    tokenizers: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = formats_of(tokenizers)
    writers = {("m", "1"): both["teacher"], ("other", "1"): both["student"]}
    monkeypatch.setitem(globals(), "formats_of", lambda _: both | {"teacher": writers})
    assert run(tokenizers, GOOD).kept.num_rows == 1
    # Read as the other teacher writes, it is no answer.
    assert run(tokenizers, GOOD, columns={"model": "other"}).kept.num_rows == 0
    with pytest.raises(
        ContractError, match=r"r0 is by m \(2\), the profile's teachers are m \(1\)"
    ):
        run(tokenizers, GOOD, columns={"model_revision": "2"})


def test_no_answers_at_all(tokenizers: tuple[Any, Any]) -> None:
    assert run(tokenizers).kept.num_rows == 0


def test_an_answer_with_several_faults_is_rejected_with_all_of_them(
    tokenizers: tuple[Any, Any],
) -> None:
    call = "<|start|>assistant<|channel|>commentary to=functions.f<|message|>{}"
    loop = "Again and again it says the same. " * 40
    filtered = run(tokenizers, "", GOOD, f"{ANALYSIS}{loop}<|end|>{call}", max_student_tokens=80)
    first, *_, last = rules(filtered)
    assert first == ["malformed_answer", "empty_completion", "hit_max_tokens"]
    assert last == [
        "hit_max_tokens", "no_final_answer", "tool_call", "too_long", "repeated_sentence",
        "repeated_ngram",
    ]  # fmt: skip
    assert all(
        broken["evidence"]
        for row in filtered.rejected["broken_rules"].to_pylist()
        for broken in row
    )


def test_token_starts_lead_back_to_the_text_of_each_token(tokenizers: tuple[Any, Any]) -> None:
    (kept,) = run(tokenizers, GOOD).kept.to_pylist()
    ids = tokenizers[0].encode(GOOD, add_special_tokens=False)
    text = kept["response_text"].encode()
    placed = [(i, s) for i, s in zip(ids, kept["teacher_token_starts"], strict=True) if s >= 0]
    pieces = [tokenizers[0].decode([i]).strip().encode() for i, _ in placed]
    assert [text[s : s + len(p)] for (_, s), p in zip(placed, pieces, strict=True)] == pieces
    assert b"".join(pieces) == b"Ones:1+2=3.Theansweris\\boxed{3}."


PROGRAM = f"{ANALYSIS}I add.<|end|>{FINAL}```python\nprint(1 + %d)\n```<|return|>"
PROGRAM_TESTS = {"q": json.dumps({"tests": [{"input": "", "output": "3"}]})}


@pytest.mark.parametrize("threads", [1, 3])
def test_programs_are_run_against_the_tests_of_their_question(
    tokenizers: tuple[Any, Any], threads: int
) -> None:
    filtered = run(
        tokenizers, *(PROGRAM % n for n in (1, 2, 3, 2)), references=PROGRAM_TESTS,
        columns={"domain": "code"}, verify_domains=["code"], threads=threads,
    )  # fmt: skip
    assert filtered.kept["response_id"].to_pylist() == ["r1", "r3"]
    ((first,), (second,)) = filtered.rejected["broken_rules"].to_pylist()
    assert first == {
        "rule": "incorrect_answer",
        "evidence": "failed_test: test 1: printed '2', expected '3'",
    }
    assert "printed '4'" in second["evidence"]


def test_without_a_sandbox_no_program_is_run_and_the_partition_fails(
    tokenizers: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    answer = PROGRAM % 2
    with pytest.raises(SandboxError, match="install it"):
        run(tokenizers, answer, references=PROGRAM_TESTS, columns={"domain": "code"},
            verify_domains=["code"])  # fmt: skip
    assert run(tokenizers, answer, columns={"domain": "code"}).kept.num_rows == 1


def test_an_answer_that_hangs_its_verifier_is_wrong_and_the_next_is_judged(
    tokenizers: tuple[Any, Any],
) -> None:
    hang = GOOD.replace("{3}", "{9^{9^{9^{9}}}}")
    filtered = run(tokenizers, hang, GOOD, verify_domains=["math"],
                   limits=Verification(math_seconds=0.5))  # fmt: skip
    assert filtered.kept["response_id"].to_pylist() == ["r1"]
    ((broken,),) = filtered.rejected["broken_rules"].to_pylist()
    assert broken["evidence"] == "timeout: found '9^{9^{9^{9}}}', expected '3'"


@pytest.mark.parametrize(
    ("domain", "answer", "reference", "evidence"),
    [
        ("math", r"\boxed{4}", "3", "wrong_number: found '4', expected '3'"),
        ("science", "The answer is B.", "A", "wrong_option: found B, expected A"),
        ("code", "No code.", PROGRAM_TESTS["q"], "no_code_block"),
        ("instruction_following", "Yes", "No", "not_exact"),
    ],
)
def test_each_domain_has_its_verifier(
    tokenizers: tuple[Any, Any], domain: str, answer: str, reference: str, evidence: str
) -> None:
    wire = f"{ANALYSIS}So.<|end|>{FINAL}{answer}<|return|>"
    references = {"q": reference if domain == "code" else json.dumps(reference)}
    filtered = run(tokenizers, wire, references=references, columns={"domain": domain},
                   verify_domains=[domain])  # fmt: skip
    ((broken,),) = filtered.rejected["broken_rules"].to_pylist()
    assert broken == {"rule": "incorrect_answer", "evidence": evidence}


@pytest.mark.parametrize("reference", ["not json", "{}", "[]", "null", '"x" 1'])
@pytest.mark.parametrize("domain", ["math", "code", "science", "instruction_following"])
def test_an_unusable_reference_rejects_the_answer_and_shows_why(
    tokenizers: tuple[Any, Any], domain: str, reference: str
) -> None:
    filtered = run(tokenizers, GOOD, references={"q": reference}, columns={"domain": domain},
                   verify_domains=[domain])  # fmt: skip
    ((broken,),) = filtered.rejected["broken_rules"].to_pylist()
    assert broken["rule"] == "unverifiable_answer"
    assert broken["evidence"]


def filter_table(tokenizers: tuple[Any, Any], table: pa.Table) -> Tables:
    return filter_all(
        table, **formats_of(tokenizers),
        settings=load_profile("tiny").response_filtering, system_prompt="s", references={},
    )  # fmt: skip


def test_rows_without_the_schema_are_an_error_that_names_the_columns(
    tokenizers: tuple[Any, Any],
) -> None:
    rows = pa.Table.from_pylist(teacher_rows(tokenizers[0], [GOOD]), schema=TEACHER_RESPONSES)
    with pytest.raises(ContractError, match=r"logprobs must be list<.*float>, found nothing"):
        filter_table(tokenizers, rows.drop_columns(["logprobs"]))
    other = rows.set_column(0, "response_id", pa.array([1], pa.int64()))
    with pytest.raises(ContractError, match="response_id must be string, found int64"):
        filter_table(tokenizers, other)


def test_a_row_without_a_value_is_counted_over_all_batches(tokenizers: tuple[Any, Any]) -> None:
    rows = teacher_rows(tokenizers[0], [GOOD, GOOD])
    good = pa.RecordBatch.from_pylist(rows, schema=TEACHER_RESPONSES)
    bad = pa.RecordBatch.from_pylist([rows[0], rows[1] | {"text": None}], schema=TEACHER_RESPONSES)
    with pytest.raises(ContractError, match="row 3 has no text"):
        filter_table(tokenizers, pa.Table.from_batches([good, bad]))


@pytest.mark.parametrize("column", ["text", "token_ids", "question", "domain"])
def test_a_row_without_a_value_is_an_error_that_names_row_and_column(
    tokenizers: tuple[Any, Any], column: str
) -> None:
    rows = teacher_rows(tokenizers[0], [GOOD, GOOD])
    rows[1][column] = None
    table = pa.Table.from_pylist(rows, schema=TEACHER_RESPONSES)
    with pytest.raises(ContractError, match=f"row 1 has no {column}"):
        filter_table(tokenizers, table)


@pytest.mark.parametrize("token", [None, -1, 10**9])
def test_token_ids_that_cannot_be_are_rejected_with_the_good_row_beside_them_kept(
    tokenizers: tuple[Any, Any], token: int | None
) -> None:
    rows = teacher_rows(tokenizers[0], [GOOD, GOOD])
    rows[0]["token_ids"][3] = token
    filtered = filter_table(tokenizers, pa.Table.from_pylist(rows, schema=TEACHER_RESPONSES))
    assert filtered.kept["response_id"].to_pylist() == ["r1"]
    assert rules(filtered) == [["token_text_mismatch"]]


PIECES = st.sampled_from(
    [ANALYSIS, FINAL, "<|end|>", "<|return|>", "<|call|>", "<|channel|>commentary to=functions.f",
     "<|message|>", "</think>", "<|im_end|>", "\\boxed{", "3", "}", "\n\n", "So. ", "对。", "🙂",
     "```python\n", "```"]
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    texts=st.lists(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=12), max_size=5),
    ends=st.sampled_from(["stop", "length", "content_filter"]),
    good_at=st.integers(0, 5),
    domain=st.sampled_from(["math", "science", "poetry", ""]),
)
def test_whatever_the_text_every_answer_is_in_exactly_one_table(
    texts: list[list[str]], ends: str, good_at: int, domain: str
) -> None:
    wires = ["".join(pieces) for pieces in texts]
    wires.insert(good_at, GOOD)
    place = wires.index(GOOD)
    pair = load_tokenizers()
    rows = teacher_rows(pair[0], wires)
    for index, row in enumerate(rows):
        if index != place:
            row |= {"finish_reason": ends, "domain": domain}
    filtered = filter_all(
        pa.Table.from_pylist(rows, schema=TEACHER_RESPONSES),
        **formats_of(pair), system_prompt="s",
        settings=load_profile("tiny").response_filtering.model_copy(
            update={"verify_domains": ["math", "science"]}
        ),
        references={"q": '"3"'},
    )  # fmt: skip
    ids = [filtered.kept["response_id"].to_pylist(), filtered.rejected["response_id"].to_pylist()]
    assert sorted(ids[0] + ids[1]) == sorted(row["response_id"] for row in rows)
    assert f"r{place}" in ids[0]
    for broken in filtered.rejected["broken_rules"].to_pylist():
        names = [each["rule"] for each in broken]
        assert names and len(set(names)) == len(names)
        assert all(each["evidence"] for each in broken)
