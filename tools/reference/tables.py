"""The page of all tables of the lake."""

from __future__ import annotations

import pyarrow as pa

from formats.pages import markdown_table
from resources.lake.table import Lineage, Table
from resources.lake.tables import TABLES
from resources.lake.tables.evaluation import CHECKPOINTS
from resources.lake.tables.release import RELEASED_LOGPROBS, RELEASED_SAMPLE
from tools.reference.markdown import codes, page

INTRODUCTION = """\
One table is `<DASD_HOME>/lake/<table>/<dimension>=<key>/…/data.parquet`, one file per partition.
`dasd sql` has a view of each, in which the partition columns are columns too, and some that join
them ([Look at the data](../look-at-the-data.md)). Types are Arrow's. A column is required unless it
may be null. Logprobs are natural logarithms; names with `p_` are probabilities; offsets are bytes
of UTF-8."""

RELEASED = {
    "A released training set": (
        "Rows of `stage1_low_temperature` and `stage2_high_temperature` in the data sets that "
        "`dataset_release` writes; those of `stage3_mixed_policy` are as in "
        "[mixed_policy_sample](#mixed_policy_sample). See [Releasing](../release.md).",
        RELEASED_SAMPLE,
    ),
    "A released companion": (
        "Rows of `…_logprobs`: what the provenance of the answers was found from.",
        RELEASED_LOGPROBS,
    ),
}


def tables_page() -> str:
    """Every table with its partitions and columns."""
    parts = [INTRODUCTION]
    for name, declared in TABLES.items():
        said = f"partitioned by {codes(declared.dimensions)}" if declared.dimensions else "one file"
        parts += [
            f"## {name}",
            f"Written by {_writer(name, declared)}, {said}.",
            _columns(declared.schema, declared.lineage),
        ]
    for title, (description, schema) in RELEASED.items():
        parts += [f"## {title}", description, _columns(schema, {})]
    return page("Tables", *parts)


def _writer(name: str, declared: Table) -> str:
    asset = declared.written_with or name
    if "checkpoint" in declared.dimensions:
        return f"the assets [{asset}/*](assets.md#{asset}{CHECKPOINTS[-1]})"
    if "student" in declared.dimensions:
        return f"the assets `{asset}/*`, of [further students](../training.md)"
    return f"the asset [{asset}](assets.md#{asset})"


def _columns(schema: pa.Schema, lineage: Lineage) -> str:
    rows = [
        (
            f"`{field.name}`",
            _type(field.type),
            "yes" if field.nullable else "",
            field.metadata[b"description"].decode(),
            codes(f"{source.asset}.{source.column}" for source in lineage.get(field.name, ())),
        )
        for field in schema
    ]
    header = ["column", "type", "may be null", "what it is", "made from"]
    if not lineage:
        return markdown_table(header[:-1], [row[:-1] for row in rows])
    return markdown_table(header, rows)


def _type(kind: pa.DataType) -> str:
    """Arrow's name; lists and structs without the names and marks that say nothing."""
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"{field.name}: {_type(field.type)}" for field in kind) + "}"
    return str(kind)
