"""The lake: atomic, checked against the contracts, partitions found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables.questions import QUESTIONS
from resources.lake.tables.teacher_responses import TEACHER_RESPONSES

pytestmark = pytest.mark.slow

SHARD = {"question_shard": "drop-01"}


def question_rows(n: int) -> pa.Table:
    rows = [
        {
            "question_id": f"q-{i}",
            "domain": "math",
            "question": f"What is {i} + 1?",
            "answer": "1",
            "difficulty": None,
            "source": None,
            "drop": "drop-01.jsonl",
            "line": i + 1,
        }
        for i in range(n)
    ]
    return pa.Table.from_pylist(rows, schema=QUESTIONS)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path))


def test_what_is_written_is_read_back_with_its_schema(lake: Lake) -> None:
    written = lake.write("questions", question_rows(3_000), SHARD)
    assert written.n_rows == 3_000
    assert lake.read("questions", SHARD).equals(question_rows(3_000))
    assert lake.read("questions", SHARD, ["line"]).schema.names == ["line"]


def test_same_rows_have_the_same_data_version(lake: Lake) -> None:
    first = lake.write("questions", question_rows(5), SHARD)
    again = lake.write("questions", question_rows(5), SHARD)
    other = lake.write("questions", question_rows(6), SHARD)
    assert first.data_version == again.data_version != other.data_version


def test_rows_out_of_contract_are_refused_and_name_table_partition_and_column(lake: Lake) -> None:
    index = QUESTIONS.get_field_index("line")
    wrong = question_rows(2).set_column(index, "line", pa.array(["1", "2"]))
    with pytest.raises(ContractError, match=r"questions drop-01: column line: expected int64 not "):
        lake.write("questions", wrong, SHARD)
    holes = question_rows(2).set_column(
        0, QUESTIONS.field("question_id"), pa.array(["q", None], pa.string())
    )
    with pytest.raises(ContractError, match="question_id has 1 nulls"):
        lake.write("questions", holes, SHARD)
    assert not lake.exists("questions", SHARD)
    assert not list(Path(lake.root).rglob("*.tmp"))


def test_a_partition_from_before_a_column_was_gained_is_read_with_nulls(lake: Lake) -> None:
    rows = question_rows(3)
    file = lake.path("questions", SHARD)
    file.parent.mkdir(parents=True)
    pq.write_table(rows.drop_columns("earlier_messages"), file)
    assert lake.read("questions", SHARD).equals(rows)
    columns = ["earlier_messages", "question"]
    assert lake.read("questions", SHARD, columns).equals(rows.select(columns))
    pq.write_table(rows.drop_columns(["earlier_messages", "source"]), file)
    with pytest.raises(ContractError, match="column source: expected string, found none"):
        lake.read("questions", SHARD)


def test_a_failed_write_keeps_the_old_partition(lake: Lake) -> None:
    lake.write("questions", question_rows(2), SHARD)

    def breaks_in_the_middle():  # type: ignore[no-untyped-def]
        yield question_rows(5).to_batches()[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        lake.write("questions", breaks_in_the_middle(), SHARD)
    assert lake.read("questions", SHARD).num_rows == 2


def test_a_missing_partition_is_named(lake: Lake) -> None:
    with pytest.raises(ContractError, match=r"questions drop-01: not in the lake .* Materialize"):
        lake.read("questions", SHARD)


def test_partitions_are_listed_sorted_and_joined_with_their_keys(lake: Lake) -> None:
    for shard in ("b", "a"):
        lake.write("questions", question_rows(1), {"question_shard": shard})
    assert lake.partitions("questions") == [{"question_shard": "a"}, {"question_shard": "b"}]
    rows = lake.read_partitions("questions", ["question_id"])
    assert rows["question_shard"].to_pylist() == ["a", "b"]
    assert lake.read_partitions("questions", question_shard="b").num_rows == 1
    assert lake.read_partitions("raw_questions").num_rows == 0


def test_sigkill_while_writing_leaves_nothing_that_a_reader_accepts(tmp_path: Path) -> None:
    program = """
import sys, time
from resources.lake import Lake
sys.path.insert(0, sys.argv[2])
from test_lake import question_rows
def slow():
    for batch in question_rows(4096).to_batches(1024):
        yield batch
        print("batch", flush=True)
        time.sleep(0.2)
Lake(root=sys.argv[1]).write("questions", slow(), {"question_shard": "drop-01"})
"""
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), here], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.05)
    lake = Lake(root=str(tmp_path))
    assert not lake.exists("questions", SHARD)
    assert lake.partitions("questions") == []
    lake.write("questions", question_rows(3), SHARD)
    assert lake.read("questions", SHARD).num_rows == 3


def test_checkpoints_are_found_by_their_pointer(lake: Lake) -> None:
    with pytest.raises(ContractError, match="checkpoints/dasd: not made yet"):
        lake.current_checkpoint("dasd")
    folder = lake.checkpoint_folder("dasd", "abc")
    lake.publish_checkpoint("dasd", "abc")
    with pytest.raises(ContractError, match="which is gone"):
        lake.current_checkpoint("dasd")
    folder.mkdir()
    assert lake.current_checkpoint("dasd") == folder


def test_a_partition_whose_column_had_to_be_there_is_read_where_it_now_may_be_null(
    lake: Lake,
) -> None:
    cell = {"temperature": "low", "question_shard": "s"}
    row = {"response_id": "r", "question_id": "q", "domain": "math", "question": "1?",
           "sample_index": 0, "engine": "e", "text": "t", "token_ids": [1], "logprobs": [-1.0],
           }  # fmt: skip
    table = pa.Table.from_pylist([row], schema=TEACHER_RESPONSES)
    lake.path("teacher_responses", cell).parent.mkdir(parents=True)
    strict = pa.schema(
        [
            field.with_nullable(False) if field.name in ("token_ids", "logprobs") else field
            for field in TEACHER_RESPONSES
        ]
    )
    pq.write_table(table.cast(strict), lake.path("teacher_responses", cell))
    assert lake.read("teacher_responses", cell).equals(table)
    earlier = lake.earlier("teacher_responses", cell, ["response_id", "token_ids"])
    assert pa.Table.from_batches(earlier)["token_ids"].to_pylist() == [[1]]
    # The other way round a null could be in it.
    loose = pa.schema([field.with_nullable(True) for field in TEACHER_RESPONSES])
    pq.write_table(table.cast(loose), lake.path("teacher_responses", cell))
    with pytest.raises(ContractError, match="response_id: expected string not null"):
        lake.read("teacher_responses", cell)
