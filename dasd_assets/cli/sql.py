"""`dasd sql`: ask the lake. Every table is a view; no query can change the lake."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dasd_assets.cli.damage import tell_damage
from dasd_assets.cli.exits import refusing
from dasd_assets.profile import ProfileError
from dasd_assets.profile.home import active_profile, home, lake_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

MAX_ROWS = 40
WIDTH_WITHOUT_TERMINAL = 160
HELP = """\
.tables            the views and how many columns they have
.columns VIEW      what the columns of a view are
.help, .quit
A query ends with ; and may have several lines. Ctrl-C forgets what was typed."""

_TABLES = """
    SELECT view_name AS "view", column_count AS "columns" FROM duckdb_views()
    WHERE NOT internal ORDER BY view_name
"""
_COLUMNS = """
    SELECT column_name, data_type, comment FROM duckdb_columns()
    WHERE table_name = $view AND NOT internal ORDER BY column_index
"""


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="SQL to run; without it, a prompt (or what comes in through a pipe)."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")] = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", help="Write the rows to this Parquet file.")
    ] = None,
) -> None:
    """Query the lake with SQL (DuckDB): a view for each table, and a few that join them.

    `samples` has one row per teacher response with its question, verdict, provenance, score and
    decision; `dasd sql "SHOW TABLES"` lists the others. The lake cannot be changed by a query.
    """
    import duckdb

    from resources.lake.table import ContractError
    from resources.lake.warehouse import open_warehouse

    with refusing(ProfileError, ContractError, duckdb.Error, OutputError, OSError):
        if as_csv + as_json + (parquet is not None) > 1:
            raise OutputError("--csv, --json and --parquet exclude each other")
        profile = active_profile()
        lake = lake_folder(profile, home(profile))
        connection = open_warehouse(lake)
        tell_damage(profile)
        if query is None and sys.stdin.isatty():
            _shell(connection)
            return
        rows = connection.sql(sys.stdin.read() if query is None else query)
        if rows is None:
            raise OutputError("the query has no rows to show")
        if parquet is not None:
            _write_parquet(rows, parquet, lake)
        elif as_csv:
            _print_csv(rows)
        elif as_json:
            _print_json(rows)
        else:
            _print_table(rows)


class OutputError(ValueError):
    """A result that cannot be given in the way that was asked for."""


def _print_table(rows: DuckDBPyRelation) -> None:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    rows.show(max_width=columns, max_rows=MAX_ROWS)


def _print_csv(rows: DuckDBPyRelation) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows.columns)
    for batch in rows.select("CAST(COLUMNS(*) AS VARCHAR)").to_arrow_reader():
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _print_json(rows: DuckDBPyRelation) -> None:
    for batch in rows.set_alias("row").select("to_json(row)").to_arrow_reader():
        for line in batch.column(0).to_pylist():
            print(line)


def _write_parquet(rows: DuckDBPyRelation, file: Path, lake: Path) -> None:
    """Stream the rows into a file outside the lake.

    Raises:
        OutputError: the file would lie in the lake, or its folder is not there.
    """
    import pyarrow.parquet as pq

    if file.resolve().is_relative_to(lake.resolve()):
        raise OutputError(f"{file}: lies in the lake, which only assets write to")
    if not file.resolve().parent.is_dir():
        raise OutputError(f"{file}: there is no such folder")
    reader = rows.to_arrow_reader()
    n_rows = 0
    with pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            n_rows += batch.num_rows
    typer.echo(f"{n_rows:,} rows in {file}", err=True)


def _shell(connection: DuckDBPyConnection) -> None:
    """Read queries from the terminal until its end; an error ends a query, not the shell."""
    import readline  # noqa: F401  (gives `input` line editing and history)

    import duckdb

    typer.echo("DuckDB over the lake, read only. .help for help, Ctrl-D to leave.")
    lines: list[str] = []
    while True:
        try:
            lines.append(input("   ... " if lines else "dasd> "))
            command, *rest = lines[0].split() or [""]
            if command in (".quit", ".exit"):
                return
            if command == ".help":
                typer.echo(HELP)
            elif command == ".tables":
                _print_table(connection.sql(_TABLES))
            elif command == ".columns":
                _print_table(connection.sql(_COLUMNS, params={"view": " ".join(rest)}))
            elif lines[-1].rstrip().endswith(";"):
                if (rows := connection.sql("\n".join(lines))) is not None:
                    _print_table(rows)
            elif any(line.strip() for line in lines):
                continue
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            typer.echo()
        except duckdb.Error as error:
            typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        lines = []
