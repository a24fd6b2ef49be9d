"""Parquet drops: read a group at a time, bad rows and damaged groups quarantined by row."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.whole_drops import read_whole_drop

from dasd_assets.profile import Layout
from dasd_assets.questions.reading.drops import CHUNK_ROWS, DropContents, read_drop
from dasd_assets.questions.reading.rows import DropError

MAX_ROW_BYTES = 10_000
NESTED = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def rows(n: int) -> dict[str, Any]:
    return {
        "question": [f"What is {i} + 1?" for i in range(n)],
        "domain": ["math"] * n,
        "answer": [str(i + 1) for i in range(n)],
    }


def write(tmp_path: Path, columns: dict[str, Any], **options: Any) -> Path:
    file = tmp_path / "drop.parquet"
    pq.write_table(pa.table(columns), file, **options)
    return file


def read(file: Path, **layout: Any) -> DropContents:
    return read_whole_drop(file, Layout(**layout) if layout else None, MAX_ROW_BYTES)


def quarantine(contents: DropContents) -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in contents.quarantined.to_pylist()]


def test_rows_are_numbered_through_all_groups(tmp_path: Path) -> None:
    columns = rows(25) | {"difficulty": [1.0] * 25, "extra": [b"x"] * 25}
    contents = read(write(tmp_path, columns, row_group_size=10))
    assert contents.rows["line"].to_pylist() == list(range(1, 26))
    assert contents.rows["drop"].to_pylist() == ["drop.parquet"] * 25
    assert contents.rows["question"][24].as_py() == "What is 24 + 1?"
    assert contents.rows["answer"][24].as_py() == '"25"'
    assert contents.rows["difficulty"].to_pylist() == [1] * 25
    assert contents.rows["source"].to_pylist() == [None] * 25


@pytest.mark.parametrize(
    ("column", "values", "reason", "evidence"),
    [
        ("question", [None], "missing_field", "question"),
        ("question", [3], "wrong_type", "question: expected str or a list"),
        ("question", [b"bytes"], "wrong_type", "found bytes"),
        ("question", ["x" * MAX_ROW_BYTES], "row_too_long", "10003 bytes"),
        ("question", ["\u200b "], "empty_question", "u200b"),
        ("domain", ["poetry"], "unknown_domain", "'poetry'"),
        ("answer", [None], "missing_field", "answer"),
        ("answer", [datetime.date(2026, 1, 1)], "wrong_type", "date is not JSON serializable"),
        ("answer", [float("nan")], "wrong_type", "not finite"),
        ("difficulty", ["easy"], "wrong_type", "difficulty: expected int, found str"),
        ("difficulty", [2.5], "wrong_type", "difficulty: expected int, found float"),
        ("source", [7], "wrong_type", "source: expected str"),
    ],
)
def test_a_bad_value_is_quarantined_with_its_row(
    tmp_path: Path, column: str, values: list[Any], reason: str, evidence: str
) -> None:
    contents = read(write(tmp_path, rows(1) | {column: values}))
    assert contents.rows.num_rows == 0
    (bad,) = contents.quarantined.to_pylist()
    assert (bad["drop"], bad["line"], bad["reason"]) == ("drop.parquet", 1, reason)
    assert evidence in bad["evidence"]


def test_text_that_is_no_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    texts = pa.array([b"one?", b"caf\xe9?", b"three?"]).view(pa.string())
    contents = read(write(tmp_path, rows(3) | {"question": texts}))
    assert contents.rows["line"].to_pylist() == [1, 3]
    assert quarantine(contents) == [(2, "invalid_utf8")]


def test_a_damaged_row_group_is_quarantined_and_its_neighbours_are_kept(tmp_path: Path) -> None:
    file = write(tmp_path, rows(30), row_group_size=10, use_dictionary=False, compression="zstd")
    chunk = pq.ParquetFile(file).metadata.row_group(1).column(0)
    content = bytearray(file.read_bytes())
    start = chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(content)
    contents = read(file)
    assert contents.rows["line"].to_pylist() == [*range(1, 11), *range(21, 31)]
    assert quarantine(contents) == [(line, "corrupt_row_group") for line in range(11, 21)]
    assert "row group 1" in contents.quarantined["evidence"][0].as_py()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as Parquet"),
        (b"PAR1 and then nothing", "cannot be read as Parquet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
    ],
)
def test_a_file_that_is_no_parquet_fails_the_drop(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "drop.parquet"
    file.write_bytes(content)
    with pytest.raises(DropError, match=rf"drop\.parquet: .*{message}"):
        read(file)


def test_a_cut_off_file_fails_the_drop(tmp_path: Path) -> None:
    file = write(tmp_path, rows(10))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DropError, match=r"drop\.parquet: cannot be read as Parquet"):
        read(file)


def test_a_missing_column_fails_the_drop_and_names_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path, rows(1))
    with pytest.raises(
        DropError,
        match=r"no column 'problem', which question is to be read from\. Its columns: question, "
        r"domain, answer\. Map them in `questions\.layouts`",
    ):
        read(file, question="problem", domain="domain", answer="answer")
    # A null is allowed in a row; a misspelt column is not.
    optional = {"column": "levle", "optional": True}
    with pytest.raises(DropError, match="no column 'levle', which difficulty"):
        read(file, question="question", domain="domain", answer="answer", difficulty=optional)


def test_a_file_without_the_standard_columns_says_how_to_map_them(tmp_path: Path) -> None:
    columns = rows(1)
    del columns["domain"]
    with pytest.raises(DropError, match="no column 'domain'"):
        read(write(tmp_path, columns))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("messages[0].text", r"messages\[0\] has no field 'text'.*Its fields: role, content"),
        ("messages.content", "messages is list.*not a struct"),
        ("messages[0][1]", r"messages\[0\] is struct.*not a list"),
        ("domain.x", "domain is string, not a struct"),
    ],
)
def test_a_path_that_the_schema_has_not_fails_the_drop(
    tmp_path: Path, path: str, message: str
) -> None:
    columns = rows(1) | {"messages": pa.array([[]], NESTED)}
    with pytest.raises(DropError, match=message):
        read(write(tmp_path, columns), question=path, domain="domain", answer="answer")


def test_a_path_that_a_row_has_not_is_quarantined(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "one?"}], [], None, [None], [{"content": "five?"}]]
    columns = rows(5) | {"messages": pa.array(messages, NESTED)}
    contents = read(
        write(tmp_path, columns), question="messages[0].content", domain="domain", answer="answer"
    )
    assert contents.rows["question"].to_pylist() == ["one?", "five?"]
    assert quarantine(contents) == [(line, "missing_field") for line in (2, 3, 4)]
    assert contents.quarantined["evidence"][0].as_py() == "question (messages[0].content)"


def test_constants_translated_values_and_optional_columns(tmp_path: Path) -> None:
    columns = {
        "q": ["one?", "two?", "three?", "four?"],
        "topic": ["algebra", "algebra", "cooking", "biology"],
        "level": ["hard", "unknown", "hard", None],
    }
    contents = read(
        write(tmp_path, columns),
        question="q",
        domain={"column": "topic", "values": {"algebra": "math", "biology": "science"}},
        answer={"value": None},
        difficulty={"column": "level", "values": {"hard": 3, "unknown": None}, "optional": True},
        source={"value": "mine"},
    )
    found = contents.rows.select(["line", "domain", "answer", "difficulty", "source"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        (1, "math", "null", 3, "mine"),
        (2, "math", "null", None, "mine"),
        (4, "science", "null", None, "mine"),
    ]
    assert quarantine(contents) == [(3, "unmapped_value")]
    assert "'cooking' is not among `values`" in contents.quarantined["evidence"][0].as_py()


def test_a_large_file_is_held_in_parts(tmp_path: Path) -> None:
    n = 40_000
    columns = rows(n) | {"answer": ["x" * 1_000] * n}
    file = tmp_path / "drop.parquet"
    pq.write_table(pa.table(columns), file, row_group_size=2_000, use_dictionary=False)
    before = pa.total_allocated_bytes()
    largest = seen = 0
    for part in read_drop(file, None, MAX_ROW_BYTES, ["math", "science"]):
        largest = max(largest, pa.total_allocated_bytes() - before)
        assert part.rows.num_rows <= CHUNK_ROWS
        seen += part.rows.num_rows
    assert seen == n
    assert largest < 12_000_000  # of 42 MB


def test_an_empty_file_is_two_empty_tables(tmp_path: Path) -> None:
    schema = pa.schema([(name, pa.string()) for name in ("question", "domain", "answer")])
    file = tmp_path / "drop.parquet"
    pq.write_table(schema.empty_table(), file)
    contents = read(file)
    assert contents.rows.num_rows == contents.quarantined.num_rows == 0
