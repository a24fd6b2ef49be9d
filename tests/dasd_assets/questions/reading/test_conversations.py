"""A question that is a list of messages: what is asked, what was said before, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.whole_drops import read_whole_drop

from dasd_assets.profile import Layout, MappedField
from dasd_assets.questions.reading.conversations import conversation
from dasd_assets.questions.reading.unusable import UnusableRowError

SAID = {"s": "system", "u": "user", "a": "assistant", "x": "tool"}


def said(*turns: str) -> list[dict[str, str]]:
    """Messages from `u: text`."""
    parts = (turn.partition(": ") for turn in turns)
    return [{"role": SAID[role], "content": text} for role, _, text in parts]


ALL = said("s: Be kind.", "u: Hi", "a: Hello.", "u: 1 + 1?")


@pytest.mark.parametrize(
    ("messages", "turns", "question", "earlier"),
    [
        (said("u: 1 + 1?"), "all", "1 + 1?", None),
        (ALL, "all", "1 + 1?", ALL[:3]),
        ([*ALL, *said("a: 2")], "until_last_user", "1 + 1?", ALL[:3]),
        ([*ALL, *said("a: 2")], "first_user", "Hi", ALL[:1]),
        ([*said("u: Hi", "a:  "), *said("x: 7")][:2], "first_user", "Hi", None),
        (said("s:  ", "u: Hi"), "all", "Hi", None),
        (
            said("u: Hi", "a: <think>\nGreet.\n</think>\n\nHello.", "u: <think>?"),
            "all", "<think>?", said("u: Hi", "a: Hello."),
        ),
        (
            [{"from": "human", "value": "Hi", "role": None}, {"from": "gpt", "value": "Yes?"},
             {"from": "human", "value": "1 + 1?"}],
            "all", "1 + 1?", said("u: Hi", "a: Yes?"),
        ),
        ("1 + 1?", "all", "1 + 1?", None),
    ],
)  # fmt: skip
def test_the_last_turn_of_the_user_is_the_question(
    messages: Any, turns: Any, question: str, earlier: Any
) -> None:
    assert conversation(messages, turns) == (question, earlier)


def test_a_row_brings_its_own_system_prompt() -> None:
    own = said("s: Be brief.")
    assert conversation("1 + 1?", "all", "Be brief.") == ("1 + 1?", own)
    assert conversation(ALL[1:], "all", "Be brief.") == ("1 + 1?", [*own, *ALL[1:3]])
    assert conversation(ALL, "all", "  ") == ("1 + 1?", ALL[:3])


@pytest.mark.parametrize(
    ("messages", "reason", "evidence"),
    [
        (said("u: Hi", "a: Hello."), "ends_with_assistant", "2 turns; `turns` of the layout"),
        (said("u: Hi", "x: 7", "u: So?"), "unknown_role", "message 2: 'tool'; known: assistant"),
        ([{"content": "Hi"}], "unknown_role", "message 1: None"),
        (said("s: A", "s: B", "u: Hi"), "two_system_messages", "2 of them"),
        (said("u: Hi", "a: Yes?", "s: A", "u: So?"), "system_message_inside", "not the first"),
        (said("u: Hi", "a: \u200b", "u: So?"), "empty_turn", "turn 2, of the assistant"),
        (said("u: Hi", "a: <think>\nHm.\n</think>", "u: So?"), "empty_turn", "turn 2"),
        (said("u: Hi", "u: So?"), "turns_do_not_alternate", "turn 2 is of the user"),
        (said("a: Hi", "u: So?"), "turns_do_not_alternate", "turn 1 is of the assistant"),
        ([], "empty_question", "no turn of the user"),
        (said("s: A"), "empty_question", "no turn of the user"),
        (["Hi"], "wrong_type", "message 1: expected an object, found str"),
        ([{"role": "user", "content": ["Hi"]}], "wrong_type", "expected text, found list"),
        ({"role": "user"}, "wrong_type", "expected str or a list of messages, found dict"),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_quarantined(messages: Any, reason: str, evidence: str) -> None:
    with pytest.raises(UnusableRowError) as raised:
        conversation(messages, "all")
    assert raised.value.reason == reason
    assert evidence in raised.value.evidence


def test_two_system_prompts_from_two_places_are_refused() -> None:
    with pytest.raises(UnusableRowError, match="two_system_messages"):
        conversation(ALL, "all", "Be brief.")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_drop_of_messages(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"messages": ALL, "topic": "math", "system_prompt": None},
        {"messages": [*ALL, *said("a: 2")], "topic": "math", "system_prompt": None},
        {"messages": said("u: 2 + 2?"), "topic": "math", "system_prompt": "Be brief."},
    ]
    drop = tmp_path / f"drop.{suffix}"
    if suffix == "jsonl":
        drop.write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), drop)
    layout = Layout(
        question=MappedField(column="messages"), domain=MappedField(column="topic"),
        answer=MappedField(value=None),
        system_prompt=MappedField(column="system_prompt", optional=True),
    )  # fmt: skip
    found = read_whole_drop(drop, layout, 10_000)
    assert found.rows["question"].to_pylist() == ["1 + 1?", "2 + 2?"]
    assert found.rows["earlier_messages"].to_pylist() == [ALL[:3], said("s: Be brief.")]
    assert found.quarantined["reason"].to_pylist() == ["ends_with_assistant"]
    short = read_whole_drop(drop, layout, 24)
    assert short.quarantined["reason"].to_pylist()[0] in ("row_too_long", "line_too_long")
