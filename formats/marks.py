"""Marks: the texts that a tokenizer makes one token of wherever they stand (its added tokens).

`<|im_end|>`, `<|start|>`, `<think>` and their like are the format's. What somebody wrote spells
them at most, and is text.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from formats.encoding import added_tokens
from formats.token_bytes import TokenizerError

PRIVATE_USE = range(0xF0000, 0xFFFFE)
"""Characters that no text has a use for, from which stand-ins of marks are taken."""


@lru_cache(maxsize=16)
def marks(tokenizer: Any) -> dict[str, int]:
    """Text -> token id of each mark, the longest first.

    Added tokens of white space alone (runs of spaces or line breaks in Gemma, GPT-NeoX) mark
    nothing.
    """
    return {
        text: index for text, index in added_tokens(tokenizer).items() if text.strip(" \t\r\n▁")
    }


@lru_cache(maxsize=16)
def _pattern(tokenizer: Any) -> re.Pattern[str]:
    """Finds the leftmost and there the longest mark, as the tokenizer does."""
    return re.compile("|".join(map(re.escape, marks(tokenizer))) or r"(?!)")


def spells_mark(tokenizer: Any, text: str) -> bool:
    """Whether a text, or what the tokenizer's normaliser makes of it, has a mark in it."""
    pattern = _pattern(tokenizer)
    if pattern.search(text):
        return True
    normaliser = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    return normaliser is not None and bool(pattern.search(normaliser.normalize_str(text)))


class StandIns:
    """For each mark of a tokenizer one character that stands in for it."""

    def __init__(self, tokenizer: Any, first: int) -> None:
        """Take the characters from code point `first` on, one for each mark."""
        self.of_mark = {mark: chr(first + index) for index, mark in enumerate(marks(tokenizer))}
        self._mark = {stand_in: mark for mark, stand_in in self.of_mark.items()}
        self._marks = _pattern(tokenizer)
        self._stand_ins = re.compile(f"[{''.join(self._mark)}]")

    def hide(self, text: str) -> str:
        """The text with a stand-in for each mark."""
        return self._marks.sub(lambda found: self.of_mark[found[0]], text)

    def show(self, text: str) -> str:
        """The text with each mark again."""
        return self._stand_ins.sub(lambda found: self._mark[found[0]], text)

    def hidden(self, text: str) -> list[str]:
        """The marks that a text has stand-ins for, in its order."""
        return [self._mark[found] for found in self._stand_ins.findall(text)]


def free_characters(text: str, n: int) -> int:
    """The first of n code points in a row for private use of which none is in a text.

    Raises:
        TokenizerError: the text has too many of them.
    """
    used = {code for code in map(ord, set(text)) if code in PRIVATE_USE}
    for first in range(PRIVATE_USE.start, PRIVATE_USE.stop - n, n):
        if used.isdisjoint(range(first, first + n)):
            return first
    raise TokenizerError(
        f"the messages hold {len(used):,} kinds of characters for private use (from U+F0000 on), "
        "so that none is left to tell their text from the marks of the chat template"
    )


@lru_cache(maxsize=4)
def text_encoder(tokenizer: Any, first: int) -> TextEncoder:
    """The encoder whose stand-ins are the code points from `first` on."""
    return TextEncoder(tokenizer, StandIns(tokenizer, first))


class TextEncoder:
    """A tokenizer that makes a mark's token of the mark's stand-in, and of nothing else.

    It is a copy in which the marks are spelled by their stand-ins. So every rule of the tokenizer
    holds, what follows a mark included, but text that spells a mark is ordinary text to it.
    """

    def __init__(self, tokenizer: Any, stand_ins: StandIns) -> None:
        """Copy the tokenizer: a second or two where it has 200,000 tokens.

        Raises:
            TokenizerError: it is no fast tokenizer.
        """
        self._name, self._stand_ins = tokenizer.name_or_path, stand_ins
        self._mark_ids = marks(tokenizer)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TokenizerError(
                f"{self._name}: a message spells a special token, which only a fast tokenizer "
                "(tokenizer.json) can encode as plain text"
            )
        self._backend = _respelled(backend, stand_ins.of_mark)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text in which stand-ins stand for marks.

        Raises:
            TokenizerError: there is a mark's token where no stand-in was, or none where one was.
        """
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        wanted = [self._mark_ids[mark] for mark in self._stand_ins.hidden(text)]
        is_mark = frozenset(self._mark_ids.values())
        found = [token for token in ids if token in is_mark]
        if found != wanted:
            raise TokenizerError(
                f"{self._name}: this tokenizer cannot encode as plain text a message that spells "
                f"a special token: the chat template put {len(wanted)} of them into the prompt, "
                f"the prompt has {len(found)}: {self._stand_ins.show(text)[:200]!r}"
            )
        return ids


def _respelled(backend: Any, spelling: dict[str, str]) -> Any:
    """A copy of a tokenizer with some of its tokens spelled otherwise, under the same ids."""
    parts = json.loads(backend.to_str())
    parts |= {"truncation": None, "padding": None, "post_processor": None}
    for token in parts["added_tokens"]:
        token["content"] = spelling.get(token["content"], token["content"])
    model = parts["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {spelling.get(token, token): i for token, i in vocabulary.items()}
    else:  # Unigram: a list of tokens with their scores
        model["vocab"] = [[spelling.get(token, token), *score] for token, *score in vocabulary]
    if model.get("unk_token") in spelling:
        model["unk_token"] = spelling[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [
            merge
            for merge in model["merges"]
            if spelling.keys().isdisjoint({*merge, "".join(merge)})
        ]
    return type(backend).from_str(json.dumps(parts))
