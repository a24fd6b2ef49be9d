"""The likeliest tokens of each position against the tokens that were emitted there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from checks.checked_partition import MAX_EXAMPLES, CheckedPartition
from checks.expectations import Measurement
from dasd_assets.answering.logprobs import top_breaks
from dasd_assets.divergence_sampling.paired_batches import paired
from dasd_assets.teacher_responses.tops import TOPS
from resources.lake.tables.teacher_responses import IMPORTED

CHECK = "top_logprobs_hold"
SAMPLED = f"(select * from teacher_responses where engine <> '{IMPORTED}')"


def top_logprobs_hold(data: CheckedPartition, k: int) -> Measurement:
    """Answers without k likely tokens for each of theirs, or with some that cannot be.

    Numbers are looked at only where their counts are right. A row group of both tables is held.
    """
    if not data.lake.exists(TOPS, data.partition):
        n_broken, ids = data.broken(f"select response_id from {SAMPLED}")
        return Measurement(CHECK, {data.name(): n_broken}, ids)
    n_broken, ids = data.broken(
        f"""select coalesce(t.response_id, p.response_id) from {SAMPLED} as t
            full join {TOPS} as p using (response_id)
            where t.response_id is null or p.response_id is null or k <> $k
               or len(top_token_ids) <> $k * len(token_ids)
               or len(top_logprobs) <> $k * len(token_ids)""",
        k=k,
    )
    if n_broken:
        return Measurement(CHECK, {data.name(): n_broken}, ids)
    broken = [name for batch in _pairs(data) for name in _broken(*batch, k)]
    return Measurement(CHECK, {data.name(): len(broken)}, tuple(broken[:MAX_EXAMPLES]))


def _pairs(data: CheckedPartition) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    columns = ["response_id", "engine", "token_ids", "logprobs"]
    answers = (
        batch.filter(pc.not_equal(batch["engine"], IMPORTED))
        for batch in data.lake.batches("teacher_responses", data.partition, columns)
    )
    tops = data.lake.batches(TOPS, data.partition)
    return paired(answers, tops, "teacher_responses", TOPS)


def _broken(answers: pa.RecordBatch, tops: pa.RecordBatch, k: int) -> list[str]:
    """Ids of the answers in which one position breaks a rule, with the rule."""
    n_tokens = pc.list_value_length(answers["token_ids"])
    # Of an answer without one logprob per token another check says so.
    is_told = pc.equal(n_tokens, pc.list_value_length(answers["logprobs"]))
    answers, tops, n_tokens = (each.filter(is_told) for each in (answers, tops, n_tokens))
    found = top_breaks(
        answers["token_ids"].flatten().to_numpy(),
        answers["logprobs"].flatten().to_numpy(zero_copy_only=False),
        tops["top_token_ids"].flatten().to_numpy().reshape(-1, k),
        tops["top_logprobs"].flatten().to_numpy().reshape(-1, k),
    )
    ends = np.cumsum(n_tokens.to_numpy())
    first: dict[int, str] = {}
    for rule, positions in found.items():
        for row in np.searchsorted(ends, positions, side="right").tolist():
            first.setdefault(row, rule)
    return [f"{answers['response_id'][row].as_py()}: {first[row]}" for row in sorted(first)]
