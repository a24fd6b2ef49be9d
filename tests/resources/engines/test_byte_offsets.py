"""Tokens and bytes: what the tokens spell is the text, whatever the characters."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.byte_offsets import TokenBytes


@cache
def tokenizer(name: str) -> tuple[Any, TokenBytes]:
    loaded = AutoTokenizer.from_pretrained(PROJECT_ROOT / "tiny_world" / "models" / name)
    return loaded, TokenBytes(loaded)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize("name", ["teacher", "student"])
@settings(deadline=None, max_examples=150)
@given(text=TEXT)
def test_tokens_spell_the_text(name: str, text: str) -> None:
    loaded, token_bytes = tokenizer(name)
    ids = np.asarray(loaded.encode(text, add_special_tokens=False), np.int32)
    encoded = text.encode()
    if not token_bytes.is_special[ids].any():
        assert token_bytes.decode(ids) == encoded
    starts = token_bytes.token_starts(ids)
    for token, start in zip(ids, starts, strict=True):
        piece = token_bytes.decode(np.array([token]))
        assert encoded[start : start + len(piece)] == piece or token_bytes.is_special[ids].any()
        first = int(token_bytes.first_nonspace[token])
        assert not piece[:first].strip()
        assert not piece.strip() or piece[first : first + 1].strip()


def test_special_tokens_have_no_bytes_and_think_marks_have_theirs() -> None:
    loaded, token_bytes = tokenizer("student")
    ids = np.asarray(loaded.encode("<think>\na</think><|im_end|>", add_special_tokens=False))
    assert token_bytes.decode(ids) == b"<think>\na</think>"
    assert token_bytes.n_bytes[ids[-1]] == 0
    assert token_bytes.id_of("<|im_end|>") == ids[-1]
    assert token_bytes.id_of("<|nothing|>") is None
