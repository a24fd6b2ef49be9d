"""Training rows for tests, and the shipped tiny student."""

from __future__ import annotations

from typing import Any

from dasd_assets.profile import PROJECT_ROOT

STUDENT = PROJECT_ROOT / "tiny_world" / "models" / "student"

Row = dict[str, Any]


def row(number: int, **columns: Any) -> Row:
    text = f"<think>\nOnes: {number} + 1.\n</think>\n\nIt is {number + 1}."
    return {
        "question": f"What is {number} + 1?",
        "response_text": text,
        "student_prefix_bytes": 0,
        **columns,
    }
