"""Contract, nulls and repeated ids, for every table that an asset writes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.checked_lake import CELL, evaluate, failed, fill, good_rows, partition_of

from checks.checked_partition import CheckedPartition
from checks.schema import contract_problems, table_checks
from resources.lake.lake import Lake
from resources.lake.manifest import SUFFIX
from resources.lake.parquet_layout import writer_options
from resources.lake.tables import TABLES, tables_of

pytestmark = pytest.mark.slow

ASSETS = [name for name, table in TABLES.items() if table.written_with is None]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def rewritten(lake: Lake, table: str, change: str) -> None:
    """Break the contract of a stored table behind the lake's back."""
    file = lake.path(table, partition_of(table))
    rows = pq.read_table(file)
    if change == "column gone":
        rows = rows.drop_columns([rows.column_names[-1]])
    elif change == "column more":
        rows = rows.append_column("extra", pa.array(range(rows.num_rows)))
    elif change == "other type":
        rows = rows.set_column(0, rows.column_names[0], pa.array(range(rows.num_rows)))
    elif change == "nullable":
        rows = rows.cast(
            pa.schema([field.with_nullable(True) for field in rows.schema], rows.schema.metadata)
        )
    pq.write_table(rows, file)


@pytest.mark.parametrize("asset", ASSETS)
def test_every_table_of_every_asset_is_held_to_its_contract(lake: Lake, asset: str) -> None:
    fill(lake, good_rows())
    table = tables_of(asset)[-1]
    rewritten(lake, table, "column gone")
    evaluations = evaluate(lake, asset)
    contract = evaluations["matches_contract"]
    assert not contract.passed
    assert contract.blocking
    column = TABLES[table].schema.names[-1]
    assert f"{column}: expected" in str(contract.metadata["failing_examples"])
    # Nothing else is measured of rows that cannot be trusted, and that is said.
    assert failed(evaluations) == set(evaluations)
    if "drift" in evaluations:
        assert "not measured" in str(evaluations["drift"].metadata["observed"])


@pytest.mark.parametrize("change", ["column gone", "column more", "other type", "nullable"])
def test_a_broken_contract_is_found_in_the_footer(lake: Lake, change: str) -> None:
    fill(lake, good_rows())
    with CheckedPartition(lake, CELL) as data:
        assert contract_problems(data, ("teacher_responses",)).values == {"teacher_responses": 0}
    rewritten(lake, "teacher_responses", change)
    with CheckedPartition(lake, CELL) as data:
        found = contract_problems(data, ("teacher_responses",))
    assert found.values["teacher_responses"] > 0
    assert found.examples


def test_a_missing_and_an_unreadable_file_are_problems(lake: Lake) -> None:
    file = lake.path("teacher_responses", CELL)
    with CheckedPartition(lake, CELL) as data:
        assert contract_problems(data, ("teacher_responses",)).examples == (
            "teacher_responses: not in the lake",
        )
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no parquet")
    with CheckedPartition(lake, CELL) as data:
        (example,) = contract_problems(data, ("teacher_responses",)).examples
    assert example.startswith("teacher_responses: no Parquet file")


@pytest.mark.parametrize("column", ["domain", "sample_index"])
def test_nulls_are_counted_with_and_without_statistics(lake: Lake, column: str) -> None:
    fill(lake, good_rows())
    file = lake.path("teacher_responses", CELL)
    rows = pq.read_table(file)
    nullable = pa.schema([field.with_nullable(True) for field in rows.schema])
    some = rows.cast(nullable).to_pylist()
    for row in some[:3]:
        row[column] = None
    table = pa.Table.from_pylist(some, schema=nullable)
    pq.write_table(table, file, **writer_options(nullable))
    Path(f"{file}{SUFFIX}").unlink()  # as of a lake of before there were manifests
    with CheckedPartition(lake, CELL) as data:
        nulls = next(iter(table_checks(data, ("teacher_responses",))))
    assert nulls.values == {"teacher_responses": 3}
    assert nulls.examples == (f"teacher_responses.{column}: 3",)
