"""A small byte-level BPE tokenizer with a chat template."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from formats.token_bytes import BYTE_OF_CHARACTER

CORPUS = ["What is 2 + 3? The sum of 2 and 3 is 5.", "Größe, naïve, 数学, 思考, 🙂🙃 — so x² = 4."]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(absent: bytes = b"") -> PreTrainedTokenizerFast:
    """One that has a token for each byte, but for some."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        CORPUS * 4,
        trainers.BpeTrainer(
            vocab_size=320,
            initial_alphabet=[each for each in alphabet if BYTE_OF_CHARACTER[each] not in absent],
            special_tokens=["<|im_start|>", "<|im_end|>"],
            show_progress=False,
        ),
    )
    backend.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", chat_template=TEMPLATE
    )
