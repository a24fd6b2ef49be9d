"""The warehouse: every table is a view, and no query can change the lake."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from support.small_lake import HOSTILE, REASONING, filled, make_small_lake

from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables import TABLES
from resources.lake.warehouse import JOINED, RENAMED, open_warehouse

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "lake"))
    make_small_lake(lake)
    return lake


def rows(lake: Lake, query: str) -> list[dict[str, Any]]:
    return open_warehouse(Path(lake.root)).sql(query).to_arrow_table().to_pylist()


def content(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_lake_has_empty_views_with_the_right_columns(tmp_path: Path, table: str) -> None:
    warehouse = open_warehouse(tmp_path)
    found = warehouse.sql(f"FROM {table}")
    dimensions = set(TABLES[table].dimensions)
    expected = {RENAMED.get(name, name) for name in TABLES[table].schema.names} - dimensions
    assert set(found.columns) == expected | dimensions
    assert found.fetchall() == []
    types = dict(zip(found.columns, map(str, found.types), strict=True))
    for field in TABLES[table].schema:
        if str(field.type) == "list<item: float>":
            assert types[field.name] == "FLOAT[]"
    described = warehouse.sql(
        f"SELECT column_name, comment FROM duckdb_columns() WHERE table_name = '{table}'"
    ).fetchall()
    for name, comment in described:
        if name in TABLES[table].schema.names and name not in RENAMED.values():
            text = TABLES[table].schema.field(name).metadata[b"description"].decode()
            assert comment == text or name in RENAMED


@pytest.mark.parametrize("view", JOINED)
def test_joined_views_of_an_empty_lake_are_empty(tmp_path: Path, view: str) -> None:
    assert open_warehouse(tmp_path).sql(f"FROM {view}").fetchall() == []


@pytest.mark.parametrize("table", ["teacher_responses", "rejected_responses", "evaluation"])
def test_a_view_has_the_rows_of_the_lake(lake: Lake, table: str) -> None:
    by = "response_id" if table != "evaluation" else "n_tokens"
    expected = lake.read_partitions(table).sort_by(by).to_pylist()
    found = rows(lake, f"FROM {table} ORDER BY {by}")
    assert expected
    for row, wanted in zip(found, expected, strict=True):
        for name in TABLES[table].schema.names:
            if name not in TABLES[table].dimensions:
                assert row[RENAMED.get(name, name)] == wanted[name]


def test_temperature_is_the_partition_and_sampling_temperature_the_value(lake: Lake) -> None:
    found = rows(lake, "SELECT temperature, sampling_temperature, response_id "
                       "FROM teacher_responses ORDER BY response_id")  # fmt: skip
    assert [row["temperature"] for row in found] == ["low", "low", "low", "high"]
    assert [round(row["sampling_temperature"], 1) for row in found] == [0.6, 0.6, 0.6, 1.0]


def test_files_of_other_partitions_are_not_read(lake: Lake) -> None:
    broken = lake.path("student_scores", {"temperature": "high", "question_shard": "drop-09"})
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no Parquet")
    warehouse = open_warehouse(Path(lake.root))
    assert warehouse.sql("FROM student_scores WHERE temperature = 'low'").fetchall() == []
    with pytest.raises(duckdb.Error, match=r"drop-09/data\.parquet"):
        warehouse.sql("FROM student_scores").fetchall()


def test_half_written_files_are_no_rows_and_columns_of_the_future_are_null(lake: Lake) -> None:
    old = lake.path("questions", {"question_shard": "drop-03"})
    old.parent.mkdir(parents=True)
    question = filled("questions", {"question_id": "q3"}).drop_columns(["source"])
    pq.write_table(question, old)
    (old.parent / ".abc.tmp").write_bytes(b"half")
    assert rows(lake, "SELECT question_id, source FROM questions ORDER BY ALL") == [
        {"question_id": "q1", "source": "me"},
        {"question_id": "q2", "source": "plain"},
        {"question_id": "q3", "source": None},
    ]


def test_a_path_with_glob_characters_is_a_path(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path / "a[b]*?='c" / "temperature=high"))
    make_small_lake(lake)
    found = rows(lake, "SELECT DISTINCT temperature FROM response_provenance ORDER BY ALL")
    assert found == [{"temperature": "high"}, {"temperature": "low"}]


def test_samples_has_one_row_an_answer_with_all_that_became_of_it(lake: Lake) -> None:
    found = {row["response_id"]: row for row in rows(lake, "FROM samples")}
    assert set(found) == {"r1", "r2", "r3", "r4"}
    r1, r2, r3, r4 = (found[name] for name in ("r1", "r2", "r3", "r4"))
    assert (r1["verdict"], r1["decision"], r1["rank"]) == ("kept", "selected", 1)
    assert (r1["drop"], r1["line"], r1["reference_answer"]) == ("drop-01.jsonl", 1, "2")
    assert (r2["verdict"], r2["decision"]) == ("kept", "over_answers_per_question")
    assert (r3["verdict"], r3["score"], r3["response_text"]) == ("rejected", None, None)
    assert [broken["rule"] for broken in r3["broken_rules"]] == ["hit_max_tokens", "repeated_ngram"]
    assert (r4["is_selected"], r4["is_random_control"]) == (False, True)


def test_rejects_has_one_row_a_broken_rule(lake: Lake) -> None:
    found = rows(lake, "SELECT response_id, rule, evidence FROM rejects ORDER BY rule")
    assert found == [
        {"response_id": "r3", "rule": "hit_max_tokens", "evidence": "9 tokens"},
        {"response_id": "r3", "rule": "repeated_ngram", "evidence": "4 x 'so it is'"},
    ]


def test_sentences_are_cut_at_bytes(lake: Lake) -> None:
    found = rows(lake, "SELECT sentence FROM sentences WHERE response_id = 'r1' "
                       "ORDER BY sentence_index")  # fmt: skip
    assert [row["sentence"] for row in found] == [REASONING, "It is 2."]
    assert HOSTILE in found[0]["sentence"]


def test_training_samples_lead_from_a_checkpoint_to_the_response(lake: Lake) -> None:
    found = rows(lake, "SELECT checkpoint, policy, sample_id, response_id FROM training_samples "
                       "ORDER BY ALL")  # fmt: skip
    assert found == [
        {"checkpoint": "dasd", "policy": "mixed_policy", "sample_id": "c1", "response_id": "r1"},
        {"checkpoint": "low_temperature", "policy": "off_policy", "sample_id": "r1",
         "response_id": "r1"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO '{file}'",
        "WITH a AS (COPY (SELECT 1) TO '{file}') FROM a",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "EXPORT DATABASE '{root}'",
        "ATTACH '{root}/new.db'",
        "DELETE FROM samples",
        "UPDATE questions SET question = ''",
        "INSERT INTO questions FROM questions",
        "SET enable_external_access = true",
        "FROM enable_logging(storage_path = '{root}/log')",
        "FROM enable_profiling(save_location = '{file}')",
        "PRAGMA profiling_output = '{file}'",
    ],
)
def test_no_statement_changes_the_lake(lake: Lake, statement: str) -> None:
    root = Path(lake.root)
    file = lake.path("questions", {"question_shard": "drop-01"})
    before = content(root)
    warehouse = open_warehouse(root)
    with pytest.raises(duckdb.Error):
        warehouse.execute(statement.format(root=root, file=file)).fetchall()
    warehouse.close()
    assert content(root) == before


def test_a_query_reads_no_other_file(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(duckdb.Error, match="disabled"):
        open_warehouse(Path(lake.root)).sql(f"FROM '{tmp_path}/other.csv'")


def test_no_lake_and_a_misplaced_file_are_named(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"nowhere: there is no lake; `dasd run`"):
        open_warehouse(tmp_path / "nowhere")
    misplaced = Path(lake.root, "questions", "shard=x", "data.parquet")
    misplaced.parent.mkdir()
    misplaced.write_bytes(b"")
    with pytest.raises(ContractError, match=r"shard=x/data.parquet: expected .* question_shard"):
        open_warehouse(Path(lake.root))
