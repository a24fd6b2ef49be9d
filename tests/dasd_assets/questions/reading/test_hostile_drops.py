"""Drops that unpack to far more than they are, lead elsewhere, or say a thing twice."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.whole_drops import read_whole_drop

from dasd_assets.profile import PAPER_DOMAINS, Layout, MappedField
from dasd_assets.questions.reading import unpacked
from dasd_assets.questions.reading.data_files import passed_over
from dasd_assets.questions.reading.drops import CHUNK_ROWS, read_drop
from dasd_assets.questions.reading.rows import DropError

ROW = {"question": "What is 1 + 1?", "domain": "math", "answer": "2"}
LINE = json.dumps(ROW).encode() + b"\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
MIB = 1024**2


def refused(drop: Path, message: str, max_row_bytes: int = 10_000) -> None:
    with pytest.raises(DropError, match=message) as raised:
        for _ in read_drop(drop, None, max_row_bytes, PAPER_DOMAINS):
            pass
    assert drop.name in str(raised.value)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may unpack to little, so that a bomb can be small."""
    monkeypatch.setattr(unpacked, "ALWAYS_BYTES", MIB)


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("content", [b"\n" * 30_000, b"{}\n" * 30_000, b"x" * 4 * MIB])
def test_a_compressed_file_unpacks_to_so_much_at_most(tmp_path: Path, content: bytes) -> None:
    drop = tmp_path / "drop.jsonl.gz"
    drop.write_bytes(gzip.compress(content))
    refused(drop, r"bytes unpack to more than 1,048,576 .*split it into files")
    zst = tmp_path / "drop.jsonl.zst"
    zst.write_bytes(pa.compress(content, codec="zstd", asbytes=True))
    refused(zst, "bytes unpack to more than")
    plain = tmp_path / "drop.jsonl"  # as large as it looks
    plain.write_bytes(LINE + content)
    assert read_whole_drop(plain, None, 10_000).rows.num_rows == 1


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize(
    "columns",
    [
        {"question": ["x" * 9_000] * 1_000},
        {"question": [[{"role": "user", "content": "x" * 9_000}]] * 1_000},
        {"question": [[None] * 1_000] * 1_000},
    ],
    ids=["a text", "a text in a list", "nulls"],
)
def test_a_parquet_file_unpacks_to_so_much_at_most(tmp_path: Path, columns: dict[str, Any]) -> None:
    drop = tmp_path / "drop.parquet"
    pq.write_table(pa.table(columns | {"domain": ["math"] * 1_000, "answer": ["2"] * 1_000}), drop)
    assert drop.stat().st_size < 50_000
    refused(drop, "bytes unpack to more than")


def test_a_text_that_many_rows_share_is_held_for_a_few_rows_at_a_time(tmp_path: Path) -> None:
    drop = tmp_path / "drop.parquet"
    n, length = 400, 400_000
    rows = {"question": ["x" * length] * n, "domain": ["math"] * n, "answer": ["2"] * n}
    pq.write_table(pa.table(rows), drop, compression="none")
    before, most, seen = pa.total_allocated_bytes(), 0, 0
    tracemalloc.start()
    try:
        for part in read_drop(drop, None, MIB, PAPER_DOMAINS):
            seen += part.rows.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == n
    assert max(most, peak) < 0.5 * n * length  # of 160 MB
    assert n < CHUNK_ROWS


def test_an_answer_that_is_nested_deeply_is_a_row_that_cannot_be_used(tmp_path: Path) -> None:
    drop = tmp_path / "drop.jsonl"
    for depth in range(900, 1_000, 7):
        deep = (
            b'{"question": "q", "domain": "math", "answer": ' + b"[" * depth + b"]" * depth + b"}"
        )
        drop.write_bytes(deep + b"\n" + LINE)
        found = read_whole_drop(drop, None, 10_000)
        assert found.rows.num_rows + found.quarantined.num_rows == 2


@pytest.mark.parametrize("name", ["b.jsonl", "b.parquet"])
def test_a_folder_with_a_pointer_to_data_fails_before_a_row_is_read(
    tmp_path: Path, name: str
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.jsonl").write_bytes(LINE)
    (drop / name).write_bytes(POINTER)
    refused(drop, rf"{name}: is a Git LFS pointer.*git lfs pull")


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    drop = tmp_path / "drop.parquet"
    names = ["question", "domain", "answer", "answer"]
    pq.write_table(pa.table([["q"], ["math"], ["1"], ["2"]], names=names), drop)
    refused(drop, r"drop\.parquet: has the column 'answer' 2 times")


def test_a_key_that_is_there_twice_makes_a_row_unusable(tmp_path: Path) -> None:
    drop = tmp_path / "drop.jsonl"
    drop.write_bytes(LINE.replace(b"}", b', "answer": "3"}') + LINE)
    found = read_whole_drop(drop, None, 10_000)
    assert found.rows["line"].to_pylist() == [2]
    ((bad),) = found.quarantined.to_pylist()
    assert (bad["reason"], bad["evidence"]) == (
        "duplicate_key", "'answer' is there more than once",
    )  # fmt: skip


def test_fields_that_arrow_filled_in_are_not_there(tmp_path: Path) -> None:
    drop = tmp_path / "drop.parquet"
    answers = [{"tests": [{"in": "1"}]}, {"assertions": ["a"]}, {"tests": [{"out": "2"}]}]
    rows = [ROW | {"domain": "code", "answer": answer} for answer in answers]
    pq.write_table(pa.Table.from_pylist(rows), drop)
    found = read_whole_drop(drop, None, 10_000)
    assert [json.loads(answer) for answer in found.rows["answer"].to_pylist()] == answers


@pytest.mark.parametrize("name", ["messages.content", "messages[0]"])
def test_a_flat_column_whose_name_looks_like_a_path_can_be_mapped(
    tmp_path: Path, name: str
) -> None:
    rows = [{name: "flat?", "messages": [{"content": "nested?"}], "domain": "math", "answer": "2"}]
    layout = Layout(question=MappedField(column=name), domain="domain", answer="answer")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "drop.parquet")
    (tmp_path / "drop.jsonl").write_text(json.dumps(rows[0]), encoding="utf-8")
    for drop in tmp_path.iterdir():
        found = read_whole_drop(drop, layout, 10_000)
        assert found.rows["question"].to_pylist() == ["flat?"], drop


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_link_that_leaves_the_drop_is_refused(tmp_path: Path, is_folder: bool) -> None:
    drop, outside = tmp_path / "drop", tmp_path / "outside"
    drop.mkdir()
    (drop / "a.jsonl").write_bytes(LINE)
    (drop / "within.jsonl").symlink_to("a.jsonl")
    outside.mkdir()
    (outside / "secret.jsonl").write_bytes(LINE)
    assert read_whole_drop(drop, None, 10_000).rows.num_rows == 2
    (drop / "b.jsonl").symlink_to(outside if is_folder else outside / "secret.jsonl")
    refused(drop, r"b\.jsonl: is a symbolic link to .*outside of the drop")


@pytest.mark.parametrize("name", ["../outside.arrow", "/etc/hostname"])
def test_a_saved_data_set_lists_its_own_files_only(tmp_path: Path, name: str) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (tmp_path / "outside.arrow").touch()
    state = {"_data_files": [{"filename": name}]}
    (drop / "state.json").write_text(json.dumps(state), encoding="utf-8")
    refused(drop, rf"state\.json: lists '{name}', which is outside of the drop")


def test_files_of_a_folder_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name in ("a.jsonl", "B.JSONL", "c.jsonl.bz2", "d.csv", "e.json", "README.md", ".hidden"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert passed_over(tmp_path) == ["B.JSONL", "c.jsonl.bz2", "d.csv", "e.json"]
    assert passed_over(tmp_path / "a.jsonl") == []
