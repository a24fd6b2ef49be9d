"""From tokens to bytes of the text they stand for, for byte-level BPE tokenizers.

Sentences are spans of a text; tokens of two tokenizers are mapped to them by byte offsets, never by
the length of decoded pieces, which drifts at multi-byte characters and merged white space.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

WHITE_SPACE = frozenset(b" \t\n\r\x0b\x0c")


def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: the printable character that stands for each byte in a vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}


class TokenBytes:
    """The bytes of every token of a byte-level BPE tokenizer, as lookup tables."""

    def __init__(self, tokenizer: Any) -> None:
        """Read the vocabulary of a Hugging Face fast tokenizer."""
        self._tokenizer = tokenizer

    @cached_property
    def size(self) -> int:
        """Token ids that the tokenizer knows; a model's embedding is often padded beyond them."""
        return len(self._tokenizer)

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return dict(self._tokenizer.get_vocab())

    @cached_property
    def _pieces(self) -> list[bytes]:
        table = _byte_of_character()
        added = {
            index: b"" if token.special else token.content.encode()
            for index, token in self._tokenizer.added_tokens_decoder.items()
        }
        pieces = [b""] * self.size
        for token, index in self._vocabulary.items():
            if index in added:
                pieces[index] = added[index]
            else:
                pieces[index] = bytes(table[character] for character in token)
        return pieces

    @cached_property
    def n_bytes(self) -> npt.NDArray[np.int32]:
        """Bytes of each token id; special tokens have none."""
        return np.array([len(piece) for piece in self._pieces], np.int32)

    @cached_property
    def first_nonspace(self) -> npt.NDArray[np.int32]:
        """Offset of the first byte that is no white space in each token; 0 if there is none."""
        return np.array(
            [
                next((i for i, byte in enumerate(piece) if byte not in WHITE_SPACE), 0)
                for piece in self._pieces
            ],
            np.int32,
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
        return b"".join(self._pieces[index] for index in token_ids)

    def token_starts(self, token_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Byte at which each token starts in the text that the tokens spell."""
        ends = np.cumsum(self.n_bytes[token_ids], dtype=np.int64)
        return ends - self.n_bytes[token_ids]
