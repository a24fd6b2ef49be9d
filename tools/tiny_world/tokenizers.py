"""The two byte-level BPE tokenizers and their chat templates.

Both split digits one by one and add no space of their own, so that the bytes of a text's
tokens joined together are the bytes of the text. They differ in vocabulary, merges, special
tokens and chat template, as the real teacher's and student's do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from formats.student_text import CLOSE_MARK, OPEN_MARK

TEACHER_VOCABULARY: Final = 1024
STUDENT_VOCABULARY: Final = 896
MAX_POSITIONS: Final = 1024
# An option's letter is one token with its brackets: what follows an option's text is then one
# token, and a small model finds it by the text that it follows.
OPTION_LETTER: Final = r" ?\([A-D]\)|"
# GPT-2's split, but each digit stands alone, so that it is the same token wherever it is.
TEACHER_SPLIT: Final = OPTION_LETTER + r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# As above, with punctuation one character at a time.
STUDENT_SPLIT: Final = OPTION_LETTER + r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s+"

HARMONY_TOKENS: Final = (
    "<|endoftext|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|channel|>",
    "<|return|>",
    "<|call|>",
    "<|constrain|>",
)
QWEN_TOKENS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINK_TOKENS: Final = (OPEN_MARK, CLOSE_MARK)

HARMONY_TEMPLATE: Final = """\
{%- set effort = reasoning_effort if reasoning_effort is defined else "high" -%}
{%- if messages[0].role == "system" -%}
    {%- set system = messages[0].content -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set system = "You are a helpful assistant." -%}
    {%- set turns = messages -%}
{%- endif -%}
{{- "<|start|>system<|message|>" + system + "\\nReasoning: " + effort + "<|end|>" -}}
{%- for message in turns -%}
    {%- if message.role == "assistant" -%}
        {%- if message.thinking -%}
            {{- "<|start|>assistant<|channel|>analysis<|message|>" -}}
            {{- message.thinking + "<|end|>" -}}
        {%- endif -%}
        {{- "<|start|>assistant<|channel|>final<|message|>" + message.content -}}
        {{- "<|return|>" if loop.last else "<|end|>" -}}
    {%- else -%}
        {{- "<|start|>" + message.role + "<|message|>" + message.content + "<|end|>" -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|start|>assistant" -}}
{%- endif -%}
"""

QWEN_TEMPLATE: Final = """\
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\\n" + message.content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""


def _train(
    texts: Iterable[str], split: str, vocabulary: int, special: tuple[str, ...]
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(special),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_teacher_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with the Harmony special tokens and a short Harmony chat template.

    The template takes `reasoning_effort` ("high" unless given) and an assistant message's
    `thinking`, as gpt-oss's own does.
    """
    tokenizer = _train(texts, TEACHER_SPLIT, TEACHER_VOCABULARY, HARMONY_TOKENS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|return|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[t for t in HARMONY_TOKENS if t not in ("<|return|>",)],
        chat_template=HARMONY_TEMPLATE,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def train_student_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with Qwen3's special tokens and chat template.

    `<think>` and `</think>` are added tokens but not special, as in Qwen3: decoding with
    `skip_special_tokens` keeps them.
    """
    size = STUDENT_VOCABULARY - len(THINK_TOKENS)
    tokenizer = _train(texts, STUDENT_SPLIT, size, QWEN_TOKENS)
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in THINK_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=QWEN_TEMPLATE,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
