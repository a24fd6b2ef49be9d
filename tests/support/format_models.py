"""Tiny models that write in other formats, with tokenizers of other kinds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from support.tokenizer_kinds import KINDS, SPACE
from support.training_rows import STUDENT
from transformers import AutoConfig, AutoModelForCausalLM

from formats.token_bytes import BYTE_OF_CHARACTER

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n$OPENING{% endif %}"
)


CUTS = rf"{SPACE}?\p{{L}}+|\p{{N}}|{SPACE}?[^\s\p{{L}}\p{{N}}{SPACE}]|\s+(?!\S)|\s+|{SPACE}+"
"""Where the tiny student's pre-tokenizer cuts, with SentencePiece's space."""


def with_opening(folder: Path, opening: str, source: Path = STUDENT) -> Path:
    """The tiny student whose chat template begins an answer with some text."""
    shutil.copytree(source, folder)
    template = CHAT.replace("$OPENING", opening)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def relabelled(folder: Path, opening: str = "") -> Path:
    """The tiny student with its byte-level vocabulary written as SentencePiece's (Gemma's way).

    Each token keeps its id, so that the weights mean what they meant. A token that is half a
    character cannot be written and is never used: its bytes are tokens of their own.
    """
    with_opening(folder, opening)
    file = folder / "tokenizer.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    special = {token["content"] for token in state["added_tokens"]}
    names = {
        token: token if token in special else _name(token, index)
        for token, index in state["model"]["vocab"].items()
    }
    known = set(names.values())
    pairs = [[names[part] for part in merge] for merge in state["model"]["merges"]]
    merges = [pair for pair in pairs if "".join(pair) in known]
    vocabulary = {names[token]: index for token, index in state["model"]["vocab"].items()}
    state["model"] |= {
        "vocab": vocabulary, "merges": merges, "byte_fallback": True, "unk_token": None,
        "ignore_merges": False,
    }  # fmt: skip
    state["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    state["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": CUTS}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    state["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
        ],
    }  # fmt: skip
    file.write_text(json.dumps(state), encoding="utf-8")
    return folder


def untrained(folder: Path, kind: str, opening: str = "") -> Path:
    """A model of the tiny student's shape that knows nothing, with a tokenizer of some kind."""
    tokenizer = KINDS[kind]()
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(
        STUDENT, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
        bos_token_id=None,
    )  # fmt: skip
    model: Any = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    template = CHAT.replace("$OPENING", opening)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def _name(token: str, index: int) -> str:
    spelled = bytes(BYTE_OF_CHARACTER[character] for character in token)
    if len(spelled) == 1 and spelled[0] >= 0x80:
        return f"<0x{spelled[0]:02X}>"
    try:
        return spelled.decode().replace(" ", SPACE)
    except UnicodeDecodeError:
        return f"<half a character {index}>"
