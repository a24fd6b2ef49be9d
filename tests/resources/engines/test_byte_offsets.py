"""Byte offsets of tokens, for any text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from resources.engines.byte_offsets import WHITE_SPACE, TokenBytes

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)), st.sampled_from(" \n\t数学思考ö🙂²—2+3?Whatsum")
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def table(tokenizer: PreTrainedTokenizerFast) -> TokenBytes:
    return TokenBytes(tokenizer)


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> np.ndarray:
    return np.array(tokenizer.encode(text, add_special_tokens=False), np.int32)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_tokens_spell_the_bytes_of_the_text(
    table: TokenBytes, tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    ids = encode(tokenizer, text)
    assert table.decode(ids) == text.encode()
    assert table.n_bytes[ids].sum() == len(text.encode())


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_starts_agree_with_the_tokenizers_own_character_offsets(
    table: TokenBytes, tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    backend = tokenizer.backend_tokenizer
    encoding = backend.encode(text, add_special_tokens=False)
    starts = table.token_starts(np.array(encoding.ids, np.int32))
    whole = text.encode()
    for start, token_id in zip(starts, encoding.ids, strict=True):
        piece = table.decode(np.array([token_id]))
        assert whole[start : start + table.n_bytes[token_id]] == piece
        lead = table.first_nonspace[token_id]
        assert not set(piece[:lead]) - WHITE_SPACE
        assert not piece.strip(bytes(WHITE_SPACE)) or piece[lead] not in WHITE_SPACE
    boundaries = {len(text[:i].encode()): i for i in range(len(text))}
    for start, (first, _) in zip(starts.tolist(), encoding.offsets, strict=True):
        if start in boundaries and not text[first].isspace():
            # The tokenizer's offsets leave out white space that a token starts with.
            assert not text[boundaries[start] : first].strip()


def test_special_tokens_are_no_text_and_added_ones_are(
    table: TokenBytes, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = encode(tokenizer, "<|im_start|><think>数</think> 5<|im_end|>")
    assert table.decode(ids) == "<think>数</think> 5".encode()
    special, think = table.id_of("<|im_start|>"), table.id_of("<think>")
    assert ids[:2].tolist() == [special, think]
    assert table.n_bytes[[special, think]].tolist() == [0, len("<think>")]
    assert table.is_special[[special, think]].tolist() == [True, False]
    assert table.token_starts(ids)[:3].tolist() == [0, 0, 7]
    assert table.id_of("<absent>") is None


def test_no_tokens(table: TokenBytes) -> None:
    none = np.array([], np.int32)
    assert table.decode(none) == b""
    assert table.token_starts(none).tolist() == []


def test_every_single_byte_has_its_token(
    table: TokenBytes, tokenizer: PreTrainedTokenizerFast
) -> None:
    pieces = {table.decode(np.array([i])) for i in range(len(tokenizer))}
    assert {bytes([byte]) for byte in range(256)} <= pieces
