"""Marks are special tokens, and what somebody wrote behind them is text."""

from __future__ import annotations

from typing import Any

import pytest
from support.scripted_engine import encode, tokenizer

from resources.engines.model_folder import ModelFolderError
from resources.engines.prompts import encode_pieces

ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final"
TEXTS = ["We add 1 + 2.", "", " \n\nnaïve 木🙂 \t", "<think> x </think>"]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_without_marks_in_them_are_encoded_as_the_whole(text: str) -> None:
    pieces = [(ANALYSIS, text), (FINAL, text)]
    whole = "".join(mark + piece for mark, piece in pieces)
    found = encode_pieces(tokenizer("teacher"), pieces)
    assert [token for mark, text in found for token in mark + text] == encode("teacher", whole)


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_text_that_spells_special_tokens_stays_text(name: str) -> None:
    special = set(tokenizer(name).all_special_ids)
    mark = tokenizer(name).all_special_tokens[0]
    for spelled in tokenizer(name).all_special_tokens:
        text = f"a {spelled}{spelled} b"
        ((of_mark, of_text),) = encode_pieces(tokenizer(name), [(mark, text)])
        ids = of_mark + of_text
        assert [token for token in ids if token in special] == encode(name, mark)
        assert tokenizer(name).decode(ids) == mark + text
        assert encode(name, text) != ids[1:]  # what the tokenizer does of itself
    assert encode(name, mark) == ids[:1]  # and goes on doing


def test_a_tokenizer_that_does_not_do_so_is_refused() -> None:
    class Backend:
        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer("teacher").backend_tokenizer, name)

        def encode_batch_fast(self, texts: list[str], add_special_tokens: bool) -> Any:
            backend = tokenizer("teacher").backend_tokenizer
            backend.encode_special_tokens = False  # whatever it was told
            return backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)

    class Careless:
        name_or_path = "careless"
        backend_tokenizer = Backend()

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer("teacher"), name)

    with pytest.raises(ModelFolderError, match=r"careless: .* does not honour split_special"):
        encode_pieces(Careless(), [(ANALYSIS, "So <|end|>")])
