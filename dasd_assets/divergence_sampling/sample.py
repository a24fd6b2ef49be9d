"""The selected candidates, with the text that the student is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.profile import DivergenceSampling
from resources.contracts import DIVERGENCE_SAMPLE, FILTERED_RESPONSES, ContractError

if TYPE_CHECKING:
    from resources.lake import Lake

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


def make_sample(candidates: pa.Table, lake: Lake, shards: list[dict[str, str]]) -> pa.Table:
    """Training rows of the selected candidates, their texts read from the lake.

    Only the selected texts are kept in memory.

    Args:
        candidates: rows with the schema DIVERGENCE_CANDIDATES.
        shards: partitions the candidates came from, as `scored_shards` found them.

    Raises:
        ContractError: a shard went away since then, or a selected response has no text.
    """
    wanted = candidates.filter(candidates["is_selected"])["response_id"].combine_chunks()
    batches = [
        batch.filter(pc.is_in(batch["response_id"], wanted))
        for shard in shards
        for batch in lake.batches("filtered_responses", shard, TEXT_COLUMNS)
    ]
    schema = pa.schema([FILTERED_RESPONSES.field(name) for name in TEXT_COLUMNS])
    sample = join_sample(candidates, pa.Table.from_batches(batches, schema))
    if scored_shards(lake, shards[0]["temperature"]) != shards:
        raise ContractError(
            f"divergence_sample {shards[0]['temperature']}: shards came or went during the "
            "selection; nothing was written. Select again."
        )
    return sample


def join_sample(candidates: pa.Table, texts: pa.Table) -> pa.Table:
    """Training rows of the selected candidates, ordered by domain and rank.

    Args:
        candidates: rows with the schema DIVERGENCE_CANDIDATES.
        texts: response_id, question and response_text of at least the selected responses.

    Returns:
        Table with the schema DIVERGENCE_SAMPLE.

    Raises:
        ContractError: a selected response has no text.
    """
    selected = candidates.filter(candidates["is_selected"])
    joined = selected.join(texts.select(TEXT_COLUMNS), keys="response_id", join_type="inner")
    if joined.num_rows != selected.num_rows:
        missing = set(selected["response_id"].to_pylist()) - set(joined["response_id"].to_pylist())
        raise ContractError(
            f"divergence_sample: {len(missing)} selected response(s) are not in "
            f"filtered_responses, for example {sorted(missing)[0]}"
        )
    ordered = joined.sort_by([("domain", "ascending"), ("rank", "ascending")])
    return ordered.select(DIVERGENCE_SAMPLE.names).cast(DIVERGENCE_SAMPLE)


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
