"""Byte offsets of tokens, for any text."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openai_harmony import HarmonyEncodingName, load_harmony_encoding
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dasd_assets.profile import PROJECT_ROOT
from formats.token_bytes import BYTE_OF_CHARACTER, WHITE_SPACE, TokenBytes, TokenizerError

pytestmark = pytest.mark.slow

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)), st.sampled_from(" \n\t数学思考ö🙂²—2+3?Whatsum")
    ),
    max_size=60,
)


O200K_CUTS = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
FIRST_SPECIAL, PAST_SPECIAL = 199_998, 200_019


@cache
def harmony_encoding() -> Any:
    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)._inner


@cache
def o200k() -> PreTrainedTokenizerFast:
    """The vocabulary inside the Harmony library, as a Hugging Face tokenizer (as in gpt-oss)."""
    harmony = harmony_encoding()
    pieces = [harmony.decode_bytes([i]) for i in range(PAST_SPECIAL)]
    rank = {piece: i for i, piece in enumerate(pieces[:FIRST_SPECIAL])}
    character = {byte: char for char, byte in BYTE_OF_CHARACTER.items()}
    shown = ["".join(map(character.__getitem__, piece)) for piece in pieces[:FIRST_SPECIAL]]
    merges = []
    for piece in rank:
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        known = [(rank[a], rank[b]) for a, b in splits if a in rank and b in rank]
        merges += [(shown[a], shown[b]) for a, b in sorted(known)]
    vocabulary = {token: i for i, token in enumerate(shown)}
    backend = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(O200K_CUTS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [AddedToken(piece.decode(), special=True) for piece in pieces[FIRST_SPECIAL:]]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@cache
def tiny(name: str) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(PROJECT_ROOT / "tiny_world" / "models" / name)


@cache
def table_of(name: str) -> tuple[PreTrainedTokenizerFast, TokenBytes]:
    tokenizer = o200k() if name == "o200k" else tiny(name)
    return tokenizer, TokenBytes(tokenizer)


@pytest.mark.parametrize("name", ["teacher", "student", "o200k"])
@settings(max_examples=150, deadline=None)
@given(text=TEXTS, spaces=st.text(" \n\t\r", max_size=40))
def test_every_token_lies_where_its_bytes_are(name: str, text: str, spaces: str) -> None:
    tokenizer, table = table_of(name)
    text = f"{text}{spaces}{text}"
    ids, whole = encode(tokenizer, text), text.encode()
    assert table.decode(ids) == whole
    starts = table.token_starts(ids)
    for start, token_id in zip(starts.tolist(), ids.tolist(), strict=True):
        piece = table.decode(np.array([token_id]))
        assert whole[start : start + len(piece)] == piece
    assert starts[0] == 0 if len(ids) else not text
    assert (np.diff([*starts, len(whole)]) == table.n_bytes[ids]).all()


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_the_large_vocabulary_is_the_real_one(text: str) -> None:
    """Our conversion cuts as the Harmony library does, so the table is tried on real tokens."""
    harmony = harmony_encoding()
    tokenizer, table = table_of("o200k")
    # Hypothesis finds the markers in the source: our tokenizer takes them for special tokens.
    assume(not any(marker in text for marker in tokenizer.get_added_vocab()))
    ids = harmony.encode(text, [])
    assert encode(tokenizer, text).tolist() == list(ids)
    assert table.decode(np.array(ids, np.int32)) == text.encode()


def test_the_large_vocabulary_byte_by_byte() -> None:
    harmony = harmony_encoding()
    _, table = table_of("o200k")
    assert table.size == PAST_SPECIAL
    pieces = [harmony.decode_bytes([i]) for i in range(FIRST_SPECIAL)]
    assert table.n_bytes[:FIRST_SPECIAL].tolist() == list(map(len, pieces))
    assert table.decode(np.arange(FIRST_SPECIAL, dtype=np.int32)) == b"".join(pieces)
    assert table.is_special[FIRST_SPECIAL:].all()
    assert not table.n_bytes[FIRST_SPECIAL:].any()
    assert table.is_special.sum() == PAST_SPECIAL - FIRST_SPECIAL
    # Characters in several tokens, and white space in one.
    ids = np.array(harmony.encode("𝔸 \u200d👩\n\n        x", []), np.int32)
    assert table.decode(ids) == "𝔸 \u200d👩\n\n        x".encode()
    assert len(ids) < len("𝔸 \u200d👩\n\n        x".encode())


def normalising(tokenizer: PreTrainedTokenizerFast, normaliser: object) -> PreTrainedTokenizerFast:
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.normalizer = normaliser
    return PreTrainedTokenizerFast(tokenizer_object=backend)


MARKS = st.text(
    st.sampled_from("aeoqKΩ\u2126\u212b\u0301\u0307\u0323\u0327 \u1112\u1161\u11ab가ⅷ.\n"),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(MARKS, TEXTS))
def test_a_normalised_text_leads_back_to_the_original(text: str) -> None:
    nfc = normalising(tiny("student"), normalizers.NFC())
    table = TokenBytes(nfc)
    normal = table.normalised(text)
    assert table.decode(encode(nfc, text)) == normal.text.encode()
    starts, whole = normal.original_starts, text.encode()
    assert len(starts) == len(normal.text.encode())
    assert (np.diff(starts) >= 0).all()
    # Every byte comes from the start of a character, or from the very same byte.
    for byte, start in zip(normal.text.encode(), starts.tolist(), strict=True):
        assert whole[start] == byte or whole[start] & 0xC0 != 0x80
    plain = [c for c in normal.text if c.isascii()]
    assert len(plain) <= len(text)


def test_what_nfc_rewrites_lies_at_its_character() -> None:
    table = TokenBytes(normalising(tiny("student"), normalizers.NFC()))
    normal = table.normalised("a\u2126b e\u0301x")  # OHM SIGN becomes OMEGA, e + acute one letter
    assert normal.text == "aΩb éx"
    assert normal.original_starts.tolist() == [0, 1, 1, 4, 5, 6, 6, 9]
    same = TokenBytes(tiny("student")).normalised("aΩ")
    assert (same.text, same.original_starts.tolist()) == ("aΩ", [0, 1, 2])


def test_a_text_rewritten_as_a_whole_is_refused() -> None:
    table = TokenBytes(normalising(tiny("student"), normalizers.Prepend("x")))
    with pytest.raises(TokenizerError, match="rewrites the text as a whole"):
        table.normalised("abc" * 20)


def test_tokens_that_are_no_bytes_are_refused() -> None:
    wordpiece = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "##re": 2}, unk_token="[UNK]"))
    wordpiece.decoder = decoders.WordPiece()
    with pytest.raises(TokenizerError, match=r"neither bytes .* found WordPiece"):
        TokenBytes(PreTrainedTokenizerFast(tokenizer_object=wordpiece))
    mixed = {character: i for i, character in enumerate([*BYTE_OF_CHARACTER, "▁the"])}
    backend = Tokenizer(models.BPE(mixed, []))
    backend.decoder = decoders.ByteLevel()
    table = TokenBytes(PreTrainedTokenizerFast(tokenizer_object=backend))
    with pytest.raises(TokenizerError, match="stands for no byte"):
        table.decode(np.array([0], np.int32))


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
