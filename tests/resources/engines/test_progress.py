"""How long a call will go on: said when it can be known, from tokens and not from answers alone."""

from __future__ import annotations

import pytest

from resources.engines.protocol import Progress


@pytest.mark.parametrize(
    ("progress", "left"),
    [
        # One short answer of 512 after 13 s is no reason to say 6643 s.
        (Progress(1, 512, 100, 13.0), None),
        (Progress(0, 512, 4_000, 13.0, under_way=4_000), None),
        (Progress(26, 512, 2_600, 13.0), 243.0),
        # All others are half written: that counts. 30 are finished, 200 tokens each.
        (Progress(30, 512, 54_200, 54.2, under_way=48_200), 48.2),
        (Progress(30, 512, 154_200, 54.2, under_way=148_200), None),  # longer than what is known
        # What an earlier run had finished says nothing of this one's rate.
        (Progress(410, 512, 1_000, 10.0, done_before=400), 102.0),
        (Progress(401, 512, 1_000, 10.0, done_before=400), None),
        (Progress(6, 8, 600, 6.0), 2.0),
        (Progress(6, 8, 0, 6.0), None),
    ],
)
def test_time_left(progress: Progress, left: float | None) -> None:
    assert progress.seconds_left == (left if left is None else pytest.approx(left))
