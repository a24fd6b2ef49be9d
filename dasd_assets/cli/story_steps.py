"""Where a sample lies in a packed training set, and which steps of training saw it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from formats.checkpoint_folder import STEPS
from resources.lake.bucket_folder import content_of, written_at

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TRAINING_SETS: Final = {
    "low_temperature": "low_temperature_training_set",
    "high_temperature": "high_temperature_training_set",
    "dasd": "mixed_policy_training_set",
}
"""Checkpoint -> the table of its training set."""


def training_place(
    warehouse: DuckDBPyConnection, lake: Path, checkpoint: str, sample_id: str
) -> dict[str, Any]:
    """The packed sequence of a sample, its place in it, and the steps that saw it.

    Returns:
        `sequence` and `place`, None where there is no such set or the sample is not in it; `steps`,
        pairs of epoch and step, empty where the checkpoint was not trained on this set.
    """
    found = warehouse.sql(
        f"SELECT sequence, place FROM {TRAINING_SETS[checkpoint]} WHERE sample_id = $id",
        params={"id": sample_id},
    ).fetchall()
    if not found:
        return {"sequence": None, "place": None, "steps": []}
    sequence, place = found[0]
    return {
        "sequence": sequence,
        "place": place,
        "steps": _steps(warehouse, lake, checkpoint, sequence),
    }


def _steps(
    warehouse: DuckDBPyConnection, lake: Path, checkpoint: str, sequence: int
) -> list[tuple[int, int]]:
    trained, packed = (
        _current(lake, f"{kind}/{checkpoint}") for kind in ("checkpoints", "training_sets")
    )
    steps = f"checkpoints/{checkpoint}/{trained}/{STEPS}"
    settings = f"checkpoints/{checkpoint}/{trained}/sft.json"
    if trained is None or written_at(lake, steps) is None:
        return []
    if Path(json.loads(content_of(lake, settings))["training_set"]).name != packed:
        return []
    import pyarrow.parquet as pq

    drawn = pq.read_table(io.BytesIO(content_of(lake, steps)))
    query = warehouse.from_arrow(drawn).filter(f"sequence = {sequence}")
    return list(query.project("epoch, step").order("epoch").fetchall())


def _current(lake: Path, name: str) -> str | None:
    pointer = f"{name}/current.json"
    if written_at(lake, pointer) is None:
        return None
    return str(json.loads(content_of(lake, pointer))["key"])
