"""The entries of the lake's tables: one of each, and one that cannot be used says why."""

from __future__ import annotations

import pyarrow as pa
import pytest

from resources.lake.lake import Lake
from resources.lake.table import ContractError, Table, schema
from resources.lake.tables import TABLES, tables_of

ROWS = schema(("id", pa.string(), "what it is called"))


def test_a_table_without_an_entry_says_where_one_goes() -> None:
    with pytest.raises(ContractError, match=r"no_such_table: .* resources/lake/tables"):
        Lake(root="nowhere").read("no_such_table")


@pytest.mark.parametrize(
    "entry",
    [{"ids": ("name",)}, {"token_column": "name"}, {"lineage": {"name": ()}}],
)
def test_an_entry_that_names_a_column_that_is_not_there_is_refused(entry: dict) -> None:
    with pytest.raises(ContractError, match="names name, which it has not"):
        Table(ROWS, dimensions=(), **entry)


def test_every_table_is_written_with_an_asset_and_its_main_table_comes_first() -> None:
    assets = [name for name, table in TABLES.items() if table.written_with is None]
    assert {table.written_with for table in TABLES.values()} <= {None, *assets}
    assert all(tables_of(asset)[0] == asset for asset in assets)
    assert {table for asset in assets for table in tables_of(asset)} == set(TABLES)
    assert tables_of("stage_report") == ()
