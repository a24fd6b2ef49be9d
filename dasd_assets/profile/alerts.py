"""Settings of what people are told, and of how often new questions are expected."""

from __future__ import annotations

from pydantic import Field

from resources.section import Section


class Alerts(Section):
    """Messages to a chat room, and freshness, see docs/operations.md."""

    webhook_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="environment variable with the URL of an incoming webhook of Slack, or of what "
        "takes the same JSON: runs that failed and trainings that are proposed are posted there; "
        "unset: nothing is",
    )
    questions_within_hours: float | None = Field(
        None,
        ge=0.1,
        description="a drop of questions is expected at least this often: Dagster shows "
        "raw_questions and questions as late after that time, as about to be after three quarters "
        "of it; unset: none is expected",
    )
