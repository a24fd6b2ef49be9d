"""A journal that was damaged anywhere: every record that is whole is found, and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.stub_engine import answer

from resources.engines.journal import Journal, damaged_file
from resources.engines.journal_records import HEADER, JournalError, encode
from resources.engines.protocol import GenerationRequest, Prompt

FUZZ = settings(deadline=None, max_examples=200, derandomize=True, database=None)

ANSWERS = [
    answer(GenerationRequest(Prompt((1,)), 1.0, 1.0, 8, seed, top_logprobs=seed % 3), 4)
    for seed in range(12)
]
RECORDS = [encode(one) for one in ANSWERS]
WHOLE = HEADER + b"".join(RECORDS)

Damage = tuple[str, int, int]
DAMAGES: dict[str, Callable[[bytes, int, int], bytes]] = {
    "flip": lambda c, at, n: c[:at] + bytes([c[at] ^ 1 << n % 8]) + c[at + 1 :],
    "take out": lambda c, at, n: c[:at] + c[at + n :],
    "zeros": lambda c, at, n: c[:at] + bytes(len(c[at : at + n])) + c[at + n :],
    "put in": lambda c, at, n: c[:at] + bytes(range(n % 256)) + c[at:],
    "twice": lambda c, at, n: c[: at + n] + c[at:],
    "cut": lambda c, at, n: c[:at],
}


@FUZZ
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(DAMAGES)), st.integers(0, len(WHOLE)), st.integers(0, 90)),
        max_size=5,
    )
)
@example([("flip", len(WHOLE) // 50, 3)])
@example([("flip", len(HEADER), 7)])
@example([("flip", 0, 0), ("cut", len(HEADER) + 5, 0)])
@example([("cut", 0, 0)])
@example([("cut", len(HEADER) - 1, 0)])
@example([("take out", len(HEADER), 9), ("zeros", 400, 80)])
@example([("twice", len(HEADER), 300)])
def test_fuzz_damaged_journals(damages: list[Damage]) -> None:
    content = WHOLE
    for kind, at, n in damages:
        if at < len(content):
            content = DAMAGES[kind](content, at, n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        path.write_bytes(content)
        # The first record begins behind the header's bytes, whatever became of them.
        expected = {
            one.key for one, record in zip(ANSWERS, RECORDS, strict=True)
            if record in content[len(HEADER) :]
        }  # fmt: skip
        try:
            with Journal(path) as journal:
                kept = [key.hex() for key in journal.finished.offsets]
                found = list(journal.finished.read(kept))
        except JournalError as error:
            assert "not a request journal" in str(error)
            assert not expected and path.read_bytes() == content
            return
        assert set(kept) == expected
        by_key = {one.key: one for one in ANSWERS}
        for one in found:
            np.testing.assert_array_equal(one.token_ids, by_key[one.key].token_ids)
            np.testing.assert_array_equal(one.logprobs, by_key[one.key].logprobs)
        aside = damaged_file(path).read_bytes() if damaged_file(path).exists() else b""
        if len(content) >= len(HEADER):
            assert path.read_bytes() + aside == content, "nothing is cut from the disk"
