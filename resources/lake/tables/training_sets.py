"""Tables of the packed training sets: a row for each sample, with its place in the packing.

The tokens lie in `training_sets/…` (`training.training_set`): a step of training reads sequences,
and a person asks which of them a sample is in.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from resources.lake.table import Lineage, Table, made, schema

TRAINING_SET = schema(
    ("sample_id", pa.string(), "the sample's id in the table that it comes from"),
    ("sequence", pa.int32(), "packed sequence that it is in, from 0 on"),
    ("place", pa.int32(), "its place in the sequence, from 0 on"),
    ("n_tokens", pa.int32(), "tokens of prompt, response and end token"),
    ("n_prompt_tokens", pa.int32(), "tokens of the prompt"),
    ("n_masked_tokens", pa.int32(), "leading tokens without loss: the prompt, a masked prefix"),
    ("weight", pa.float32(), "what the sample counts in the training loss"),
)


def _lineage(sample: str, sample_id: str, *prefix: str) -> Lineage:
    texts = [f"{sample}.{column}" for column in ("question", "earlier_messages", "response_text")]
    return {
        **made("sample_id", f"{sample}.{sample_id}"),
        **made("n_prompt_tokens", *texts[:2]),
        **made("sequence place n_tokens", *texts),
        **made("n_masked_tokens", *texts[:2], *prefix),
        **made("weight", f"{sample}.weight"),
    }


def _table(lineage: Lineage, *dimensions: str) -> Table:
    return Table(
        TRAINING_SET, dimensions=dimensions, ids=("sample_id",), token_column="n_tokens",
        lineage=lineage,
    )  # fmt: skip


TABLES: Final[dict[str, Table]] = {
    "low_temperature_training_set": _table(_lineage("divergence_sample", "response_id")),
    "high_temperature_training_set": _table(_lineage("divergence_sample", "response_id")),
    "student_training_set": _table(_lineage("divergence_sample", "response_id"), "student"),
    "mixed_policy_training_set": _table(
        _lineage("mixed_policy_sample", "sample_id", "mixed_policy_sample.student_prefix_bytes")
    ),
}
