"""Text that follows something, as tokens; and whether a tokenizer gives text back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from formats.token_bytes import TokenBytes, TokenizerError

ANCHOR = "\x1d"
"""Stands before a text while it is encoded, where a tokenizer would put a space before it: a
character that no vocabulary joins with another."""

ROUND_TRIP = (
    "Two  spaces,\ttab\n\n    x\u00b2 = 7 * 6 != 43; \u00e9\u00f1\u00df \u65e5\u672c\u8a9e "
    "\u0421\u043b\u043e\u0432\u043e \u2200x \u2208 \u211d: `f(a_b)` {\\frac{1}{2}} "
    "<b>don't</b> 3,5 \u2014 \U0001f642.\n"
)
"""What a tokenizer has to give back: white space, marks, symbols, scripts of two to four bytes."""


@lru_cache(maxsize=16)
def token_bytes_of(tokenizer: Any) -> TokenBytes:
    """The byte tables of a tokenizer, made once.

    Raises:
        TokenizerError: its tokens are not sequences of bytes.
    """
    return TokenBytes(tokenizer)


def encode_all(
    tokenizer: Any, texts: Sequence[str], split_special_tokens: bool = False
) -> list[list[int]]:
    """Tokens of many texts at once (a fast tokenizer uses all its threads), no special ones added.

    One token more or less than `tokenizer.encode` gives would be an error in all training rows;
    a test holds that both are equal.

    Args:
        split_special_tokens: what spells a special token is encoded as plain text.
    """
    # Not by the tokenizer's own call: it finds the place of each token too, which nobody reads.
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = split_special_tokens
    encoded = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encoded]


def encode_texts(
    tokenizer: Any, texts: Sequence[str], split_special_tokens: bool = False
) -> list[list[int]]:
    """`encode_all` of texts that each follow something.

    Some tokenizers of SentencePiece's kind put a space before a text: here they do not, as none
    stands there in a chat.

    Raises:
        TokenizerError: the tokenizer cannot encode a text that follows something.
    """
    anchor = _anchor(tokenizer)
    if not anchor:
        return encode_all(tokenizer, texts, split_special_tokens)
    if split_special_tokens:
        anchored = encode_all(tokenizer, [ANCHOR + text for text in texts], True)
        return [_behind_anchor(tokenizer, ids) for ids in anchored]
    ids_of_added = added_tokens(tokenizer)
    added = re.compile(f"({'|'.join(map(re.escape, ids_of_added)) or '(?!)'})")
    # Such a tokenizer does so behind each of its own added tokens as well.
    parts = [[part for part in added.split(text) if part] for text in texts]
    plain = [part for of_text in parts for part in of_text if not added.fullmatch(part)]
    encoded = iter(encode_all(tokenizer, [ANCHOR + part for part in plain]))
    found = []
    for of_text in parts:
        ids: list[int] = []
        for part in of_text:
            if added.fullmatch(part):
                ids.append(ids_of_added[part])
                continue
            ids += _behind_anchor(tokenizer, next(encoded))
        found.append(ids)
    return found


def check_reversible(tokenizer: Any) -> None:
    """Refuse a tokenizer that loses or changes text, by a round trip over a fixed text.

    Composed and decomposed characters count as the same.

    Raises:
        TokenizerError: what became of the text, and what to do.
    """
    ids = np.asarray(encode_texts(tokenizer, [ROUND_TRIP])[0], np.int32)
    spelled = token_bytes_of(tokenizer).written(ids).decode(errors="replace")
    given, back = (unicodedata.normalize("NFC", text) for text in (ROUND_TRIP, spelled))
    if given == back:
        return
    at = next(
        (i for i, (one, other) in enumerate(zip(given, back, strict=False)) if one != other),
        min(len(given), len(back)),
    )
    raise TokenizerError(
        f"{tokenizer.name_or_path}: the tokenizer changes text: {given[at : at + 20]!r} comes back "
        f"as {back[at : at + 20]!r}. Its files may be labelled with another kind of tokenizer: "
        "look at tokenizer_class in tokenizer_config.json (PreTrainedTokenizerFast reads "
        "tokenizer.json as it is), or use another model"
    )


def _behind_anchor(tokenizer: Any, ids: list[int]) -> list[int]:
    anchor = _anchor(tokenizer)
    if ids[: len(anchor)] != anchor:
        raise TokenizerError(
            f"{tokenizer.name_or_path}: cannot encode a text that follows another: its vocabulary "
            f"joins {ANCHOR!r} with what stands behind it"
        )
    return ids[len(anchor) :]


@lru_cache(maxsize=16)
def _anchor(tokenizer: Any) -> list[int]:
    """Tokens of the anchor; none if the tokenizer puts nothing before a text."""
    spelled = token_bytes_of(tokenizer).decode(np.asarray(encode_all(tokenizer, ["a"])[0]))
    return [] if spelled == b"a" else encode_all(tokenizer, [ANCHOR])[0]


@lru_cache(maxsize=16)
def added_tokens(tokenizer: Any) -> dict[str, int]:
    """Text of each added token -> its id, the longest first."""
    tokens = tokenizer.added_tokens_decoder.items()
    ordered = sorted(tokens, key=lambda item: -len(item[1].content))
    return {token.content: index for index, token in ordered}
