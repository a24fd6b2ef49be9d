"""The selected candidates, with the text that the student is trained on."""

from __future__ import annotations

import pyarrow as pa

from resources.contracts import DIVERGENCE_SAMPLE, ContractError


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
    joined = selected.join(
        texts.select(["response_id", "question", "response_text"]),
        keys="response_id",
        join_type="inner",
    )
    if joined.num_rows != selected.num_rows:
        missing = set(selected["response_id"].to_pylist()) - set(joined["response_id"].to_pylist())
        raise ContractError(
            f"divergence_sample: {len(missing)} selected response(s) are not in "
            f"filtered_responses, for example {sorted(missing)[0]}"
        )
    ordered = joined.sort_by([("domain", "ascending"), ("rank", "ascending")])
    return ordered.select(DIVERGENCE_SAMPLE.names).cast(DIVERGENCE_SAMPLE)
