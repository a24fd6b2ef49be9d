"""The selected candidates, with the text that the student is trained on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.ready_shards import DRAWN_FROM
from dasd_assets.divergence_sampling.weights import sample_weights
from dasd_assets.profile import DivergenceSampling, SampleWeights
from resources.lake.ordered_rows import OrderedRows
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import CONTROLS, DIVERGENCE_SAMPLE

if TYPE_CHECKING:
    from resources.lake.lake import Lake

TEXT_COLUMNS = ["response_id", "question", "earlier_messages", "response_text"]


@contextmanager
def sample_of(
    candidates: pa.Table,
    lake: Lake,
    shards: list[dict[str, str]],
    scratch: Path,
    weights: SampleWeights,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Training rows of the selected candidates, ordered by domain and rank (DIVERGENCE_SAMPLE).

    Everything has been read and checked before the first row is given; the texts wait on the disk.

    Args:
        candidates: rows with the schema DIVERGENCE_CANDIDATES.
        shards: partitions the candidates came from, as `shards_of` found them.
        scratch: folder for the texts; emptied before and after.
        weights: what each row counts in training.

    Raises:
        ContractError: a shard went away since then, a selected response has not one text, or no
            weight can be found for it.
    """
    selected = candidates.filter(candidates["is_selected"])
    selected = selected.sort_by([("domain", "ascending"), ("rank", "ascending")])
    selected = selected.append_column("weight", pa.array(sample_weights(selected, weights)))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        texts = OrderedRows(selected["response_id"].combine_chunks(), scratch)
        texts.read(
            batch
            for shard in shards
            for batch in lake.batches("filtered_responses", shard, TEXT_COLUMNS)
        )
        _require_one_text_each(selected, texts)
        gone = [
            shard for shard in shards if not all(lake.exists(table, shard) for table in DRAWN_FROM)
        ]
        if gone:
            raise ContractError(
                f"divergence_sample: {'; '.join('/'.join(shard.values()) for shard in gone)} went "
                "away during the selection; nothing was written. Select again."
            )
        yield _rows(selected, texts)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _require_one_text_each(selected: pa.Table, texts: OrderedRows) -> None:
    unequal = np.flatnonzero(texts.n_found != 1)
    if len(unequal):
        first = int(unequal[0])
        raise ContractError(
            f"divergence_sample: {len(unequal)} selected response(s) are not in filtered_responses "
            f"exactly once, for example {selected['response_id'][first]}: "
            f"{texts.n_found[first]} times"
        )


def _rows(selected: pa.Table, texts: OrderedRows) -> Iterator[pa.RecordBatch]:
    first = 0
    for part in texts.in_order():
        rows = selected.slice(first, part.num_rows)
        first += part.num_rows
        columns = {
            name: (part if name in TEXT_COLUMNS else rows)[name] for name in DIVERGENCE_SAMPLE.names
        }
        yield from pa.table(columns).cast(DIVERGENCE_SAMPLE).combine_chunks().to_batches()


def _tokens(candidates: pa.Table, which: str) -> int:
    return pc.sum(candidates.filter(candidates[which])["n_student_tokens"]).as_py() or 0


def _chosen_between(candidates: pa.Table, settings: DivergenceSampling) -> str:
    """What the answers of the sample were preferred to."""
    if not settings.best_of_question:
        return "all answers of a domain"
    if candidates.num_rows == pc.count_distinct(candidates["question_id"]).as_py():
        return "questions only: no question has a second answer"
    return "the answers to each question first, then questions"


def summary(candidates: pa.Table, settings: DivergenceSampling, temperature: str) -> dict[str, Any]:
    """What a person asks about a selection: budget, what it took, what is left of it, and why not.

    Args:
        candidates: rows with the schema DIVERGENCE_CANDIDATES.
    """
    unit, budget = settings.budget(temperature)
    selected = candidates.filter(candidates["is_selected"])
    n_tokens = _tokens(candidates, "is_selected")
    taken = n_tokens if unit == "tokens" else selected.num_rows
    decisions = candidates["decision"].value_counts().to_pylist()
    filled_strata = candidates.group_by(["domain", "length_stratum"]).aggregate([]).num_rows
    n_domains = pc.count_distinct(candidates["domain"]).as_py()
    return {
        "candidates": candidates.num_rows,
        f"budget_{unit}": budget,
        "left_of_budget": budget - taken,
        "selected_tokens": n_tokens,
        **{
            f"{name}_control_tokens": _tokens(candidates, f"is_{name}_control") for name in CONTROLS
        },
        "decisions": {row["values"]: row["counts"] for row in decisions},
        "chosen_between": _chosen_between(candidates, settings),
        "empty_strata": n_domains * settings.length_strata - filled_strata,
    }
