"""Parquet files: small on disk, in groups of bounded size, readable by others."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.stub_engine import StubEngine

from benchmarks.storage import column_bytes, synthetic_sample, teacher_sample
from dasd_assets.teacher_responses.sampling import sample_responses
from resources.lake.lake import Lake
from resources.lake.parquet_layout import ROW_GROUP_BYTES, row_bytes, row_groups, writer_options
from resources.lake.tables import TABLES
from resources.lake.tables.questions import QUESTIONS
from resources.lake.tables.response_filtering import REJECTED_RESPONSES
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES

pytestmark = pytest.mark.slow

BYTES_PER_TOKEN = 6.0


def per_token(rows: pa.Table) -> float:
    n_tokens = pc.sum(pc.list_value_length(rows["token_ids"])).as_py()
    return sum(column_bytes(rows, writer_options(rows.schema))) / n_tokens


def test_real_answers_take_at_most_6_bytes_per_token() -> None:
    rows = teacher_sample("tiny_world/models/teacher", n_answers=32, threads=1)
    assert per_token(rows) <= BYTES_PER_TOKEN


@pytest.mark.parametrize("is_by_frequency", [True, False])
def test_a_large_vocabulary_takes_at_most_6_bytes_per_token(is_by_frequency: bool) -> None:
    rows = synthetic_sample(400_000, is_by_frequency=is_by_frequency)
    assert per_token(rows) <= BYTES_PER_TOKEN


@pytest.mark.parametrize("table", TABLES)
def test_numbers_in_lists_are_split_and_all_else_has_dictionaries(table: str) -> None:
    options = writer_options(TABLES[table].schema)
    lists = {
        f"{field.name}.list.element"
        for field in TABLES[table].schema
        if pa.types.is_list(field.type) and not pa.types.is_struct(field.type.value_type)
    }
    assert set(options["column_encoding"]) == lists
    assert not lists & set(options["use_dictionary"])


def long_rows(n_rows: int, n_tokens: int) -> pa.RecordBatch:
    """Rows whose lists hold so many ids, each row other ones."""
    ids = np.arange(n_rows * n_tokens, dtype=np.int32)
    offsets = np.arange(n_rows + 1, dtype=np.int32) * n_tokens
    return pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(offsets, ids)], ["token_ids"])


@pytest.mark.parametrize("n_batches", [1, 7, 240])
def test_groups_of_64k_token_rows_are_bounded_by_bytes_and_do_not_show_the_batches(
    n_batches: int,
) -> None:
    rows = long_rows(240, 65_536)
    step = -(-240 // n_batches)
    batches = [rows.slice(start, step) for start in range(0, 240, step)]
    groups = list(row_groups(batches))
    assert [group.num_rows for group in groups] == [128, 112]
    assert all(group.nbytes <= ROW_GROUP_BYTES + 1024 for group in groups)
    assert pa.concat_tables(groups).equals(pa.Table.from_batches([rows]))


def test_groups_of_short_rows_are_bounded_by_rows_and_joined() -> None:
    batches = [long_rows(600, 3), long_rows(0, 3), long_rows(600, 3), long_rows(1_000, 3)]
    groups = row_groups(batches, max_rows=1_024)
    assert [group.num_rows for group in groups] == [1_024, 1_024, 152]
    assert [group.num_rows for group in row_groups(batches)] == [2_200]
    assert list(row_groups([])) == []


def test_a_row_larger_than_a_group_is_alone() -> None:
    rows = [long_rows(1, 10), long_rows(1, 1_000), long_rows(2, 10)]
    assert [g.num_rows for g in row_groups(rows, max_bytes=100)] == [1, 1, 2]


def test_sizes_of_rows_of_every_type() -> None:
    rules = [[{"rule": "ab", "evidence": "cde"}], [], [{"rule": "é", "evidence": ""}] * 2]
    columns = {
        "text": pa.array(["abc", None, "数"]),
        "n": pa.array([1, 2, 3], pa.int32()),
        "flag": pa.array([True, False, True]),
        "rules": pa.array(rules, REJECTED_RESPONSES.field("broken_rules").type),
    }
    whole = pa.RecordBatch.from_pydict(columns).to_struct_array()
    assert row_bytes(whole).tolist() == [3 + 4 + 1 + 5, 0 + 4 + 1, 3 + 4 + 1 + 4]
    assert row_bytes(whole.slice(1)).tolist() == row_bytes(whole).tolist()[1:]


def test_duckdb_and_plain_pyarrow_read_what_the_lake_writes(tmp_path: Path) -> None:
    questions = pa.Table.from_pylist(
        [
            {"question_id": f"q-{i}", "domain": "math", "question": f"{i}?", "answer": "1",
             "difficulty": None, "source": None, "drop": "d", "line": i} for i in range(50)
        ],
        schema=QUESTIONS,
    )  # fmt: skip
    lake = Lake(root=str(tmp_path))
    cell = {"temperature": "high", "question_shard": "drop-01"}
    rows = sample_responses(
        questions, StubEngine(), temperature_name="high", temperature=1.0, samples_per_question=4,
        top_p=1.0, max_tokens=100, system_prompt="s", reasoning_effort="low", seed=0,
        journal=tmp_path / "journal",
    )  # fmt: skip
    written = lake.write("teacher_responses", rows, cell)
    table = lake.read("teacher_responses", cell)
    assert table.schema.equals(TEACHER_RESPONSES)
    plain = pq.ParquetFile(written.path).read()
    assert json.dumps(plain.to_pylist()) == json.dumps(table.to_pylist())  # NaN equals NaN here
    found = duckdb.sql(
        f"select response_id, token_ids, logprobs from read_parquet('{written.path}')"
    ).fetchall()
    expected = table.select(["response_id", "token_ids", "logprobs"]).to_pylist()
    assert json.dumps([list(row) for row in found]) == json.dumps(
        [list(row.values()) for row in expected]
    )


def test_duckdb_finds_a_nan_among_values_in_range(tmp_path: Path) -> None:
    values = pa.array([0.5, float("nan"), 0.7], pa.float32())
    for name, column in (("p", values), ("ps", pa.array([[0.5], [float("nan")], [0.7]]))):
        table = pa.table({"id": [0, 1, 2], name: column})
        file = tmp_path / f"{name}.parquet"
        pq.write_table(table, file, **writer_options(table.schema))
    found = duckdb.sql(f"select id from '{tmp_path / 'p.parquet'}' where isnan(p) or p > 1")
    assert found.fetchall() == [(1,)]
    found = duckdb.sql(f"select id from '{tmp_path / 'ps.parquet'}' where isnan(ps[1])")
    assert found.fetchall() == [(1,)]


@pytest.mark.parametrize("n_characters", [10, 40_000])
def test_the_same_rows_make_the_same_bytes_however_they_are_cut(
    tmp_path: Path, n_characters: int
) -> None:
    rng = np.random.default_rng(0)
    letters = [rng.integers(97, 123, n_characters, np.uint8).tobytes().decode() for _ in range(300)]
    rows = pa.Table.from_pylist(
        [
            {"question_id": f"q-{i}", "domain": "math", "question": text, "answer": "1",
             "difficulty": None, "source": None, "drop": "d", "line": i}
            for i, text in enumerate(letters)
        ],
        schema=QUESTIONS,
    )  # fmt: skip
    lake = Lake(root=str(tmp_path))
    versions = {
        lake.write("questions", rows.to_batches(cut), {"question_shard": "s"}).data_version
        for cut in (1, 7, 100, 300)
    }
    assert len(versions) == 1
