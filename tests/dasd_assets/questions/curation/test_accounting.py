"""Every row of a drop ends in exactly one of questions, rejected_questions, quarantined_rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.whole_drops import read_whole_drop

from dasd_assets.profile import PAPER_DOMAINS
from resources.lake.tables.questions import BENCHMARK_QUESTIONS
from tests.support.curation import curate, settings_of

pytestmark = pytest.mark.slow

SETTINGS = settings_of(
    decontamination_ngram_words=3, near_duplicate_jaccard=0.5, near_duplicate_shingle_words=2
)
HELD_OUT = pa.Table.from_pylist(
    [{"question_id": "b", "benchmark": "aime", "domain": "math", "question": "red blue green",
      "answer": "1"}],
    schema=BENCHMARK_QUESTIONS,
)  # fmt: skip
WORD = st.sampled_from(["red", "blue", "green", "grey", "RED", "re\u0301d", "3", "\u200b", "?"])
TEXT = st.lists(WORD, max_size=9).map(" ".join)
ROW = st.fixed_dictionaries(
    {"question": st.none() | TEXT, "domain": st.sampled_from([*PAPER_DOMAINS, "poetry", None])},
    optional={
        "answer": st.none() | st.text(max_size=3),
        "difficulty": st.none() | st.integers(-(2**40), 2**40),
    },
)
DROP = st.lists(ROW, max_size=12)


def rows_of(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(table["drop"].to_pylist(), table["line"].to_pylist(), strict=True))


@settings(max_examples=20, deadline=None)
@given(first=DROP, second=DROP, kind=st.sampled_from(["jsonl", "parquet", "folder"]))
def test_no_row_is_lost_and_none_is_in_two_tables(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
    kind: str,
) -> None:
    others = {
        "first": curate(
            read_whole_drop(write(tmp_path_factory, first, "jsonl"), None, 1_000).rows, SETTINGS
        )
    }
    contents = read_whole_drop(write(tmp_path_factory, second, kind), None, 1_000)
    result = curate(contents.rows, SETTINGS, others=others, held_out=HELD_OUT)
    ends = [
        row
        for table in (result.questions, result.rejected, contents.quarantined)
        for row in rows_of(table)
    ]
    half = math.ceil(len(second) / 2)
    expected = {
        "jsonl": [("drop.jsonl", line) for line in range(1, len(second) + 1)],
        "parquet": [("drop.parquet", line) for line in range(1, len(second) + 1)],
        "folder": [("drop/a.jsonl", line) for line in range(1, half + 1)]
        + [("drop/b.parquet", line) for line in range(1, len(second) - half + 1)],
    }
    assert sorted(ends) == expected[kind]
    assert result.signatures["question_id"].equals(result.questions["question_id"])
    kept = result.questions["question_id"].to_pylist()
    assert not set(kept) & set(others["first"].questions["question_id"].to_pylist())
    assert len(kept) == len(set(kept))


def write(factory: pytest.TempPathFactory, rows: list[dict[str, Any]], kind: str) -> Path:
    folder = factory.mktemp("inbox")
    if kind == "folder":
        drop = folder / "drop"
        drop.mkdir()
        half = math.ceil(len(rows) / 2)
        write_lines(drop / "a.jsonl", rows[:half])
        write_parquet(drop / "b.parquet", rows[half:])
        return drop
    drop = folder / f"drop.{kind}"
    (write_lines if kind == "jsonl" else write_parquet)(drop, rows)
    return drop


def write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(file: Path, rows: list[dict[str, Any]]) -> None:
    schema = pa.schema(
        [(name, pa.string()) for name in ("question", "domain", "answer")]
        + [("difficulty", pa.int64())]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), file, row_group_size=3)
