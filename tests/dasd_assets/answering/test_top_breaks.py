"""Likely tokens that cannot be: each rule broken at one position, and named."""

from __future__ import annotations

import numpy as np
import pytest

from dasd_assets.answering.logprobs import top_breaks

IDS, OWN = [1, 2, 3], [-0.25, -4.0, np.nan]
TOP_IDS, TOP = [[1, 7], [7, 8], [-1, -1]], [[-0.25, -2.0], [-0.5, -3.0], [np.nan, np.nan]]

CASES = {
    "all in order": ({}, {}),
    "not finite": ({(1, 1): np.nan}, {}),
    "above 0": ({(1, 0): 0.5, (1, 1): -9.0}, {}),
    "not the likeliest first": ({(1, 0): -3.5}, {}),
    "more than 1 in all": ({(1, 1): -0.6}, {}),
    "not the emitted token's logprob": ({(0, 0): -0.3}, {}),
    "less likely than the emitted token, which is not among them": ({(1, 1): -5.0}, {}),
    "a token that is not known": ({(1, 1): -5.0}, {(1, 1): -1}),
    "rounded to half precision": ({(0, 0): float(np.float16(-0.2501))}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_rule(case: str) -> None:
    values, ids = CASES[case]
    top, top_ids = np.array(TOP, np.float32), np.array(TOP_IDS, np.int32)
    for place, value in values.items():
        top[place] = value
    for place, index in ids.items():
        top_ids[place] = index
    found = top_breaks(np.array(IDS, np.int32), np.array(OWN, np.float32), top_ids, top)
    broken = {rule: places.tolist() for rule, places in found.items() if len(places)}
    if case not in found:
        assert broken == {}
    else:
        (place, *_) = values
        assert broken[case] == [place[0]]
