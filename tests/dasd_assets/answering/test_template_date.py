"""A chat template that prints the date: one date for all prompts of a partition."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from support.scripted_engine import ScriptedEngine, encode, tokenizer, written
from support.small_lake import filled

from dasd_assets.answering import template_date as module
from dasd_assets.answering.template_date import recorded_day, template_date
from dasd_assets.mixed_policy_distillation.continuations import (
    ROLLOUT_COLUMNS,
    continue_rollouts,
)
from dasd_assets.teacher_responses.sampling import sample_responses
from formats.chat import ANY_DAY, chat, chat_text
from resources.engines.prompts import render_chat
from resources.engines.protocol import GenerationRequest, ModelIdentity
from resources.lake.lake import Lake

CELL = {"temperature": "low", "question_shard": "a"}
DATED = '{{ "Current date: " + strftime_now("%Y-%m-%d") + "<|end|>" }}'
IDENTITY = ModelIdentity("m", "1", "e", "1")


@pytest.fixture(scope="module")
def dated() -> Any:
    found = copy.deepcopy(tokenizer("teacher"))
    found.chat_template = DATED + found.chat_template
    return found


class Clock:
    """Stands in for `datetime`; its day can be set."""

    day = 1

    @classmethod
    def now(cls, zone: Any) -> datetime:
        return datetime(2026, 3, cls.day, 23, 59, tzinfo=zone)


QUESTION = {"question_id": "q1", "domain": "math", "question": "What is 1 + 1?"}
TEACHER: dict[str, Any] = {"system_prompt": "Be brief.", "reasoning_effort": "low", "seed": 0}


def teacher(tokenizer: Any) -> ScriptedEngine:
    engine = ScriptedEngine("teacher", lambda _: (encode("teacher", "2<|return|>"), "stop"))
    engine.tokenizer = tokenizer
    return engine


def key(tokenizer: Any, day: date | None) -> str:
    prompt = render_chat(
        tokenizer, chat("Be brief.", "1 + 1?"), {"reasoning_effort": "low", "template_date": day}
    )
    return GenerationRequest(prompt, 1.0, 1.0, 10, 0).key(IDENTITY)


def test_a_partition_keeps_the_day_on_which_it_was_begun(
    dated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "datetime", Clock)
    lake = Lake(root=str(tmp_path))
    days = []
    for clock in (1, 2, 9):
        monkeypatch.setattr(Clock, "day", clock)
        days.append(template_date(lake, "teacher_responses", CELL, dated, None))
    other = template_date(lake, "teacher_responses", CELL | {"temperature": "high"}, dated, None)
    assert days == [date(2026, 3, 1)] * 3
    assert other == date(2026, 3, 9)
    assert recorded_day(tmp_path, "teacher_responses", CELL) == date(2026, 3, 1)
    assert recorded_day(tmp_path, "teacher_continuations", CELL) is None


def test_the_profiles_date_comes_first_and_records_nothing(dated: Any, tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    pinned = date(2025, 8, 5)
    assert template_date(lake, "teacher_responses", CELL, dated, pinned) == pinned
    assert template_date(lake, "teacher_responses", CELL, tokenizer("teacher"), pinned) is None
    assert template_date(lake, "teacher_responses", CELL, tokenizer("teacher"), None) is None
    assert list(tmp_path.iterdir()) == []


def test_the_date_is_part_of_the_key_where_the_template_prints_it(dated: Any) -> None:
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    assert key(dated, first) == key(dated, first) != key(dated, second)
    assert key(tokenizer("teacher"), first) == key(tokenizer("teacher"), None)
    of_template = render_chat(tokenizer("teacher"), chat("", ""), {"template_date": first})
    assert of_template.template_settings == ()


def test_after_midnight_nothing_is_asked_again(dated: Any, tmp_path: Path) -> None:
    def asked(day: date) -> int:
        engine = teacher(dated)
        rows = sample_responses(
            filled("questions", QUESTION), engine, temperature_name="low", temperature=1.0,
            samples_per_question=3, top_p=1.0, max_tokens=9, journal=tmp_path / "journal",
            template_date=day, **TEACHER,
        )  # fmt: skip
        assert sum(batch.num_rows for batch in rows) == 3
        return len(engine.requests)

    assert [asked(date(2026, 3, day)) for day in (1, 1, 2)] == [3, 0, 3]


def test_the_teacher_continues_under_the_date(dated: Any, tmp_path: Path) -> None:
    rollout = QUESTION | {
        "rollout_id": "o1", "response_id": "r1", "is_truncated": True, "broken_rules": [],
        "token_ids": encode("student", "<think>\n1 + 1 is 2, and so"),
    }  # fmt: skip
    rows = filled("student_rollouts", rollout).select(ROLLOUT_COLUMNS)
    engine = teacher(dated)
    continued = continue_rollouts(
        rows, engine, written("student"), min_cut_fraction=0.5, temperature=1.0, max_tokens=9,
        journal=tmp_path / "journal", template_date=date(2026, 3, 1), **TEACHER,
    )  # fmt: skip
    assert sum(batch.num_rows for batch in continued) == 1
    prompt = dated.decode(engine.requests[0].prompt.token_ids)
    assert prompt.startswith("Current date: 2026-03-01")


def test_no_prompt_shows_the_day_on_which_it_is_made(dated: Any) -> None:
    text = chat_text(dated, chat("Be brief.", "1 + 1? <|end|>"))
    assert text.startswith(f"Current date: {ANY_DAY.isoformat()}")
    assert datetime.now(UTC).date().isoformat() not in text
    pinned = chat_text(dated, chat("Be brief.", "1 + 1?"), template_date=date(2026, 3, 1))
    assert pinned.startswith("Current date: 2026-03-01")
