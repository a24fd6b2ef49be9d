"""Runs: what is looked up is found, wherever segments end, and damage is found too."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dasd_assets.questions.curation.index import sorted_runs
from dasd_assets.questions.curation.index.sorted_runs import (
    DamagedIndexError,
    Entries,
    Run,
    in_order,
    merged,
    write_run,
)

Pairs = list[tuple[int, int]]
KEYS = st.one_of(st.integers(0, 12), st.integers(2**64 - 3, 2**64 - 1))
PAIRS = st.lists(st.tuples(KEYS, st.integers(0, 2**64 - 1)), max_size=40)


def entries(pairs: Pairs) -> Entries:
    numbers = np.array(pairs, np.uint64).reshape(-1, 2)
    return in_order(Entries(numbers[:, 0], numbers[:, 1]))


def pairs_of(parts: list[Entries]) -> Pairs:
    return [
        pair
        for part in parts
        for pair in zip(part.keys.tolist(), part.values.tolist(), strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(several=st.lists(PAIRS, min_size=1, max_size=4), wanted=st.sets(KEYS), drops=st.booleans())
def test_what_is_looked_up_is_found_also_in_runs_that_were_merged(
    several: list[Pairs], wanted: set[int], drops: bool
) -> None:
    with (
        mock.patch.object(sorted_runs, "SEGMENT_ENTRIES", 4),
        tempfile.TemporaryDirectory() as folder,
    ):
        runs = []
        for number, pairs in enumerate(several):
            file = Path(folder, str(number))
            runs.append(Run(file, write_run(file, [entries(pairs)])))
        everything = [pair for pairs in several for pair in pairs]
        if drops:
            everything = [pair for pair in everything if pair[1] % 2 == 0]
        parts = merged(runs, lambda values: (values % 2 == 0) | (not drops))
        file = Path(folder, "merged")
        with Run(file, write_run(file, parts)) as run:
            stored = pairs_of(list(run.segments()))
            assert [key for key, _ in stored] == sorted(key for key, _ in everything)
            assert sorted(stored) == sorted(everything)
            keys = np.array(sorted(wanted), np.uint64)
            found = [
                (int(keys[index]), value)
                for indices, values in run.look_up(keys)
                for index, value in zip(indices, values.tolist(), strict=True)
            ]
        assert sorted(found) == sorted(pair for pair in everything if pair[0] in wanted)
        for each in runs:
            each.close()


@pytest.mark.parametrize("at", [0, 100, -1, "shorter", "longer", "gone"])
def test_a_run_that_is_not_what_was_written_is_not_looked_up(tmp_path: Path, at: int | str) -> None:
    file = tmp_path / "a.run"
    record = write_run(file, [entries([(key, key) for key in range(50)])])
    content = bytearray(file.read_bytes())
    if isinstance(at, int):
        content[at] ^= 1
        file.write_bytes(content)
    elif at == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if at == "shorter" else content + b"0")
    with pytest.raises(DamagedIndexError, match=r"a\.run is"), Run(file, record) as run:
        list(run.look_up(np.array([3], np.uint64)))
