"""For which shard a question was rejected, as its evidence says it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def rejected_for(shard: str, rows: pa.Table) -> pa.ChunkedArray:
    """Of each row, whether it was rejected because another shard has the question, or a like one.

    Args:
        shard: the other one.
        rows: reason and evidence, of `rejected_questions`.
    """
    same = pc.and_(
        pc.equal(rows["reason"], "duplicate_of_shard"), pc.equal(rows["evidence"], shard)
    )
    like = pc.and_(
        pc.equal(rows["reason"], "near_duplicate_of_shard"),
        pc.match_substring(rows["evidence"], f" {shard} (Jaccard "),
    )
    return pc.or_(same, like)
