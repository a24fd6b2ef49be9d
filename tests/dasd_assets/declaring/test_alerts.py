"""The sensor that tells failures and proposals, tick by tick, over a webhook on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from support.webhook_server import SECRET_PATH, webhook_server

from checks.training_proposals import proposing
from dasd_assets.declaring import alerts
from dasd_assets.declaring.freshness import expected
from dasd_assets.profile import Profile, load_profile
from dasd_assets.profile.alerts import Alerts
from resources import webhook

pytestmark = pytest.mark.slow

VARIABLE = "DASD_TEST_WEBHOOK"
KEY = dg.AssetKey("low_temperature_checkpoint")


def profile(settings: Alerts) -> Profile:
    return load_profile("tiny").model_copy(update={"alerts": settings})


TOLD = profile(Alerts(webhook_env=VARIABLE, questions_within_hours=48))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook.time, "sleep", lambda seconds: None)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class Ticks:
    """The sensor's ticks, each with the cursor that the one before left."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._cursor: str | None = None
        (self._sensor,) = alerts.build(TOLD, list(proposing(TOLD)))

    def tick(self) -> str:
        """What the sensor says."""
        context = dg.build_sensor_context(self._instance, cursor=self._cursor)
        said = self._sensor(context)
        self._cursor = context.cursor
        assert isinstance(said, dg.SkipReason)
        return str(said.skip_message)


@dg.asset_check(asset=KEY, name=alerts.PROPOSAL)
def proposal() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, metadata={"what_changed": "40 <new> questions"})


def run(instance: dg.DagsterInstance, *, fails: bool) -> str:
    """A run of the checkpoint and of its check; its id."""

    @dg.asset(key=KEY)
    def checkpoint() -> None:
        if fails:
            raise RuntimeError("an answer of somebody, that is nobody's business")

    job = dg.Definitions([checkpoint], asset_checks=[proposal]).get_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, asset_selection=[KEY], raise_on_error=False)
    return str(result.run_id)


def test_failures_and_proposals_are_told_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(instance, fails=True)
    with webhook_server() as hook:
        monkeypatch.setenv(VARIABLE, hook.url)
        ticks = Ticks(instance)
        assert ticks.tick() == "tells what happens from now on"
        assert ticks.tick() == "nothing to tell"
        failed = run(instance, fails=True)
        run(instance, fails=False)
        assert ticks.tick() == "told: 1 failures, 1 proposals"
        assert ticks.tick() == "nothing to tell"
    (body,) = hook.bodies
    first, *lines = body["text"].splitlines()
    assert first == "dasd, profile tiny"
    assert lines == [
        f"• run {failed[:8]} of low_temperature_checkpoint failed; see it in the UI",
        "• training of low_temperature_checkpoint is proposed: 40 &lt;new&gt; questions. "
        "Job: train_student",
    ]


def test_what_a_webhook_that_is_away_misses_is_told_later(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook_server(500) as hook:
        monkeypatch.setenv(VARIABLE, hook.url)
        ticks = Ticks(instance)
        ticks.tick()
        run(instance, fails=True)
        said = ticks.tick()
        assert said == f"the webhook of {VARIABLE} answered 500; tried again in the next tick"
        hook.answers[:] = [200]
        assert ticks.tick() == "told: 1 failures, 0 proposals"
        assert ticks.tick() == "nothing to tell"
    assert SECRET_PATH not in said


@pytest.mark.parametrize("answer", [404, 500])
def test_it_gives_up_in_the_end(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    monkeypatch.setattr(alerts, "MOST_TICKS", 2)
    with webhook_server(answer) as hook:
        monkeypatch.setenv(VARIABLE, hook.url)
        ticks = Ticks(instance)
        ticks.tick()
        run(instance, fails=True)
        said = [ticks.tick() for _ in range(2)]
        assert ticks.tick() == ("nothing to tell")
    assert any(each.endswith("they are not told") for each in said)
    assert len(hook.bodies) == (1 if answer == 404 else 2 * webhook.ATTEMPTS)


def test_without_a_webhook_there_is_no_sensor_and_its_url_is_in_no_definition() -> None:
    assert alerts.build(profile(Alerts()), []) == []
    (sensor,) = alerts.build(TOLD, [])
    assert sensor.name == "tell_failures_and_proposals"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert VARIABLE in str(sensor.description)


@pytest.mark.parametrize("name", ["raw_questions", "questions", "filtered_responses"])
def test_what_the_inbox_feeds_is_expected_as_often_as_the_profile_says(name: str) -> None:
    @dg.asset(name=name)
    def made() -> None:
        """Some asset."""

    (without,) = expected(made, profile(Alerts())).specs
    assert without.freshness_policy is None
    (spec,) = expected(made, TOLD).specs
    if name == "filtered_responses":
        assert spec.freshness_policy is None
        return
    policy = spec.freshness_policy
    assert isinstance(policy, type(dg.FreshnessPolicy.time_window(hours(48))))
    assert policy.fail_window.to_timedelta() == hours(48)
    assert policy.warn_window is not None and policy.warn_window.to_timedelta() == hours(36)


def hours(n: float) -> timedelta:
    return timedelta(hours=n)
