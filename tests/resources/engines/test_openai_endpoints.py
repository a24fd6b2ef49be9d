"""Several servers with one model: balanced, one that dies left out, one that comes back used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.faulty_server import Body, Fault, FaultyServer
from support.ports import free_port
from support.training_rows import STUDENT
from transformers import AutoTokenizer

from resources.engines.openai_endpoints import Endpoints
from resources.engines.openai_engine import OpenAiEngine
from resources.engines.openai_servers import WrongModelError
from resources.engines.protocol import Completion, EngineUnavailableError, GenerationRequest
from resources.engines.settings import OpenAiSettings

URLS = ("http://a/v1", "http://b/v1", "http://c/v1")
TEACHER = STUDENT.parent / "teacher"
QUICK: dict[str, Any] = {
    "served_model": "tiny", "concurrency": 6, "timeout_seconds": 20.0, "max_attempts": 4,
    "backoff_seconds": 0.001, "max_backoff_seconds": 0.002,
}  # fmt: skip


# Who is asked


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def three(clock: Clock) -> Endpoints:
    settings = OpenAiSettings(
        base_urls=URLS, served_model="m", backoff_seconds=1.0, max_backoff_seconds=10.0
    )
    return Endpoints(settings, clock)


def test_the_one_with_the_fewest_under_way_is_asked() -> None:
    endpoints = three(Clock())
    a, b, c = endpoints.all
    with endpoints.asking(a), endpoints.asking(b):
        assert endpoints.choose() is c
        with endpoints.asking(c):
            assert endpoints.choose() is a
    assert endpoints.choose(avoid=a) is b
    for _ in range(2):
        with endpoints.asking(b):
            pass
    assert endpoints.choose(avoid=a) is c, "of idle ones the least used"


def test_a_dead_one_rests_longer_each_time_and_is_tried_by_one_request() -> None:
    clock = Clock()
    endpoints = three(clock)
    a, b, c = endpoints.all
    for pause in (1.0, 2.0, 4.0, 8.0, 10.0, 10.0):
        assert endpoints.found_dead(a, clock.now, "reset") is True
        clock.now += pause - 0.01
        assert endpoints.choose() is not a
        clock.now += 0.02
        assert a.is_ready(clock.now)
        with endpoints.asking(a):
            assert not a.is_ready(clock.now)
    endpoints.answered(a, clock.now - 100)
    assert a.failures, "that answer may have left before it died"
    endpoints.answered(a, clock.now)
    with endpoints.asking(b), endpoints.asking(c):
        assert endpoints.choose() is a


def test_all_requests_that_die_with_a_server_are_one_failure() -> None:
    clock = Clock()
    endpoints = three(clock)
    a = endpoints.all[0]
    began = clock.now
    clock.now += 5
    for _ in range(50):
        endpoints.found_dead(a, began, "reset")
    assert a.failures == 1


def test_where_all_are_dead_one_is_asked_all_the_same() -> None:
    clock = Clock()
    endpoints = three(clock)
    a, b, c = endpoints.all
    assert [endpoints.found_dead(one, clock.now, "reset") for one in (a, b)] == [True, True]
    assert endpoints.found_dead(c, clock.now, "reset") is False, "nobody is ready: wait"
    assert endpoints.choose(avoid=a) in (b, c)


# Over HTTP


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(TEACHER)


Serve = Callable[..., FaultyServer]


@pytest.fixture
def serve(tokenizer: Any) -> Iterator[Serve]:
    servers = []

    def serve(**settings: Any) -> FaultyServer:
        servers.append(FaultyServer(tokenizer, **settings))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


Connect = Callable[..., OpenAiEngine]


@pytest.fixture
def connect() -> Iterator[Connect]:
    engines = []

    def connect(*urls: str, **settings: Any) -> OpenAiEngine:
        chosen = OpenAiSettings(**{**QUICK, **settings}, base_urls=urls)
        engines.append(OpenAiEngine(str(TEACHER), chosen))
        return engines[-1]

    yield connect
    for engine in engines:
        engine.close()


def ask(engine: OpenAiEngine, n: int) -> list[GenerationRequest]:
    prompt = engine.render([{"role": "user", "content": "What is 2 + 3?"}])
    return [GenerationRequest(prompt, 1.0, 1.0, 40, seed) for seed in range(n)]


def assert_right(
    server: FaultyServer, engine: OpenAiEngine, found: list[Completion], n: int
) -> None:
    """Every request is answered once, as every server answers it."""
    by_key = {completion.key: completion.token_ids.tolist() for completion in found}
    requests = ask(engine, n)
    assert len(found) == n
    assert by_key == {r.key(engine.identity): server.emitted(engine._body(r))[0] for r in requests}


def test_requests_are_spread_and_keys_do_not_know_the_server(
    serve: Serve, connect: Connect
) -> None:
    servers = [serve(), serve(), serve()]
    for server in servers:
        server.meet = 2  # of six at once two are here
    engine = connect(*(server.base_url for server in servers))
    assert_right(servers[0], engine, list(engine.generate(ask(engine, 60))), 60)
    assert [server.most_at_once for server in servers] == [2, 2, 2]
    alone = connect(servers[0].base_url)
    keys = [[r.key(e.identity) for r in ask(e, 3)] for e in (engine, alone)]
    assert keys[0] == keys[1]


def test_a_server_that_dies_is_left_out_and_its_requests_go_to_the_others(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    dying, living = serve(), serve()
    engine = connect(
        dying.base_url, living.base_url, max_attempts=2, backoff_seconds=600.0,
        max_backoff_seconds=600.0,
    )  # fmt: skip
    # A pause of this length would show: requests that another server can take do not wait.
    dying.fault = lambda body, attempt: Fault(reset=True) if body.get("seed", 0) > 10 else None
    assert_right(living, engine, list(engine.generate(ask(engine, 60))), 60)
    assert len(dying.asked) < 12 + 6
    [told] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"{dying.base_url} is left out for 600 s" in told


def test_a_server_that_comes_back_is_used_again(serve: Serve, connect: Connect) -> None:
    tired, other = serve(), serve()
    engine = connect(tired.base_url, other.base_url)
    failing = threading.Event()
    failing.set()
    tired.fault = lambda body, attempt: (
        Fault(503, text="starting") if "seed" in body and failing.is_set() else None
    )

    def found() -> Iterator[Completion]:
        for number, completion in enumerate(engine.generate(ask(engine, 200))):
            if number == 20:
                failing.clear()
            yield completion

    # The probes have a seed as well: they are answered before the server tires.
    failing.clear()
    engine._probe(engine._body(ask(engine, 1)[0]))
    failing.set()
    assert_right(other, engine, list(found()), 200)
    assert len(tired.asked) > 20


def test_one_that_is_down_at_the_start_is_left_out_and_told(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    down = f"http://127.0.0.1:{free_port()}/v1"
    engine = connect(down, server.base_url)
    assert list(engine.left_out) == [down]
    assert f"{down} is left out until the next step" in caplog.text
    assert_right(server, engine, list(engine.generate(ask(engine, 8))), 8)


def test_all_down_is_an_error_that_names_each(connect: Connect) -> None:
    down = [f"http://127.0.0.1:{free_port()}/v1" for _ in range(2)]
    with pytest.raises(EngineUnavailableError, match="no usable server") as raised:
        connect(*down)
    assert all(url in str(raised.value) for url in down)


def test_a_server_with_another_model_is_refused_at_the_start(
    serve: Serve, connect: Connect
) -> None:
    right, wrong = serve(), serve(model="another")
    with pytest.raises(
        EngineUnavailableError, match=r"does not have .*; it has: another"
    ) as raised:
        connect(right.base_url, wrong.base_url)
    assert wrong.base_url in str(raised.value)
    with pytest.raises(EngineUnavailableError, match="some are vLLM and some are not"):
        connect(right.base_url, serve(owned_by="someone").base_url)


def test_the_logprobs_of_every_server_are_examined(serve: Serve, connect: Connect) -> None:
    right, wrong = serve(), serve()
    wrong.processed_logprobs = True
    engine = connect(right.base_url, wrong.base_url)
    with pytest.raises(EngineUnavailableError, match="raw_logprobs") as raised:
        list(engine.generate(ask(engine, 4)))
    assert wrong.base_url in str(raised.value)
    assert not right.asked


def test_an_answer_of_another_model_names_its_server(serve: Serve, connect: Connect) -> None:
    right, wrong = serve(), serve()
    engine = connect(right.base_url, wrong.base_url)

    def rename(answer: Body) -> None:
        answer["model"] = "other"

    wrong.fault = lambda body, attempt: Fault(change=rename) if "seed" in body else None
    with pytest.raises(WrongModelError, match="'other'") as raised:
        list(engine.generate(ask(engine, 20)))
    assert wrong.base_url in str(raised.value)


# How they are named


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "one of base_url and base_urls is needed"),
        ({"base_url": URLS[0], "base_urls": URLS}, "and not both"),
        ({"base_urls": (URLS[0], URLS[0] + "/")}, "twice"),
        ({"base_urls": (URLS[0], "http://user:hunter@b/v1")}, "neither user nor password"),
        ({"base_urls": (URLS[0], "http://b/v1?api_key=hunter")}, r"nor anything behind \?"),
        ({"base_url": "http://b/v1?api_key=hunter"}, r"nor anything behind \?"),
        ({"base_url": "http://b/v1#hunter"}, r"nor anything behind \?"),
        ({"base_url": "http://b/v1?"}, r"nor anything behind \?"),
        ({"base_url": "hunter@b/v1"}, "pattern"),
        ({"base_url": URLS[0], "api_key_env": "sk-hunter"}, "pattern"),
    ],
)
def test_urls_that_cannot_be_used(named: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        OpenAiSettings(served_model="m", **named)
    assert "hunter" not in str(raised.value)


def test_one_url_is_a_list_of_one() -> None:
    assert OpenAiSettings(base_url="http://a/v1/", served_model="m").urls == ("http://a/v1",)
    assert OpenAiSettings(base_urls=URLS, served_model="m").urls == URLS
