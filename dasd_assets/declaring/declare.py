"""What every asset of the graph declares, in one place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import pyarrow as pa

from dasd_assets.declaring.cost import tokens_of, took
from dasd_assets.declaring.out_of_date import DRAWN
from dasd_assets.declaring.pages import kept_pictures
from dasd_assets.declaring.stored_data import OF_ASSET, STORED, TABLE
from dasd_assets.profile import settings_version
from formats.pages import as_text, markdown_table
from resources.compute.declared import Compute
from resources.engines.protocol import Progress
from resources.lake.lake import Lake, Partition, Written
from resources.lake.tables import TABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAKE_ROOT: Final = "lake/root"
"""In an asset's metadata: the folder or bucket that the paths of its materializations are below."""
OWNERS = ["team:data-engineering"]
PREVIEW_ROWS = 3
"""What the UI's panel shows side by side without cutting the last one off."""
PREVIEW_CHARACTERS = 160
SHOWN_QUARANTINED = 20
SECONDS_BETWEEN_PROGRESS_LINES = 5.0


def declared(
    group: str,
    compute: Compute,
    code: str,
    *settings: Any,
    kinds: set[str],
    table: str | None = None,
    stored: str | None = None,
    from_what_is_ready: bool = False,
) -> dict[str, Any]:
    """Arguments of `@dg.asset` that all assets share.

    Args:
        group: asset group, the name of the box in the paper's figure.
        compute: what a materialization asks for.
        code: version of the code that makes the data; raise it when the same settings would
            now give other data.
        settings: settings that shape the data; a change makes every partition stale.
        kinds: technologies, shown as icons.
        table: lake table whose columns the asset declares.
        stored: what it keeps in the lake beside its tables (see `stored_data.STORED`).
        from_what_is_ready: whether it can be made while partitions of its inputs are missing.
    """
    metadata = compute.metadata()
    if table:
        metadata["dagster/column_schema"] = column_schema(TABLES[table].schema)
        metadata[TABLE] = table
    if stored:
        metadata[STORED] = stored
    if from_what_is_ready:
        metadata[DRAWN] = True
    return {
        "group_name": group,
        "owners": OWNERS,
        "kinds": kinds,
        "code_version": f"{code}-{settings_version(*settings)}",
        "op_tags": compute.op_tags(),
        "pool": compute.pool,
        "metadata": metadata,
    }


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """An Arrow schema as the UI shows it."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=str(field.type),
                description=field.metadata[b"description"].decode(),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def materialized(
    lake: Lake,
    written: Written,
    partition: Partition | None = None,
    pictures: Mapping[str, Figure] | None = None,
    /,
    **metadata: Any,
) -> dg.MaterializeResult:
    """Result of an asset whose main table has been written: all that the UI shows of its data.

    In the order in which they are shown: counts of rows and tokens, rate and cost; what the asset
    tells of itself, its pictures among it; the first rows, column lineage, where it is stored. The
    data version is the hash of the partition's content, so that a re-run that made the same rows
    leaves everything below up to date.

    Args:
        lake: where it has been written; the pictures are kept there, too.
        written: what writing the table gave.
        partition: the table's.
        pictures: figures by the names that the UI shows them under.
        metadata: what the asset tells of itself.
    """
    is_here = "://" not in written.uri
    uri = lake.name(written.table, partition) if is_here else written.uri
    return dg.MaterializeResult(
        data_version=dg.DataVersion(written.data_version),
        metadata={
            "dagster/row_count": written.n_rows,
            **took(written.table, tokens_of(lake, written.table, partition)),
            **{name: readable(value) for name, value in metadata.items()},
            **kept_pictures(lake, lake.name(written.table, partition), pictures or {}),
            "preview": dg.MetadataValue.md(preview(lake, written.table, partition)),
            **column_lineage(written.table, partition),
            "bytes": written.n_bytes,
            "dagster/uri": uri,
        },
    )


def asset_of(table: str, partition: Partition | None) -> dg.AssetKey:
    """The asset that makes a table; where there is one for each checkpoint, that of the same."""
    dimensions = TABLES[table].dimensions if table in TABLES else ()
    own = [partition[name] for name in OF_ASSET if partition and name in dimensions]
    return dg.AssetKey([table, *own])


def column_lineage(
    table: str, partition: Partition | None = None
) -> dict[str, dg.TableColumnLineage | dg.MarkdownMetadataValue]:
    """Which columns of other assets each column is made from; nothing for what is delivered.

    Twice: the open-source UI keeps `dagster/column_lineage` but shows it nowhere, so that a person
    reads the same as a Markdown table.
    """
    lineage = TABLES[table].lineage
    if not lineage:
        return {}
    return {
        "column_lineage": dg.MetadataValue.md(_lineage_table(table)),
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [
                    dg.TableColumnDep(asset_of(source.asset, partition), source.column)
                    for source in sources
                ]
                for column, sources in lineage.items()
            }
        ),
    }


def _lineage_table(table: str) -> str:
    origins = {
        column: ", ".join(f"`{source.asset}.{source.column}`" for source in sources)
        for column, sources in TABLES[table].lineage.items()
    }
    names = TABLES[table].schema.names
    return markdown_table(
        ["column", "made from"], [[name, origins.get(name, "set by this asset")] for name in names]
    )


def preview(lake: Lake, table: str, partition: Partition | None) -> str:
    """The first rows of a partition side by side as a Markdown table; long values are cut.

    A line is a column of the table: of twenty columns beside each other a screen shows but a few.
    """
    batch = next(lake.batches(table, partition), None)
    rows = [] if batch is None else batch.slice(0, PREVIEW_ROWS).to_pylist()
    return markdown_table(
        ["column", *(f"row {number}" for number in range(1, len(rows) + 1))],
        [[name, *(_cell(row[name]) for row in rows)] for name in TABLES[table].schema.names],
    )


def quarantine(quarantined: pa.Table) -> dict[str, dg.MetadataValue]:
    """The first rows that cannot be used: where each is, why, and what was found in it.

    Args:
        quarantined: rows of `quarantined_rows` or `quarantined_answers`.
    """
    rows = quarantined.slice(0, SHOWN_QUARANTINED).to_pylist()
    if not rows:
        return {}
    names = ("drop", "line", "reason", "evidence")
    shown = markdown_table(
        ["file", "line", "reason", "what was found"],
        [[_cell(row[name]) for name in names] for row in rows],
    )
    if quarantined.num_rows > len(rows):
        shown += f"\n\nThe first {len(rows)} of {quarantined.num_rows:,}."
    return {"quarantined_rows": dg.MetadataValue.md(shown)}


def place(lake: Lake, path: Path) -> dg.PathMetadataValue:
    """Where something lies, below the lake's root: it stays right when the data folder moves.

    Where the root is now, the asset's own metadata says: `lake/root`.
    """
    return dg.MetadataValue.path(path.relative_to(lake.root).as_posix())


def with_place(asset: dg.AssetsDefinition, root: str) -> dg.AssetsDefinition:
    """The asset with where the lake is now: a folder of this machine, or a bucket."""

    def placed(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.merge_attributes(metadata={LAKE_ROOT: dg.MetadataValue.path(root)})

    return asset.map_asset_specs(placed)


def readable(value: Any) -> Any:
    """Metadata as a person reads it: four significant digits of what was measured or divided."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: readable(each) for name, each in value.items()}
    return value


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    short = text if len(text) <= PREVIEW_CHARACTERS else text[:PREVIEW_CHARACTERS] + "…"
    return as_text(short.replace("\n", "⏎"))


def log_progress(context: dg.AssetExecutionContext, unit: str) -> Callable[[Progress], None]:
    """A callback that logs done/total, tokens and, once it can be told, time left, now and then.

    The rate at the end becomes metadata. It is the model's own: what a journal or an earlier
    materialization had already counts as done, and not into it.
    """
    last = 0.0

    def log(progress: Progress) -> None:
        nonlocal last
        finished = progress.done == progress.total
        if not finished and progress.seconds - last < SECONDS_BETWEEN_PROGRESS_LINES:
            return
        last = progress.seconds
        rate = progress.n_tokens / max(progress.seconds, 1e-9)
        line = f"progress: {progress.done}/{progress.total} {unit}"
        if progress.n_tokens:
            line += f", {rate:,.0f} tokens/s, {progress.n_tokens:,} tokens so far"
        if progress.answers_under_way:
            line += f", {progress.answers_under_way} under way"
        if finished:
            context.add_asset_metadata({"tokens_per_second": round(rate, 1)})
        elif (left := progress.seconds_left) is not None:
            line += f", about {left:.0f} s left"
        context.log.info(line)

    return log
