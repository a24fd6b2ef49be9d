"""From tokens to bytes of the text they stand for: byte-level BPE, and SentencePiece's ways.

Sentences are spans of a text; tokens of two tokenizers are mapped to them by byte offsets, never by
the length of decoded pieces, which drifts at multi-byte characters and merged white space.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

WHITE_SPACE = frozenset(b" \t\n\r\x0b\x0c")
MAX_REWRITTEN = 32
"""Characters that a normaliser may rewrite as one: a letter and all the marks on it."""


SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""What stands for a space in a SentencePiece vocabulary."""

_ONE_BYTE = re.compile("<0x([0-9A-F]{2})>")


def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: the printable character that stands for each byte in a vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}


BYTE_OF_CHARACTER = _byte_of_character()


class TokenizerError(ValueError):
    """A tokenizer, or a text under it, whose tokens cannot be traced to bytes of the text."""


@dataclass(frozen=True)
class NormalisedText:
    """A text as a tokenizer rewrites it before it cuts it into tokens."""

    text: str
    original_starts: npt.NDArray[np.int64]
    """For each byte of `text`, the byte of the original text that it comes from."""


class TokenBytes:
    """The bytes of every token, as lookup tables."""

    def __init__(self, tokenizer: Any) -> None:
        """Read the vocabulary of a Hugging Face fast tokenizer.

        Raises:
            TokenizerError: its tokens are not sequences of bytes (WordPiece), or it is not fast.
        """
        self._tokenizer = tokenizer
        self._vocabulary: dict[str, int] = dict(tokenizer.get_vocab())
        self._reads = _reader_of(tokenizer)

    @cached_property
    def size(self) -> int:
        """Token ids that the tokenizer knows; a model's embedding is often padded beyond them."""
        return max(self._vocabulary.values()) + 1

    @cached_property
    def pieces(self) -> list[bytes]:
        """What each token spells, special tokens their own text."""
        added = self._tokenizer.added_tokens_decoder
        pieces = [b""] * self.size
        for token, index in self._vocabulary.items():
            if index in added:
                pieces[index] = added[index].content.encode()
            elif token != self._tokenizer.unk_token:
                pieces[index] = self._reads(token)
        return pieces

    @cached_property
    def n_bytes(self) -> npt.NDArray[np.int32]:
        """Bytes of each token id; special tokens have none."""
        return np.where(self.is_special, 0, self.n_written_bytes).astype(np.int32)

    @cached_property
    def n_written_bytes(self) -> npt.NDArray[np.int32]:
        """Bytes of each token id; special tokens have those of their own text."""
        return np.array([len(piece) for piece in self.pieces], np.int32)

    @cached_property
    def first_nonspace(self) -> npt.NDArray[np.int32]:
        """Offset of the first byte that is no white space in each token; 0 if there is none."""
        return (
            np.array(
                [
                    next((i for i, byte in enumerate(piece) if byte not in WHITE_SPACE), 0)
                    for piece in self.pieces
                ],
                np.int32,
            )
            * ~self.is_special
        )

    @cached_property
    def is_special(self) -> npt.NDArray[np.bool_]:
        """Whether each token id is a special token."""
        special = np.zeros(self.size, np.bool_)
        for index, token in self._tokenizer.added_tokens_decoder.items():
            special[index] = token.special
        return special

    def id_of(self, token: str) -> int | None:
        """Id of a token by its text; None if the vocabulary has no such token."""
        return self._vocabulary.get(token)

    def decode(self, token_ids: npt.NDArray[np.int32]) -> bytes:
        """The bytes that the tokens stand for; special tokens stand for none."""
        return self._spelled(token_ids, self.n_bytes)

    def written(self, token_ids: npt.NDArray[np.int32]) -> bytes:
        """The bytes that the tokens stand for; special tokens stand for their own text."""
        return self._spelled(token_ids, self.n_written_bytes)

    @cached_property
    def _all_pieces(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """What all tokens spell, one behind the other, and where each begins in it."""
        ends = np.cumsum(self.n_written_bytes, dtype=np.int64)
        return np.frombuffer(b"".join(self.pieces), np.uint8), ends - self.n_written_bytes

    def _spelled(self, token_ids: npt.NDArray[np.int32], n_bytes: npt.NDArray[np.int32]) -> bytes:
        pieces, begins = self._all_pieces
        sizes = n_bytes[token_ids]
        ends = np.cumsum(sizes, dtype=np.int64)
        # Of each byte the place among all pieces: its token's, and how far it is inside.
        shift = np.repeat(begins[token_ids] - (ends - sizes), sizes)
        return pieces[shift + np.arange(len(shift))].tobytes()

    def token_starts(self, token_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Byte at which each token starts in the text that the tokens spell."""
        ends = np.cumsum(self.n_bytes[token_ids], dtype=np.int64)
        return ends - self.n_bytes[token_ids]

    def written_starts(self, token_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Byte at which each token starts in `written`."""
        ends = np.cumsum(self.n_written_bytes[token_ids], dtype=np.int64)
        return ends - self.n_written_bytes[token_ids]

    def normalised(self, text: str) -> NormalisedText:
        """The text that the tokens of `text` spell, and the way back (Qwen: Unicode NFC).

        Raises:
            TokenizerError: the tokenizer rewrites more than a few characters at a time, so that
                its bytes cannot be traced back.
        """
        normaliser = self._tokenizer.backend_tokenizer.normalizer
        if normaliser is None:
            return NormalisedText(text, np.arange(len(text.encode()), dtype=np.int64))
        before_text = normaliser.normalize_str("a")[:-1]
        n_prepended = len(before_text) if before_text.strip(SPACE) == "" else 0

        def rewritten(part: str) -> str:
            whole = str(normaliser.normalize_str(part))[n_prepended if part else 0 :]
            return whole.replace(SPACE, " ") if self._reads is _text_bytes else whole

        whole = rewritten(text)
        if whole == text:
            return NormalisedText(text, np.arange(len(text.encode()), dtype=np.int64))
        return _traced(text, whole, rewritten)


def _reader_of(tokenizer: Any) -> Callable[[str], bytes]:
    """How a tokenizer's vocabulary writes bytes.

    Raises:
        TokenizerError: in no way that is known.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TokenizerError(
            f"{tokenizer.name_or_path}: not a fast tokenizer (tokenizer.json): its tokens cannot "
            "be placed in a text"
        )
    components = (backend.pre_tokenizer, backend.decoder)
    parts = {
        part["type"]
        for component in components
        if component is not None
        for part in _flat(json.loads(component.__getstate__()))
    }
    if "ByteLevel" in parts:
        return _byte_level_bytes
    if parts & {"ByteFallback", "Metaspace", "Replace"}:
        return _text_bytes
    raise TokenizerError(
        f"{tokenizer.name_or_path}: its tokens are neither bytes (byte-level BPE) nor text with "
        f"{SPACE!r} for a space (SentencePiece), so they cannot be placed in a text; found "
        f"{', '.join(sorted(parts)) or 'no pre-tokenizer and no decoder'}. WordPiece tokenizers "
        "cannot be used"
    )


def _flat(component: Any) -> list[dict[str, Any]]:
    """A component of a tokenizer with all that it consists of."""
    if not component:
        return []
    inner = component.get("pretokenizers") or component.get("decoders") or []
    return [component, *(part for each in inner for part in _flat(each))]


def _byte_level_bytes(token: str) -> bytes:
    """The bytes of a token of byte-level BPE, each written as one printable character.

    Raises:
        TokenizerError: a character stands for no byte.
    """
    foreign = next((character for character in token if character not in BYTE_OF_CHARACTER), None)
    if foreign:
        raise TokenizerError(
            f"not a byte-level BPE tokenizer: token {token!r} has {foreign!r}, which stands for "
            "no byte"
        )
    return bytes(BYTE_OF_CHARACTER[character] for character in token)


def _text_bytes(token: str) -> bytes:
    """The bytes of a SentencePiece token: text, or one byte that is no text by itself."""
    found = _ONE_BYTE.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else token.replace(SPACE, " ").encode()


def _traced(text: str, whole: str, normalise: Callable[[str], str]) -> NormalisedText:
    """Rewrite a text piece by piece; what is rewritten lies at its piece's first byte."""
    pieces = [""]
    for character in text:
        last = pieces[-1]
        # Marks join the character they stand on, and so does what composes with it (Hangul).
        joins = unicodedata.combining(character) or (
            normalise(last + character) != normalise(last) + normalise(character)
        )
        if joins:
            pieces[-1] += character
        else:
            pieces.append(character)
    rewritten = [normalise(piece) for piece in pieces]
    is_local = all(
        new == piece or len(piece) <= MAX_REWRITTEN
        for piece, new in zip(pieces, rewritten, strict=True)
    )
    if not is_local or "".join(rewritten) != whole:
        raise TokenizerError("the tokenizer's normaliser rewrites the text as a whole")
    starts, offset = [], 0
    for piece, new in zip(pieces, rewritten, strict=True):
        n_bytes = len(piece.encode())
        inside = np.arange(n_bytes) if new == piece else np.zeros(len(new.encode()), np.int64)
        starts.append(offset + inside)
        offset += n_bytes
    return NormalisedText(whole, np.concatenate(starts).astype(np.int64))
