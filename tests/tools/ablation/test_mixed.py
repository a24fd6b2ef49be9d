"""The control of mixed-policy distillation: as many tokens, all of them off-policy."""

from __future__ import annotations

import pyarrow as pa
from support.small_lake import filled

from dasd_assets.mixed_policy_distillation.mixed_sample import off_policy_choice, off_policy_rows
from resources.lake.tables.mixed_policy_distillation import MIXED_POLICY_SAMPLE
from tools.ablation.mixed import as_many_tokens


def mixed_with(kept: pa.Table, off_policy: pa.Table, n: int, seed: int) -> pa.Table:
    chosen = off_policy_choice(off_policy, kept["question_id"], n, seed)
    added = off_policy_rows(off_policy.to_batches(), chosen)
    return pa.concat_tables([kept, pa.Table.from_batches(added, MIXED_POLICY_SAMPLE)])


def test_as_many_tokens_as_the_mixed_sample() -> None:
    off_policy = filled(
        "divergence_sample",
        *(
            {"response_id": f"r{i}", "question_id": f"q{i}", "n_student_tokens": 40 + i}
            for i in range(60)
        ),
    )
    kept = filled(
        "mixed_policy_sample",
        *({"sample_id": f"c{i}", "policy": "mixed_policy", "question_id": f"other{i}",
           "n_student_tokens": 100} for i in range(10)),
    )  # fmt: skip
    mixed = mixed_with(kept, off_policy, 5, seed=7)
    control = as_many_tokens(mixed, off_policy, seed=7)
    tokens = sum(mixed["n_student_tokens"].to_pylist())
    assert tokens - 100 < sum(control["n_student_tokens"].to_pylist()) <= tokens
    assert set(control["policy"].to_pylist()) == {"off_policy"}
    # What the mixed sample has of them is in the control, too: both draw in the same order.
    shared = set(mixed["sample_id"].to_pylist()) - set(kept["sample_id"].to_pylist())
    assert shared and shared <= set(control["sample_id"].to_pylist())
    assert control.schema.equals(mixed.schema)


def test_with_too_few_tokens_all_are_taken() -> None:
    off_policy = filled("divergence_sample", {"response_id": "r", "n_student_tokens": 10})
    kept = filled("mixed_policy_sample", {"sample_id": "c", "n_student_tokens": 1_000})
    assert as_many_tokens(mixed_with(kept, off_policy, 1, 0), off_policy, 0).num_rows == 1
