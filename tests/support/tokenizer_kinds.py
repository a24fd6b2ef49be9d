"""Small tokenizers of SentencePiece's kinds, as transformers loads them, and one of Tekken's."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from support.small_tokenizer import CORPUS, TEMPLATE
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers import pre_tokenizers as cuts
from transformers import PreTrainedTokenizerFast

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
SPACE = "\u2581"


def _finished(backend: Tokenizer) -> PreTrainedTokenizerFast:
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    backend.add_tokens(
        [AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", unk_token="<unk>", chat_template=TEMPLATE
    )


def _changed(backend: Tokenizer, **parts: Any) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(json.loads(backend.to_str()) | parts))


def _bpe(scheme: str) -> Tokenizer:
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.pre_tokenizer = cuts.Metaspace(prepend_scheme=scheme, split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=[*SPECIAL, *BYTES], show_progress=False
    )
    backend.train_from_iterator(CORPUS * 4, trainer)
    added = [t for t in json.loads(backend.to_str())["added_tokens"] if t["content"] in SPECIAL]
    backend = _changed(backend, added_tokens=added)
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )  # fmt: skip
    return backend


@cache
def llama2() -> PreTrainedTokenizerFast:
    """BPE with byte fallback; a normaliser puts a space before each text (Llama 2, Mistral)."""
    backend = _changed(_bpe("first"), pre_tokenizer=None)
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    return _finished(backend)


@cache
def metaspace() -> PreTrainedTokenizerFast:
    """BPE with byte fallback; the first text of all gets a space before it."""
    return _finished(_bpe("first"))


@cache
def gemma() -> PreTrainedTokenizerFast:
    """BPE with byte fallback, and no space before a text."""
    backend = _changed(_bpe("never"), pre_tokenizer=None)
    backend.normalizer = normalizers.Replace(" ", SPACE)
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return _finished(backend)


@cache
def unigram() -> PreTrainedTokenizerFast:
    """Unigram with byte fallback (T5's kind, but nothing is lost)."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = cuts.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=260, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(CORPUS * 4, trainer)
    model = json.loads(backend.to_str())["model"]
    model |= {"vocab": [*model["vocab"], *([byte, -20.0] for byte in BYTES)], "byte_fallback": True}
    backend = _changed(backend, model=model)
    backend.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")]
    )
    return _finished(backend)


@cache
def tekken() -> PreTrainedTokenizerFast:
    """Byte-level BPE cut by a pattern of its own (tiktoken, Tekken)."""
    backend = Tokenizer(models.BPE())
    pattern = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+")
    backend.pre_tokenizer = cuts.Sequence(
        [cuts.Split(pattern, "isolated"), cuts.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=cuts.ByteLevel.alphabet(), special_tokens=SPECIAL,
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(CORPUS * 4, trainer)
    return _finished(backend)


KINDS = {
    "llama2": llama2, "metaspace": metaspace, "gemma": gemma, "unigram": unigram, "tekken": tekken,
}  # fmt: skip
