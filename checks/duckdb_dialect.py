"""DuckDB for SQLAlchemy, as far as Great Expectations asks: `postgresql+duckdb:///file`.

Great Expectations has no DuckDB of its own, and duckdb-engine (0.17.0) reads PostgreSQL's catalogue
in a way that DuckDB 2 has not. DuckDB speaks PostgreSQL's SQL, so this is a driver of SQLAlchemy's
PostgreSQL: what it is asked for beyond SQL is which columns a table has.
"""

from __future__ import annotations

from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect
from sqlalchemy.pool import StaticPool


class DuckDBType(sa.types.UserDefinedType[Any]):
    """A type by DuckDB's own name, such as `FLOAT[]`."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **unused: Any) -> str:
        return self.name


class _Compiler(PGCompiler):
    def visit_custom_op_binary(self, element: Any, operator: Any, **options: Any) -> str:
        """PostgreSQL's `~` finds a match anywhere; DuckDB's has to match the whole text."""
        if operator.opstring not in ("~", "!~"):
            return super().visit_custom_op_binary(element, operator, **options)
        found = self.process(sa.func.regexp_matches(element.left, element.right), **options)
        return found if operator.opstring == "~" else f"(NOT {found})"


class DuckDBDialect(PGDialect):
    """Reads a database file; the query of the address has DuckDB's settings."""

    driver = "duckdb"
    default_paramstyle = "qmark"
    statement_compiler = _Compiler
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        return duckdb

    @classmethod
    def get_pool_class(cls, url: sa.URL) -> type[StaticPool]:
        """One connection, of which each cursor is one more: to open the file takes 0.1 s."""
        return StaticPool

    def create_connect_args(self, url: sa.URL) -> Any:
        return [url.database], {"read_only": True, "config": dict(url.query)}

    def initialize(self, connection: sa.Connection) -> None:
        self.default_schema_name = "main"

    def do_begin(self, dbapi_connection: Any) -> None:
        """Nothing is written."""

    do_commit = do_rollback = do_begin

    def has_table(
        self, connection: sa.Connection, table_name: str, schema: str | None = None, **unused: Any
    ) -> bool:
        return bool(self.get_columns(connection, table_name))

    def get_columns(
        self, connection: sa.Connection, table_name: str, schema: str | None = None, **unused: Any
    ) -> Any:
        found = connection.execute(
            sa.text(
                "select column_name, data_type from duckdb_columns() where table_name = :name "
                "order by column_index"
            ),
            {"name": str(table_name)},
        )
        return [
            {"name": name, "type": DuckDBType(kind), "nullable": True, "default": None}
            for name, kind in found
        ]

    def get_pk_constraint(
        self, connection: sa.Connection, table_name: str, schema: str | None = None, **unused: Any
    ) -> Any:
        return {"constrained_columns": [], "name": None}


sa.dialects.registry.register("postgresql.duckdb", __name__, DuckDBDialect.__name__)
