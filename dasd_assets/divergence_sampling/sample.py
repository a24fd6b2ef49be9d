"""The selected candidates, with the text that the student is trained on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.profile import DivergenceSampling
from resources.compute import Compute
from resources.contracts import DIVERGENCE_SAMPLE, ContractError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from resources.lake import Lake

DUCKDB_SHARE_OF_MEMORY = 0.5
BATCH_ROWS = 256
TEXTS_SQL = "create table texts (response_id varchar, question varchar, response_text varchar)"
TEXT_COLUMNS = ["response_id", "question", "response_text"]


def scored_shards(lake: Lake, temperature: str) -> list[dict[str, str]]:
    """Partitions of a temperature that can be selected from.

    Raises:
        ContractError: there is none, or one has filtered responses without provenance, or the
            other way round.
    """
    tables = ("filtered_responses", "response_provenance")
    filtered, scored = (lake.partitions(table, temperature=temperature) for table in tables)
    unmatched = [shard for shard in filtered + scored if (shard in filtered) != (shard in scored)]
    if unmatched:
        raise ContractError(
            f"divergence_sample {temperature}: "
            + "; ".join(
                f"{'/'.join(shard.values())} is in {tables[shard in scored]}, but not in "
                f"{tables[shard in filtered]}"
                for shard in unmatched
            )
            + ". Materialize them, or delete the shard from both, and select again."
        )
    if not filtered:
        raise ContractError(
            f"divergence_sample {temperature}: there are no filtered responses to choose from"
        )
    return filtered


@contextmanager
def sample_of(
    candidates: pa.Table,
    lake: Lake,
    shards: list[dict[str, str]],
    compute: Compute,
    scratch: Path,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Training rows of the selected candidates, ordered by domain and rank (DIVERGENCE_SAMPLE).

    Everything has been read and checked before the first row is given; what does not fit into
    memory waits on the disk.

    Args:
        candidates: rows with the schema DIVERGENCE_CANDIDATES.
        shards: partitions the candidates came from, as `scored_shards` found them.
        compute: cores, and memory, half of which DuckDB may use.
        scratch: folder for what does not fit into memory; emptied before and after.

    Raises:
        ContractError: a shard went away since then, or a selected response has not one text.
    """
    import duckdb

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{compute.memory_gib * DUCKDB_SHARE_OF_MEMORY}GiB",
        "threads": max(int(compute.cpus), 1),
        "temp_directory": str(scratch),
    }
    selected = candidates.filter(candidates["is_selected"])
    try:
        with duckdb.connect(config=config) as connection:
            connection.from_arrow(selected).create("selected")
            connection.execute(TEXTS_SQL)
            wanted = selected["response_id"].combine_chunks()
            for shard in shards:
                for batch in lake.batches("filtered_responses", shard, TEXT_COLUMNS):
                    rows = batch.filter(pc.is_in(batch["response_id"], wanted))
                    connection.from_arrow(pa.Table.from_batches([rows])).insert_into("texts")
            _require_one_text_each(connection)
            if scored_shards(lake, shards[0]["temperature"]) != shards:
                raise ContractError(
                    f"divergence_sample {shards[0]['temperature']}: shards came or went during the "
                    "selection; nothing was written. Select again."
                )
            yield _rows(connection)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _require_one_text_each(connection: DuckDBPyConnection) -> None:
    unequal = connection.sql(
        """select response_id, count(texts.response_id) as n_texts
        from selected left join texts using (response_id)
        group by response_id having n_texts != 1 order by n_texts, response_id"""
    ).fetchall()
    if unequal:
        name, n_texts = unequal[0]
        raise ContractError(
            f"divergence_sample: {len(unequal)} selected response(s) are not in "
            f"filtered_responses exactly once, for example {name}: {n_texts} times"
        )


def _rows(connection: DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    columns = ", ".join(DIVERGENCE_SAMPLE.names)
    result = connection.sql(
        f"select {columns} from selected join texts using (response_id) order by domain, rank"
    )
    for batch in result.to_arrow_reader(BATCH_ROWS):
        yield from pa.Table.from_batches([batch]).cast(DIVERGENCE_SAMPLE).to_batches()


def summary(candidates: pa.Table, settings: DivergenceSampling, temperature: str) -> dict[str, Any]:
    """What a person asks about a selection: budget, what it took, what is left of it, and why not.

    Args:
        candidates: rows with the schema DIVERGENCE_CANDIDATES.
    """
    unit, budget = settings.budget(temperature)
    selected = candidates.filter(candidates["is_selected"])
    control = candidates.filter(candidates["is_random_control"])
    n_tokens = pc.sum(selected["n_student_tokens"]).as_py() or 0
    taken = n_tokens if unit == "tokens" else selected.num_rows
    decisions = candidates["decision"].value_counts().to_pylist()
    filled_strata = candidates.group_by(["domain", "length_stratum"]).aggregate([]).num_rows
    n_domains = pc.count_distinct(candidates["domain"]).as_py()
    return {
        "candidates": candidates.num_rows,
        f"budget_{unit}": budget,
        "left_of_budget": budget - taken,
        "selected_tokens": n_tokens,
        "random_control_tokens": pc.sum(control["n_student_tokens"]).as_py() or 0,
        "decisions": {row["values"]: row["counts"] for row in decisions},
        "empty_strata": n_domains * settings.length_strata - filled_strata,
    }
