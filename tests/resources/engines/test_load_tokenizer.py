"""Tokenizers are those that AutoTokenizer takes; plain ones come without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.load import load_tokenizer

MODELS = PROJECT_ROOT / "tiny_world" / "models"


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_it_is_the_one_that_auto_tokenizer_takes(model: str) -> None:
    ours, auto = load_tokenizer(MODELS / model), AutoTokenizer.from_pretrained(MODELS / model)
    assert type(ours) is type(auto)
    assert ours.get_vocab() == auto.get_vocab()
    text = "What is 2 + 3? <|end|><think>é\n"
    assert ours(text)["input_ids"] == auto(text)["input_ids"]


def test_a_plain_one_is_loaded_without_torch() -> None:
    program = (
        "import sys; from pathlib import Path; from resources.engines.load import load_tokenizer; "
        f"load_tokenizer(Path({str(MODELS / 'student')!r})); print('torch' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "False", said.stderr
