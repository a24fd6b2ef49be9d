"""Conversations: a question that is a list of messages, and what of it is asked."""

from __future__ import annotations

from typing import Any, NamedTuple

from dasd_assets.profile import Turns
from dasd_assets.questions.curation.normalisation import normalise
from dasd_assets.questions.reading.unusable import UnusableRowError
from formats.student_text import CLOSE_MARK, OPEN_MARK

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = {
    SYSTEM: SYSTEM, "developer": SYSTEM, USER: USER, "human": USER, ASSISTANT: ASSISTANT,
    "gpt": ASSISTANT,
}  # fmt: skip
"""What public data sets call them -> the role; ShareGPT has `from` and `value`."""

Messages = list[dict[str, str]]


class Conversation(NamedTuple):
    """A question with what was said before it."""

    question: str
    earlier_messages: Messages | None


def conversation(content: Any, turns: Turns, system_prompt: str | None = None) -> Conversation:
    """What is asked by a column that holds a text, or a list of messages.

    Args:
        content: the text, or messages with `role` and `content`, or `from` and `value`.
        turns: how much of the messages is asked.
        system_prompt: of the row itself, beside its messages.

    Raises:
        UnusableRowError: wrong_type, unknown_role, empty_turn, two_system_messages,
            system_message_inside, turns_do_not_alternate, ends_with_assistant, or empty_question.
    """
    own: Messages = []
    if system_prompt and system_prompt.strip():
        own.append({"role": SYSTEM, "content": system_prompt})
    if isinstance(content, str):
        return Conversation(content, own or None)
    if not isinstance(content, list):
        raise UnusableRowError(
            "wrong_type",
            f"question: expected str or a list of messages, found {type(content).__name__}",
        )
    messages = [_message(index, each) for index, each in enumerate(content)]
    systems = [each for each in messages if each["role"] == SYSTEM]
    if len(systems) + len(own) > 1:
        raise UnusableRowError("two_system_messages", f"{len(systems) + len(own)} of them")
    if systems and messages[0] is not systems[0]:
        raise UnusableRowError("system_message_inside", "the system message is not the first")
    said = _asked([each for each in messages if each["role"] != SYSTEM], turns)
    for index, each in enumerate(said):
        if each["role"] != (USER, ASSISTANT)[index % 2]:
            raise UnusableRowError(
                "turns_do_not_alternate", f"turn {index + 1} is of the {each['role']}"
            )
        if not normalise(each["content"]):
            raise UnusableRowError("empty_turn", f"turn {index + 1}, of the {each['role']}")
    if not said:
        raise UnusableRowError("empty_question", "no turn of the user")
    if said[-1]["role"] != USER:
        raise UnusableRowError(
            "ends_with_assistant",
            f"{len(said)} turns; `turns` of the layout says which of them are asked",
        )
    said_before = [each for each in [*own, *systems] if normalise(each["content"])]
    earlier = said_before + said[:-1]
    return Conversation(said[-1]["content"], earlier or None)


def _asked(said: Messages, turns: Turns) -> Messages:
    """The turns that are asked, the question last."""
    users = [index for index, each in enumerate(said) if each["role"] == USER]
    if turns == "all" or not users:
        return said
    return said[: users[0 if turns == "first_user" else -1] + 1]


def _message(index: int, message: Any) -> dict[str, str]:
    where = f"question: message {index + 1}"
    if not isinstance(message, dict):
        raise UnusableRowError(
            "wrong_type", f"{where}: expected an object, found {type(message).__name__}"
        )
    names = ("from", "value") if message.get("role") is None else ("role", "content")
    role, text = (message.get(name) for name in names)
    if not isinstance(role, str) or role not in ROLES:
        raise UnusableRowError(
            "unknown_role", f"{where}: {role!r}; known: {', '.join(sorted(ROLES))}"
        )
    if not isinstance(text, str):
        raise UnusableRowError("wrong_type", f"{where}: expected text, found {type(text).__name__}")
    return {
        "role": ROLES[role],
        "content": _without_reasoning(text) if ROLES[role] == ASSISTANT else text,
    }


def _without_reasoning(text: str) -> str:
    """An earlier answer as models are shown it: their chat templates drop what it was thought."""
    if text.lstrip().startswith(OPEN_MARK) and CLOSE_MARK in text:
        return text.partition(CLOSE_MARK)[2].lstrip()
    return text
