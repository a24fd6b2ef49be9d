"""Drops: whatever a line holds, the rows beside it are kept and it is quarantined by line."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.whole_drops import read_whole_drop

from dasd_assets.profile import PAPER_DOMAINS
from dasd_assets.questions.reading.drops import MAX_EVIDENCE, DropContents
from resources.lake.tables.questions import QUARANTINED_ROWS, RAW_QUESTIONS

MAX_ROW_BYTES = 20_000


def row(**fields: object) -> bytes:
    content = {"question": "What is 1 + 1?", "domain": "math", "answer": "2", **fields}
    return json.dumps({k: v for k, v in content.items() if v is not ...}).encode()


def read(tmp_path: Path, content: bytes, max_row_bytes: int = MAX_ROW_BYTES) -> DropContents:
    drop = tmp_path / "drop-01.jsonl"
    drop.write_bytes(content)
    contents = read_whole_drop(drop, None, max_row_bytes)
    assert contents.rows.schema.equals(RAW_QUESTIONS, check_metadata=True)
    assert contents.quarantined.schema.equals(QUARANTINED_ROWS, check_metadata=True)
    return contents


BAD_LINES = {
    "broken JSON": (b'{"question": "x", ', "invalid_json", "Expecting property name"),
    "two values": (row() + row(), "invalid_json", "Extra data"),
    "too deep": (b'{"question": ' + b"[" * 12_000, "invalid_json", "too deeply"),
    "5000 digits": (b'{"difficulty": ' + b"1" * 5_000 + b"}", "invalid_json", "digits"),
    "a list": (b"[1, 2]", "not_an_object", "list"),
    "null": (b"null", "not_an_object", "NoneType"),
    "no question": (row(question=...), "missing_field", "question"),
    "no domain": (row(domain=...), "missing_field", "domain"),
    "answer is null": (row(answer=None), "missing_field", "answer"),
    "question is a number": (row(question=7), "wrong_type", "question: expected str or a list"),
    "domain is a list": (row(domain=["math"]), "wrong_type", "domain: expected str, found list"),
    "difficulty is text": (row(difficulty="3"), "wrong_type", "difficulty: expected int"),
    "difficulty is a bool": (row(difficulty=True), "wrong_type", "found bool"),
    "difficulty of 33 bits": (row(difficulty=2**31), "wrong_type", "2147483648"),
    "source is a number": (row(source=1), "wrong_type", "source"),
    "empty question": (row(question=""), "empty_question", "''"),
    "blank question": (row(question=" \n\u3000"), "empty_question", "u3000"),
    "invisible question": (row(question="\u200b\ufeff \x00"), "empty_question", "u200b"),
    "difficulty is a fraction": (row(difficulty=1.5), "wrong_type", "expected int, found float"),
    "unknown domain": (row(domain="poetry"), "unknown_domain", "'poetry'; known: math, code"),
    "a long unknown domain": (row(domain="x" * 999), "unknown_domain", "xxx"),
    "invalid UTF-8": (b'{"question": "caf\xe9"}', "invalid_utf8", "byte 17"),
    "surrogate in question": (row(question="\ud800"), "invalid_utf8", "question: a lone surrogate"),
    "surrogate in answer": (row(answer={"a": ["\udc00"]}), "invalid_utf8", "answer"),
    "surrogate in source": (row(source="\ud800"), "invalid_utf8", "source"),
    "surrogate in domain": (row(domain="\ud800"), "unknown_domain", "ud800"),
    "too long": (row(question="x" * MAX_ROW_BYTES), "line_too_long", "bytes"),
    "a byte order mark inside": (b"\xef\xbb\xbf" + row(), "invalid_json", "BOM"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_row_is_quarantined_and_its_neighbours_are_kept(tmp_path: Path, case: str) -> None:
    line, reason, evidence = BAD_LINES[case]
    contents = read(tmp_path, b"\n".join([row(source="before"), line, row(source="after")]))
    assert contents.rows["line"].to_pylist() == [1, 3]
    assert contents.rows["source"].to_pylist() == ["before", "after"]
    (bad,) = contents.quarantined.to_pylist()
    assert (bad["drop"], bad["line"], bad["reason"]) == ("drop-01.jsonl", 2, reason)
    assert evidence in bad["evidence"]
    assert len(bad["evidence"]) <= MAX_EVIDENCE


def test_every_reason_in_one_drop_is_found_at_its_own_line(tmp_path: Path) -> None:
    lines = [bad for bad, _, _ in BAD_LINES.values()]
    contents = read(tmp_path, b"\n".join([row(), *lines, row()]))
    assert contents.rows["line"].to_pylist() == [1, len(lines) + 2]
    assert contents.quarantined["line"].to_pylist() == list(range(2, len(lines) + 2))
    assert contents.quarantined["reason"].to_pylist() == [r for _, r, _ in BAD_LINES.values()]


@pytest.mark.parametrize("content", [b"", b"\n \n\t\r\n"], ids=["empty file", "blank lines"])
def test_a_drop_without_rows_is_two_empty_tables(tmp_path: Path, content: bytes) -> None:
    contents = read(tmp_path, content)
    assert contents.rows.num_rows == contents.quarantined.num_rows == 0


def test_byte_order_mark_crlf_and_blank_lines_cost_no_row_and_shift_no_line(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + row(source="a") + b"\r\n\r\n  \n" + row(source="b") + b"\r\n"
    contents = read(tmp_path, content)
    assert contents.rows["line"].to_pylist() == [1, 4]
    assert contents.rows["source"].to_pylist() == ["a", "b"]
    assert contents.quarantined.num_rows == 0


def test_fields_are_taken_over_as_delivered(tmp_path: Path) -> None:
    answer = {"tests": [[[1], 2]], "function": "f", "é": None}
    contents = read(
        tmp_path, row(question="  Größe?\u0000 ", answer=answer, difficulty=-3, extra=1)
    )
    (kept,) = contents.rows.to_pylist()
    assert kept["question"] == "  Größe?\u0000 "
    assert json.loads(kept["answer"]) == answer
    assert (kept["difficulty"], kept["source"], kept["drop"]) == (-3, None, "drop-01.jsonl")


def test_equal_rows_of_a_drop_are_all_delivered(tmp_path: Path) -> None:
    assert read(tmp_path, row() + b"\n" + row()).rows["line"].to_pylist() == [1, 2]


@pytest.mark.parametrize("excess", [-1, 0, 1, 2, MAX_ROW_BYTES])
@pytest.mark.parametrize("ending", [b"\n" + row(), b""], ids=["then a row", "end of file"])
def test_the_length_limit_counts_the_whole_line(tmp_path: Path, excess: int, ending: bytes) -> None:
    padding = MAX_ROW_BYTES + excess - len(row(question=""))
    if ending:
        padding -= 1  # the line end counts
    line = row(question="x" * padding)
    contents = read(tmp_path, line + ending)
    expected = [1] * (excess <= 0) + [2] * bool(ending)
    assert contents.rows["line"].to_pylist() == expected
    assert contents.quarantined["evidence"].to_pylist() == (
        [] if excess <= 0 else [f"{MAX_ROW_BYTES + excess} bytes"]
    )


def test_a_line_of_50_mb_takes_little_memory(tmp_path: Path) -> None:
    drop = tmp_path / "big.jsonl"
    with drop.open("wb") as stream:
        stream.write(row() + b"\n")
        for _ in range(50):
            stream.write(b"x" * 1_000_000)
        stream.write(b"\n" + row())
    tracemalloc.start()
    contents = read_whole_drop(drop, None, 100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert contents.rows["line"].to_pylist() == [1, 3]
    assert contents.quarantined.to_pylist() == [
        {"drop": "big.jsonl", "line": 2, "reason": "line_too_long", "evidence": "50000001 bytes"}
    ]


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.fixed_dictionaries(
                {},
                optional={
                    "question": st.one_of(st.text(), st.integers()),
                    "domain": st.sampled_from([*PAPER_DOMAINS, "poetry", 1]),
                    "answer": st.one_of(st.none(), st.text(), st.lists(st.integers())),
                    "difficulty": st.one_of(st.none(), st.integers(), st.text()),
                },
            ).map(lambda fields: json.dumps(fields).encode()),
        ).filter(lambda line: b"\n" not in line),
        max_size=8,
    ).filter(lambda lines: not b"\n".join(lines).startswith(b"version https://git-lfs"))
)
def test_no_content_makes_reading_fail_and_every_line_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    contents = read(tmp_path_factory.mktemp("drop"), b"\n".join(lines))
    seen = contents.rows["line"].to_pylist() + contents.quarantined["line"].to_pylist()
    assert sorted(seen) == [n for n, line in enumerate(lines, 1) if line.strip()]
