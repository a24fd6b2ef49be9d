"""Posting to a webhook on loopback: a few attempts, no exception, and its URL in no text."""

from __future__ import annotations

import pytest
from support.ports import free_port
from support.webhook_server import SECRET_PATH, webhook_server

from resources.webhook import ATTEMPTS, Delivery, post

VARIABLE = "DASD_TEST_WEBHOOK"


@pytest.mark.parametrize(
    ("answers", "n_posts", "delivery"),
    [
        ([200], 1, Delivery()),
        ([503, 200], 2, Delivery()),
        ([429, 500, 200], 3, Delivery()),
        ([500], ATTEMPTS, Delivery(f"the webhook of {VARIABLE} answered 500", is_final=False)),
        ([404], 1, Delivery(f"the webhook of {VARIABLE} answered 404")),
        ([302], 1, Delivery(f"the webhook of {VARIABLE} answered 302")),
    ],
)
def test_it_tries_a_few_times_what_may_pass(
    monkeypatch: pytest.MonkeyPatch, answers: list[int], n_posts: int, delivery: Delivery
) -> None:
    with webhook_server(*answers) as hook:
        monkeypatch.setenv(VARIABLE, hook.url)
        assert post(VARIABLE, "Für dich", seconds_between=0) == delivery
    assert hook.bodies == [{"text": "Für dich"}] * n_posts


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{free_port()}{SECRET_PATH}")
    delivery = post(VARIABLE, "x", seconds_between=0)
    assert not delivery.is_final
    assert (
        delivery.problem == f"the webhook of {VARIABLE} cannot be reached: ConnectionRefusedError"
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "is not set"),
        (" ", "is not set"),
        ("file:///etc/secret-part", "holds is no http or https URL"),
        ("secret-part", "holds is no http or https URL"),
        ("http://[secret-part", "holds is no http or https URL"),
        ("http://127.0.0.1:1/secret part\n", "cannot be reached: InvalidURL"),
    ],
)
def test_what_cannot_be_posted_to_is_said_without_the_url(
    monkeypatch: pytest.MonkeyPatch, url: str | None, problem: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if url is not None:
        monkeypatch.setenv(VARIABLE, url)
    found = post(VARIABLE, "x", seconds_between=0).problem
    assert found is not None and problem in found and VARIABLE in found
    assert "secret" not in found
