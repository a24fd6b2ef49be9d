"""Chats: the messages that are sent for a question, and the prompt that a template makes of them.

What a message says is text. Where it spells one of the tokenizer's marks (`<|im_end|>`, `<think>`),
neither the chat template nor the tokenizer takes it for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from formats.encoding import encode_all
from formats.marks import StandIns, free_characters, marks, spells_mark, text_encoder

Messages = Sequence[dict[str, str]]

SYSTEM = "system"

ANY_DAY = date(2025, 1, 1)
"""What a chat template that prints today's date prints where no date is given."""


def chat(
    system_prompt: str, question: str, earlier_messages: Messages | None = None
) -> list[dict[str, str]]:
    """The messages that are sent for one question, in every stage.

    Args:
        system_prompt: of the profile; used unless the conversation begins with one of its own.
        question: the last user turn.
        earlier_messages: role and content of what was said before it; None or empty: nothing.
    """
    earlier = list(earlier_messages or ())
    if not (earlier and earlier[0]["role"] == SYSTEM):
        earlier.insert(0, {"role": SYSTEM, "content": system_prompt})
    return [*earlier, {"role": "user", "content": question}]


def chat_of(row: Mapping[str, Any], system_prompt: str) -> list[dict[str, str]]:
    """The messages for a row with the columns question and earlier_messages.

    A file that was written before there were conversations lacks the second.
    """
    return chat(system_prompt, row["question"], row.get("earlier_messages"))


def for_template(tokenizer: Any, messages: Messages) -> list[dict[str, str]]:
    """The messages as a chat template takes them.

    A template without a system role (it refuses one, or leaves it out) gets what the system says
    before the first question.
    """
    own = list(messages)
    if len(own) < 2 or own[0]["role"] != SYSTEM or has_system_role(tokenizer):
        return own
    said = "\n\n".join(filter(None, (own[0]["content"], own[1]["content"])))
    return [{"role": own[1]["role"], "content": said}, *own[2:]]


@lru_cache(maxsize=16)
def has_system_role(tokenizer: Any) -> bool:
    """Whether the chat template prints what the system says; some refuse it, some drop it."""
    said = "A system prompt, said before all."
    messages = [{"role": SYSTEM, "content": said}, {"role": "user", "content": "A question."}]
    try:
        return said in _by_template(tokenizer, messages, {})
    except TemplateError:
        return False


def prints_date(tokenizer: Any) -> bool:
    """Whether the chat template prints today's date."""
    return "strftime_now" in str(tokenizer.chat_template)


def chat_text(tokenizer: Any, messages: Messages, **template_settings: Any) -> str:
    """A chat by the model's own template, up to where its answer begins.

    Args:
        template_settings: the template's; also `template_date`, which is its today, so that no
            prompt depends on the day on which it is made (unset or None: ANY_DAY).
    """
    return _rendered(tokenizer, messages, template_settings).text


def prompt_tokens(tokenizer: Any, messages: Messages, **template_settings: Any) -> list[int]:
    """Tokens of `chat_text`: its marks are the template's, and all that a message says is text.

    Raises:
        TokenizerError: a message spells a mark, and the tokenizer cannot encode that as text.
    """
    return _encoded(tokenizer, _rendered(tokenizer, messages, template_settings))


def all_prompt_tokens(tokenizer: Any, chats: Sequence[Messages]) -> list[list[int]]:
    """`prompt_tokens` of many chats at once: a fast tokenizer uses all its threads."""
    rendered = [_rendered(tokenizer, messages, {}) for messages in chats]
    plain = iter(encode_all(tokenizer, [each.text for each in rendered if not each.hidden]))
    return [_encoded(tokenizer, each) if each.hidden else next(plain) for each in rendered]


@dataclass(frozen=True)
class _Rendered:
    """A chat's text; where messages spell marks also the text with stand-ins for the template's."""

    text: str
    hidden: str = ""
    first: int = 0
    """Code point of the first stand-in."""


def _rendered(tokenizer: Any, messages: Messages, settings: dict[str, Any]) -> _Rendered:
    messages = for_template(tokenizer, messages)
    if not any(spells_mark(tokenizer, message["content"]) for message in messages):
        return _Rendered(_by_template(tokenizer, messages, settings))
    n_marks = len(marks(tokenizer))
    written = "".join(message["content"] for message in messages) + str(tokenizer.chat_template)
    first = free_characters(written, 2 * n_marks)
    of_template, of_messages = StandIns(tokenizer, first), StandIns(tokenizer, first + n_marks)
    # The template gets no mark to see: some look for `</think>` in what a message says.
    opaque = [message | {"content": of_messages.hide(message["content"])} for message in messages]
    text = _by_template(tokenizer, opaque, settings)
    return _Rendered(of_messages.show(text), of_messages.show(of_template.hide(text)), first)


def _by_template(tokenizer: Any, messages: Messages, settings: dict[str, Any]) -> str:
    settings = dict(settings)
    today: date = settings.pop("template_date", None) or ANY_DAY
    if prints_date(tokenizer):
        settings["strftime_now"] = today.strftime  # in place of the function that asks the clock
    return str(
        tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **settings
        )
    )


def _encoded(tokenizer: Any, rendered: _Rendered) -> list[int]:
    if rendered.hidden:
        return text_encoder(tokenizer, rendered.first).encode(rendered.hidden)
    return list(tokenizer.encode(rendered.text, add_special_tokens=False))
