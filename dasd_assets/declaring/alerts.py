"""The sensor that tells people: runs that failed, and trainings that are proposed.

Nothing is lost while the webhook is away, and nothing waits for it: what could not be delivered is
tried again in the next ticks, a bounded number of times, by the daemon and never by a run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import dagster as dg
from pydantic import BaseModel

from dasd_assets.profile import Profile
from resources.webhook import post

NAME: Final = "tell_failures_and_proposals"
PROPOSAL: Final = "trained_on_current_sample"
"""The check that proposes a training (`checks/training_proposals.py`)."""
SECONDS_BETWEEN_TICKS: Final = 60
MOST_AT_ONCE: Final = 20
MOST_TICKS: Final = 30
"""Ticks in which the same news are tried."""


class Told(BaseModel):
    """The sensor's cursor: up to when people were told, in seconds since 1970."""

    failures_until: float
    proposals_until: float
    n_failed_ticks: int = 0


@dataclass(frozen=True)
class News:
    """One line to tell, and when it happened."""

    time: float
    line: str


def build(profile: Profile, proposing: Sequence[dg.AssetKey]) -> list[dg.SensorDefinition]:
    """The sensor of a profile that names a webhook; it is on, as it was asked for.

    Args:
        proposing: checkpoints that have the check `trained_on_current_sample`.
    """
    variable = profile.alerts.webhook_env
    if variable is None:
        return []

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts runs that failed and trainings that are proposed to the webhook whose "
        f"URL is in the environment variable {variable}.",
    )
    def tell_failures_and_proposals(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not context.cursor:
            now = time.time()  # what was before the sensor is no news
            context.update_cursor(Told(failures_until=now, proposals_until=now).model_dump_json())
            return dg.SkipReason("tells what happens from now on")
        told = Told.model_validate_json(context.cursor)
        failures = failed_runs(context.instance, told.failures_until)
        proposals = proposed_trainings(context.instance, proposing, told.proposals_until)
        if not failures and not proposals:
            return dg.SkipReason("nothing to tell")
        delivery = post(variable, message(profile.name, [*failures, *proposals]))
        gives_up = delivery.is_final or told.n_failed_ticks + 1 >= MOST_TICKS
        if delivery.problem is None or gives_up:
            told = Told(
                failures_until=max((n.time for n in failures), default=told.failures_until),
                proposals_until=max((n.time for n in proposals), default=told.proposals_until),
            )
        else:
            told.n_failed_ticks += 1
        context.update_cursor(told.model_dump_json())
        if delivery.problem is None:
            return dg.SkipReason(f"told: {len(failures)} failures, {len(proposals)} proposals")
        after = "they are not told" if gives_up else "tried again in the next tick"
        n = len(failures) + len(proposals)
        context.log.warning(f"{n} messages not delivered: {delivery.problem}; {after}")
        return dg.SkipReason(f"{delivery.problem}; {after}")

    return [tell_failures_and_proposals]


def failed_runs(instance: dg.DagsterInstance, since: float) -> list[News]:
    """Runs that failed after a time, the oldest first, MOST_AT_ONCE of them."""
    records = instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE], updated_after=datetime.fromtimestamp(since, UTC)
        ),
        limit=MOST_AT_ONCE,
        order_by="update_timestamp",
        ascending=True,
    )
    return [
        News(record.update_timestamp.timestamp(), _failure(record.dagster_run))
        for record in records
        if record.update_timestamp.timestamp() > since
    ]


def proposed_trainings(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey], since: float
) -> list[News]:
    """Trainings whose proposal was made after a time."""
    checks = [dg.AssetCheckKey(key, PROPOSAL) for key in keys]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    news = []
    for check, record in found.items():
        event = record.event
        evaluated = event and event.asset_check_evaluation
        if event and evaluated and not evaluated.passed and event.timestamp > since:
            changed = evaluated.metadata.get("what_changed")
            why = f": {changed.value}" if changed is not None else ""
            line = f"training of {check.asset_key.to_user_string()} is proposed{why}"
            news.append(News(event.timestamp, f"{line}. Job: train_student"))
    return sorted(news, key=lambda one: one.time)


def message(profile: str, news: Iterable[News]) -> str:
    """All lines as one text, in which nothing is markup for Slack."""
    lines = "\n".join(f"• {one.line}" for one in news)
    text = f"dasd, profile {profile}\n{lines}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _failure(run: dg.DagsterRun) -> str:
    """Names only: an error's text may hold what is in the data."""
    what = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
    partition = _partition(run.tags)
    return f"run {run.run_id[:8]} of {what or run.job_name}{partition} failed; see it in the UI"


def _partition(tags: Mapping[str, str]) -> str:
    key = tags.get("dagster/partition")
    return f" [{key}]" if key else ""
