"""Rows of a drop: what makes one usable, and where its fields come from."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from dasd_assets.profile import Layout, MappedField
from dasd_assets.profile.domains import unknown_domain
from dasd_assets.questions.curation.normalisation import normalise
from dasd_assets.questions.reading.conversations import conversation
from dasd_assets.questions.reading.unusable import UnusableRowError

FIELDS = ("question", "domain", "answer", "difficulty", "source", "system_prompt")
INT32 = range(-(2**31), 2**31)
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_ABSENT = object()


class DropError(ValueError):
    """A drop that cannot be read at all; the message names the file and what to do."""


class Row(NamedTuple):
    """A row as a reader found it: its columns by name, or why it has none."""

    line: int
    content: dict[str, Any] | UnusableRowError


def steps(column: str) -> list[str | int]:
    """A column's path: `messages[0].content` -> ["messages", 0, "content"]."""
    return [int(index) if index else name for index, name in _STEP.findall(column)]


def first_step(column: str, names: list[str]) -> str:
    """The column of a file that a path begins with: itself, if the file has one of that name."""
    return column if column in names else str(steps(column)[0])


def standard_layout(columns: list[str] | None = None) -> Layout:
    """The layout of a drop for which the profile has none.

    Args:
        columns: columns of the file; difficulty, source and system_prompt may be missing. None:
            rows tell for themselves.
    """
    may_lack = ("difficulty", "source", "system_prompt")
    optional = [name for name in may_lack if columns is None or name in columns]
    return Layout(
        question=MappedField(column="question"),
        domain=MappedField(column="domain"),
        answer=MappedField(column="answer"),
        **{name: MappedField(column=name, optional=True) for name in optional},
    )


def usable(
    content: dict[str, Any], layout: Layout, max_row_bytes: int, domains: Collection[str]
) -> dict[str, Any]:
    """The fields of a question from a row's columns.

    Args:
        domains: those that the profile has.

    Returns:
        question, earlier_messages, domain, answer (as JSON), difficulty and source.

    Raises:
        UnusableRowError: a field is missing, has the wrong type, or a value that is not allowed,
            or the messages are no conversation that ends with a question.
    """
    found = {name: _mapped(name, getattr(layout, name), content) for name in FIELDS}
    own_prompt = found["system_prompt"]
    if own_prompt is not None:
        own_prompt = _typed("system_prompt", own_prompt, str)
    question, earlier = conversation(found["question"], layout.turns, own_prompt)
    domain = _typed("domain", found["domain"], str)
    if not normalise(question):
        raise UnusableRowError("empty_question", repr(question))
    if domain not in domains:
        raise UnusableRowError("unknown_domain", unknown_domain(domain, domains))
    row = {
        "question": _text("question", question),
        "earlier_messages": earlier,
        "domain": domain,
        "answer": _text("answer", _reference(found["answer"])),
        "difficulty": _difficulty(found["difficulty"]),
        "source": None
        if found["source"] is None
        else _text("source", _typed("source", found["source"], str)),
    }
    texts = [question, str(row["answer"])]
    texts += [_text("question", message["content"]) for message in earlier or ()]
    n_bytes = sum(len(text.encode()) for text in texts)
    if n_bytes > max_row_bytes:
        raise UnusableRowError("row_too_long", f"{n_bytes} bytes of question and answer")
    return row


def _mapped(name: str, field: MappedField, content: dict[str, Any]) -> Any:
    if field.column is None:
        return field.value
    value = _follow(name, field.column, content)
    if value is _ABSENT or value is None:
        if field.optional:
            return None
        raise UnusableRowError(
            "missing_field", name if field.column == name else f"{name} ({field.column})"
        )
    if field.values is None:
        return value
    if str(value) not in field.values:
        raise UnusableRowError(
            "unmapped_value", f"{name} ({field.column}): {value!r} is not among `values`"
        )
    return field.values[str(value)]


def _follow(name: str, column: str, content: dict[str, Any]) -> Any:
    if column in content:  # a flat column whose name looks like a path
        return content[column]
    value: Any = content
    path = ""
    for step in steps(column):
        if value is None or value is _ABSENT:
            return _ABSENT
        kind = list if isinstance(step, int) else dict
        if not isinstance(value, kind):
            raise UnusableRowError(
                "wrong_type",
                f"{name} ({column}): expected {kind.__name__} at {path or 'the row'}, "
                f"found {type(value).__name__}",
            )
        if isinstance(step, int):
            value = value[step] if step < len(value) else _ABSENT
            path += f"[{step}]"
        else:
            value = value.get(step, _ABSENT)  # type: ignore[union-attr]
            path += f".{step}" if path else step
    return value


def value_at(column: str, content: dict[str, Any]) -> Any:
    """What a row has at a column or a path into one; None if it has nothing there.

    Raises:
        UnusableRowError: a step of the path leads into something else than a list or an object.
    """
    value = _follow(column, column, content)
    return None if value is _ABSENT else value


def _typed(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UnusableRowError(
            "wrong_type", f"{name}: expected {kind.__name__}, found {type(value).__name__}"
        )
    return value


def _difficulty(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers with gaps is often stored as floats
    if _typed("difficulty", value, int) not in INT32:
        raise UnusableRowError("wrong_type", f"difficulty: {value} has over 32 bits")
    return int(value)


def _reference(answer: Any) -> str:
    try:
        return json.dumps(answer, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except ValueError:
        raise UnusableRowError("wrong_type", "answer: a number that is not finite") from None
    except TypeError as error:  # bytes, dates and decimals, which only Arrow files hold
        raise UnusableRowError("wrong_type", f"answer: {error}") from None
    except RecursionError:
        raise UnusableRowError("wrong_type", "answer: nested too deeply") from None


def _text(name: str, value: str) -> str:
    r"""A string that has a UTF-8 form: JSON can spell half a surrogate pair (`\ud800`)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnusableRowError("invalid_utf8", f"{name}: a lone surrogate") from None
    return value
