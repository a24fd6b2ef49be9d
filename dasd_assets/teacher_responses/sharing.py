"""A shard's questions, shared out to several teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dasd_assets.answering.sharing import teachers_of
from dasd_assets.profile import Profile
from dasd_assets.profile.teachers import QuestionShare


def asked_of(
    teacher: str, questions: pa.Table, shares: Mapping[str, QuestionShare], seed: int
) -> pa.Table:
    """The questions that a teacher answers, in the order of `questions` (schema QUESTIONS)."""
    ids = questions["question_id"].to_pylist()
    return questions.filter(
        pa.array([teacher in teachers_of(i, shares, seed) for i in ids], "bool")
    )


def sharing(profile: Profile) -> list[list[Any]]:
    """Who is asked which questions, as settings that shape the responses, in the order of shares.

    Which weights a name stands for is told by the teachers' own assets.
    """
    return [
        [name, each.path, each.questions, next(iter(each.pinned()), None)]
        for name, each in profile.answerers.items()
    ]
