"""A tokenizer for the tests of formats."""

from __future__ import annotations

import pytest
from support.small_tokenizer import build_tokenizer
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()
