"""Dataset folders: as on the hub and as saved to disk, in a fixed order, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.whole_drops import read_whole_drop

from dasd_assets.profile import Layout
from dasd_assets.questions.reading.drops import DropContents
from dasd_assets.questions.reading.rows import DropError


def table(*questions: str) -> pa.Table:
    rows = [{"question": q, "domain": "math", "answer": "1"} for q in questions]
    return pa.Table.from_pylist(rows)


def lines(*questions: str) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in table(*questions).to_pylist())


def read(drop: Path, files: str | None = None) -> DropContents:
    columns: dict[str, Any] = {"question": "question", "domain": "domain", "answer": "answer"}
    return read_whole_drop(drop, Layout(files=files, **columns) if files else None, 10_000)


def found(contents: DropContents) -> list[tuple[str, int, str]]:
    return [(r["drop"], r["line"], r["question"]) for r in contents.rows.to_pylist()]


def test_a_hub_folder_is_read_by_path_without_hidden_and_other_files(tmp_path: Path) -> None:
    drop = tmp_path / "set"
    for folder in ("data", "extra", ".cache/huggingface"):
        (drop / folder).mkdir(parents=True)
    pq.write_table(table("b1", "b2"), drop / "data" / "train-00001-of-00002.parquet")
    pq.write_table(table("a1"), drop / "data" / "train-00000-of-00002.parquet")
    pq.write_table(table("hidden"), drop / ".cache" / "huggingface" / "x.parquet")
    (drop / "extra" / "more.jsonl").write_bytes(lines("c1") + b"broken\n" + lines("c3"))
    (drop / "README.md").write_text("a card", encoding="utf-8")
    contents = read(drop)
    assert found(contents) == [
        ("set/data/train-00000-of-00002.parquet", 1, "a1"),
        ("set/data/train-00001-of-00002.parquet", 1, "b1"),
        ("set/data/train-00001-of-00002.parquet", 2, "b2"),
        ("set/extra/more.jsonl", 1, "c1"),
        ("set/extra/more.jsonl", 3, "c3"),
    ]
    ((bad),) = contents.quarantined.to_pylist()
    assert (bad["drop"], bad["line"], bad["reason"]) == ("set/extra/more.jsonl", 2, "invalid_json")
    assert len(found(read(drop, "data/*"))) == 3


@pytest.mark.parametrize("with_splits", [False, True])
def test_a_folder_that_datasets_saved_is_read_as_datasets_reads_it(
    tmp_path: Path, with_splits: bool
) -> None:
    import datasets

    datasets.disable_progress_bars()
    drop = tmp_path / "saved"
    questions = [f"What is {i}?" for i in range(25)]
    train = datasets.Dataset(table(*questions)).filter(lambda row: row["question"] != questions[3])
    if with_splits:
        test = datasets.Dataset(table("a test question"))
        datasets.DatasetDict(train=train, test=test).save_to_disk(
            drop, num_shards={"train": 3, "test": 1}
        )
    else:
        train.save_to_disk(drop, num_shards=3)
    contents = read(drop, "train/*" if with_splits else None)
    assert [question for _, _, question in found(contents)] == train["question"][:]
    assert [line for _, line, _ in found(contents)] == [*range(1, 9)] * 3
    first = "saved/train/" if with_splits else "saved/"
    assert found(contents)[0][0] == f"{first}data-00000-of-00003.arrow"
    if with_splits:
        assert len(found(read(drop))) == 25


def test_a_saved_folder_with_a_file_missing_or_damaged_fails(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    drop = tmp_path / "saved"
    datasets.Dataset(table("a", "b", "c", "d")).save_to_disk(drop, num_shards=2)
    second = drop / "data-00001-of-00002.arrow"
    content = second.read_bytes()
    second.write_bytes(b"ARROW1 but no stream")
    with pytest.raises(DropError, match=r"data-00001-of-00002\.arrow: cannot be read as an Arrow"):
        read(drop)
    second.write_bytes(content[: len(content) // 2 + 100])
    with pytest.raises(DropError, match=r"data-00001-of-00002\.arrow"):
        read(drop)
    second.unlink()
    with pytest.raises(
        DropError, match=r"data-00001-of-00002\.arrow is missing, which state\.json"
    ):
        read(drop)
    (drop / "state.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DropError, match=r"not written by `datasets\.save_to_disk`"):
        read(drop)


def test_a_folder_without_data_fails_and_says_what_it_holds(tmp_path: Path) -> None:
    drop = tmp_path / "empty"
    drop.mkdir()
    with pytest.raises(DropError, match=r"empty: a folder without data.*it holds no files"):
        read(drop)
    (drop / "notes.txt").touch()
    with pytest.raises(DropError, match=r"it holds notes\.txt"):
        read(drop)
    (drop / "a.jsonl").write_bytes(lines("a"))
    with pytest.raises(DropError, match=r"no data file fits 'data/\*'.*there are a\.jsonl"):
        read(drop, "data/*")


def test_a_missing_column_in_any_file_fails_before_a_row_is_read(tmp_path: Path) -> None:
    drop = tmp_path / "set"
    drop.mkdir()
    pq.write_table(table("a"), drop / "1.parquet")
    pq.write_table(table("b").drop_columns(["answer"]), drop / "2.parquet")
    with pytest.raises(DropError, match=r"2\.parquet: no column 'answer'.*question, domain"):
        read(drop)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_lines_are_read_and_damage_fails_the_drop(tmp_path: Path, suffix: str) -> None:
    drop = tmp_path / f"drop.jsonl.{suffix}"
    content = lines(*(f"question {i}" for i in range(300))) + b"\xff\n" + lines("last")
    packed = gzip.compress(content) if suffix == "gz" else pa.compress(content, "zstd").to_pybytes()
    drop.write_bytes(packed)
    contents = read(drop)
    assert contents.rows.num_rows == 301
    assert contents.quarantined["line"].to_pylist() == [301]
    drop.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DropError, match=rf"drop\.jsonl\.{suffix}: damaged, cannot be read"):
        read(drop)
    drop.write_bytes(b"no such format")
    with pytest.raises(DropError, match=rf"drop\.jsonl\.{suffix}: damaged, cannot be read"):
        read(drop)
