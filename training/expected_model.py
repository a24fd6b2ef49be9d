"""Whether a checkpoint is of the architecture and has the tokenizer that a stage expects."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from formats.model_format import without_preset
from resources.engines.model_folder import ModelFolderError, inspect_model

SHAPE = (
    "architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size",
    "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "tie_word_embeddings", "rope_parameters", "max_position_embeddings",
)  # fmt: skip
"""Settings of config.json that make two models' weights interchangeable."""

TOKENIZER_PARTS = ("model", "normalizer", "pre_tokenizer", "decoder")
SHOWN = 60
"""Characters of a value, in a message."""


class ExpectedModelError(ValueError):
    """The starting checkpoint is not what the stage expects; the message names the setting."""


def check_same_kind(checkpoint: Path, expected: Path) -> None:
    """Compare a checkpoint with the model that the stage descends from, without the weights.

    Raises:
        ExpectedModelError: another architecture, another shape, another tokenizer, or files that
            do not belong together.
    """
    try:
        for folder in (checkpoint, expected):
            inspect_model(str(folder))
    except ModelFolderError as error:
        raise ExpectedModelError(str(error)) from error
    for described in (_shape, _tokenizer):
        found, wanted = described(checkpoint), described(expected)
        for setting, value in wanted.items():
            if found[setting] != value:
                raise ExpectedModelError(
                    f"model_path {checkpoint}: {setting} is {_brief(found[setting])}, but the "
                    f"stage expects {_brief(value)} as in {expected}. Train the earlier stage anew "
                    "from the base student of this profile."
                )


def have_same_tokenizer(one: Path, other: Path) -> bool:
    """Whether two models' tokenizers make the same tokens of the same samples."""
    return _tokenizer(one) == _tokenizer(other)


def tokenizer_parts(folder: Path) -> dict[str, str]:
    """What makes the tokens of a sample, part by part, each with a hash of it."""
    return {
        part: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
        for part, value in _tokenizer(folder).items()
    }


def _shape(folder: Path) -> dict[str, Any]:
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    except Exception as error:  # transformers raises many kinds
        raise ExpectedModelError(f"{folder}: config.json cannot be used: {error}") from error
    return {setting: config.get(setting) for setting in SHAPE}


def _tokenizer(folder: Path) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    return {
        "the tokenizer's end token": tokenizer.eos_token,
        "the tokenizer's chat template": without_preset(tokenizer.chat_template or ""),
        "the tokenizer's vocabulary": tokenizer.get_vocab(),
        **{f"the tokenizer's {part}": parts.get(part) for part in TOKENIZER_PARTS},
    }


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return f"one with {len(value)} entries"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
