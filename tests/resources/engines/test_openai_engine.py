"""The openai engine under fire: every way in which a server fails, over real HTTP on loopback."""

from __future__ import annotations

import base64
import email.utils
import gzip
import json
import logging
import random
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faulty_server import Body, Fault, FaultyServer
from support.journaled import generate_with_journal
from support.training_rows import STUDENT
from transformers import AutoTokenizer

from resources.engines import openai_client
from resources.engines.inference import InferenceModel
from resources.engines.journal import Journal
from resources.engines.model_folder import ModelFolderError, inspect_model
from resources.engines.openai_answers import UnknownFinishReasonError
from resources.engines.openai_budget import BudgetExceededError
from resources.engines.openai_client import RequestFailedError
from resources.engines.openai_engine import OpenAiEngine
from resources.engines.openai_pauses import backoff_seconds, retry_after_seconds
from resources.engines.openai_requests import UnsupportedRequestError
from resources.engines.openai_secrets import WITHHELD
from resources.engines.openai_servers import WrongModelError
from resources.engines.protocol import (
    Completion,
    EngineUnavailableError,
    GenerationRequest,
    Progress,
    Prompt,
    ScoringRequest,
)
from resources.engines.settings import OpenAiSettings

pytestmark = pytest.mark.slow

PASSWORD = "hunter" + "2"
KEY = "sk-very-secret-0123456789"
MESSAGES = [{"role": "user", "content": "What is 2 + 3? 数学"}]
QUICK: dict[str, Any] = {
    "served_model": "tiny", "concurrency": 4, "timeout_seconds": 20.0,
    "max_attempts": 4, "backoff_seconds": 0.001, "max_backoff_seconds": 0.002,
}  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny teacher's config and tokenizer, without its weights."""
    folder = tmp_path_factory.mktemp("hosted") / "teacher"
    shutil.copytree(
        STUDENT.parent / "teacher", folder, ignore=shutil.ignore_patterns("*.safetensors")
    )
    return folder


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def server(tokenizer: Any) -> Iterator[FaultyServer]:
    server = FaultyServer(tokenizer)
    yield server
    server.close()


Connect = Callable[..., OpenAiEngine]


@pytest.fixture
def connect(folder: Path, server: FaultyServer) -> Iterator[Connect]:
    """Engines on the faulty server; all are closed at the end."""
    engines = []

    def connect(**settings: Any) -> OpenAiEngine:
        chosen = {**QUICK, "base_url": server.base_url, **settings}
        engines.append(OpenAiEngine(str(folder), OpenAiSettings(**chosen)))
        return engines[-1]

    yield connect
    for engine in engines:
        engine.close()


def ask(engine: OpenAiEngine, n: int = 8) -> list[GenerationRequest]:
    prompt = engine.render(MESSAGES, reasoning_effort="high")
    return [GenerationRequest(prompt, 1.0, 1.0, 40, seed) for seed in range(n)]


def assert_right(
    server: FaultyServer,
    engine: OpenAiEngine,
    found: list[Completion],
    requests: list[GenerationRequest],
) -> None:
    """Every request is answered once, with its own tokens and logprobs."""
    by_key = {completion.key: completion for completion in found}
    assert len(found) == len(by_key) == len(requests)
    for request in requests:
        completion = by_key[request.key(engine.identity)]
        ids, logprobs = server.emitted(engine._body(request))
        assert completion.token_ids.tolist() == ids
        np.testing.assert_allclose(completion.logprobs, logprobs, rtol=1e-6)
        assert completion.finish_reason == "stop"


def kept_keys(
    journal_path: Path, engine: OpenAiEngine, requests: list[GenerationRequest]
) -> set[str]:
    """Keys of the requests that a journal has."""
    with Journal(journal_path) as journal:
        return {key for r in requests if (key := r.key(engine.identity)) in journal}


def once(fault: Fault, seed: int = 3) -> Callable[[Body, int], Fault | None]:
    """A fault at the first try of one request."""
    return lambda body, attempt: fault if (body.get("seed"), attempt) == (seed, 1) else None


def always(fault: Fault, seed: int = 3) -> Callable[[Body, int], Fault | None]:
    return lambda body, attempt: fault if body.get("seed") == seed else None


BOMB = gzip.compress(bytes(50 * 1024**2), compresslevel=1)

PASSING_FAULTS = {
    "429": Fault(429, {"Retry-After": "0"}, "slow down"),
    "500": Fault(500, text="oops"),
    "503": Fault(503, text="<html>starting</html>"),
    "reset": Fault(reset=True),
    "body cut off": Fault(truncate=True),
    "JSON cut off": Fault(text='{"model": "tiny", "choices": [{"te'),
    "no JSON": Fault(text="<html>proxy</html>"),
    "no choices": Fault(change=lambda answer: answer.pop("choices")),
    "empty choices": Fault(change=lambda answer: answer["choices"].clear()),
    "aborted": Fault(change=lambda answer: answer["choices"][0].update(finish_reason="abort")),
    "unfinished": Fault(change=lambda answer: answer["choices"][0].update(finish_reason=None)),
    "ids that are none": Fault(change=lambda a: a["choices"][0].update(token_ids=["x"])),
    "no text": Fault(change=lambda a: (a["choices"][0].pop("token_ids"),
                                       a["choices"][0].pop("text"))),
    "a list as text": Fault(change=lambda a: a["choices"][0].update(token_ids=None, text=["x"])),
    "ids beyond the vocabulary": Fault(change=lambda a: a["choices"][0].update(token_ids=[10**6])),
    "more tokens than asked": Fault(change=lambda a: a["choices"][0].update(token_ids=[5] * 41)),
    "another prompt": Fault(change=lambda a: a["choices"][0].update(prompt_token_ids=[1, 2])),
    "deep JSON": Fault(text="[" * 100_000),
    "numbers of 5,000 digits": Fault(text="9" * 5_000),
    "a body that grows": Fault(headers={"Content-Encoding": "gzip"}, raw=BOMB),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING_FAULTS)
def test_a_fault_that_passes_costs_one_more_try(
    server: FaultyServer, connect: Connect, name: str
) -> None:
    engine = connect()
    requests = ask(engine)
    server.fault = once(PASSING_FAULTS[name])
    assert_right(server, engine, list(engine.generate(requests)), requests)
    assert sorted(body["seed"] for body in server.asked) == sorted([*range(8), 3])


def test_a_hanging_request_is_given_up_and_asked_again(
    server: FaultyServer, connect: Connect
) -> None:
    engine = connect(timeout_seconds=1.0)
    requests = ask(engine)
    server.fault = once(Fault(hang_seconds=3.0))
    assert_right(server, engine, list(engine.generate(requests)), requests)
    assert len(server.asked) == 9


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(500, text="GPU fell off"), "HTTP 500: GPU fell off"),
        (Fault(429, text="quota"), "HTTP 429: quota"),
        (Fault(reset=True), "ReadError|RemoteProtocolError"),
        (Fault(text="{"), "no usable answer: the body is no JSON"),
    ],
)
def test_a_fault_that_stays_fails_with_the_request_and_the_last_answer(
    server: FaultyServer, connect: Connect, fault: Fault, said: str
) -> None:
    engine = connect()
    requests = ask(engine)
    server.fault = always(fault)
    key = requests[3].key(engine.identity)[:12]
    with pytest.raises(RequestFailedError, match=f"{key} failed at all 4 attempts: ({said})"):
        list(engine.generate(requests))
    assert [body["seed"] for body in server.asked].count(3) == 4


def test_another_word_for_stop_is_a_stop_and_an_unknown_one_is_bought_once(
    server: FaultyServer, connect: Connect
) -> None:
    engine = connect(concurrency=1)
    requests = ask(engine)
    server.fault = always(Fault(change=lambda a: a["choices"][0].update(finish_reason="eos")))
    assert_right(server, engine, list(engine.generate(requests)), requests)
    server.asked.clear()
    server.fault = always(Fault(change=lambda a: a["choices"][0].update(finish_reason="halt")))
    with pytest.raises(UnknownFinishReasonError, match="finish_reason 'halt', which is none of"):
        list(engine.generate(requests))
    assert [body["seed"] for body in server.asked] == [0, 1, 2, 3]


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refused_request_is_not_repeated(
    server: FaultyServer, connect: Connect, status: int
) -> None:
    engine = connect()
    server.fault = always(Fault(status, text="no " + "very " * 200 + "long"))
    with pytest.raises(RequestFailedError, match=rf"was refused: HTTP {status}: no very") as raised:
        list(engine.generate(ask(engine)))
    assert [body["seed"] for body in server.asked].count(3) == 1
    assert len(str(raised.value)) < 400


def test_a_prompt_beyond_the_servers_context_is_an_empty_completion(
    server: FaultyServer, connect: Connect
) -> None:
    engine = connect()
    requests = ask(engine)
    server.fault = always(Fault(400, text="This model's maximum context length is 9 tokens"))
    found = {c.key: c for c in engine.generate(requests)}
    refused = found.pop(requests[3].key(engine.identity))
    assert (len(refused.token_ids), refused.finish_reason) == (0, "length")
    assert_right(server, engine, list(found.values()), requests[:3] + requests[4:])


def test_retry_after_is_honoured(
    server: FaultyServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def remember(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(openai_client, "_pause", remember)
    engine = connect()
    server.fault = once(Fault(429, {"Retry-After": "17"}))
    requests = ask(engine)
    assert_right(server, engine, list(engine.generate(requests)), requests)
    assert pauses == [17.0]
    server.fault = always(Fault(429, {"Retry-After": "86400"}, "daily quota"))
    with pytest.raises(RequestFailedError, match="wants a pause of 86400 s: HTTP 429: daily quota"):
        list(engine.generate(requests))


def test_retry_after_is_seconds_or_a_date() -> None:
    now = 1_800_000_000.0
    assert retry_after_seconds("7", now) == 7.0
    assert retry_after_seconds(email.utils.formatdate(now + 90, usegmt=True), now) == 90.0
    assert retry_after_seconds(email.utils.formatdate(now - 90, usegmt=True), now) == 0.0
    assert retry_after_seconds("soon", now) is None
    assert retry_after_seconds(None, now) is None


def test_backoff_doubles_up_to_its_cap_with_full_jitter() -> None:
    settings = OpenAiSettings(
        base_url="http://x/v1", served_model="m", backoff_seconds=1.0, max_backoff_seconds=10.0
    )
    rng = random.Random(0)
    for attempt, longest in enumerate([1, 2, 4, 8, 10, 10], start=1):
        pauses = [backoff_seconds(attempt, settings, rng) for _ in range(300)]
        assert 0 <= min(pauses) < 0.1 * longest
        assert 0.9 * longest < max(pauses) <= longest
    assert backoff_seconds(10_000, settings, rng) <= 10.0


def test_concurrency_is_bounded_and_used(server: FaultyServer, connect: Connect) -> None:
    engine = connect(concurrency=5)
    requests = ask(engine, 60)
    server.meet = 5
    assert_right(server, engine, list(engine.generate(requests)), requests)
    assert server.most_at_once == 5


def test_a_slow_reader_slows_the_asking(server: FaultyServer, connect: Connect) -> None:
    engine = connect(concurrency=3)
    answers = engine.generate(ask(engine, 100))
    taken = [next(answers) for _ in range(4)]
    # At most 2 x concurrency are under way or finished and not taken.
    assert len(taken) <= len(server.asked) <= 4 + 6
    answers.close()


def test_a_caller_who_stops_cancels_what_is_under_way(
    server: FaultyServer, connect: Connect
) -> None:
    engine = connect()
    server.fault = lambda body, attempt: Fault(hang_seconds=2.0) if body.get("seed") else None
    answers = engine.generate(ask(engine, 50))
    next(answers)
    answers.close()
    server.fault = lambda body, attempt: None
    requests = ask(engine, 1)
    assert_right(server, engine, list(engine.generate(requests)), requests)
    # A cancelled request can reach the server after the call has ended; 42 of 50 never do.
    assert len(server.asked) <= 8 + 1
    engine.close()
    engine.close()
    assert not [t for t in threading.enumerate() if t.name == "openai-client" and t.is_alive()]


def test_answers_before_a_failure_are_given_out_first(
    server: FaultyServer, connect: Connect
) -> None:
    engine = connect(concurrency=1)
    server.fault = always(Fault(400), seed=3)
    found = []
    with pytest.raises(RequestFailedError):
        for completion in engine.generate(ask(engine)):
            found.append(completion)
    assert_right(server, engine, found, ask(engine, 3))


# What servers leave out


def test_missing_logprobs_stay_missing(server: FaultyServer, connect: Connect) -> None:
    server.with_logprobs = False
    engine = connect()
    completion = next(engine.generate(ask(engine, 1)))
    assert len(completion.token_ids) > 0
    assert len(completion.logprobs) == 0


def test_fewer_and_non_finite_logprobs_stay_as_they_are(
    server: FaultyServer, connect: Connect
) -> None:
    def change(answer: Body) -> None:
        listed = answer["choices"][0]["logprobs"]
        listed["token_logprobs"] = [None, float("nan"), float("-inf"), -9999.0, "x", -0.5]
        answer["choices"][0]["token_ids"] = list(range(20, 27))

    server.fault = lambda body, attempt: Fault(change=change) if "seed" in body else None
    engine = connect()
    completion = next(engine.generate(ask(engine, 1)))
    assert completion.token_ids.tolist() == list(range(20, 27))
    assert np.isfinite(completion.logprobs).tolist() == [False] * 5 + [True]


def test_an_empty_completion(server: FaultyServer, connect: Connect) -> None:
    def change(answer: Body) -> None:
        answer["choices"] = [{"text": "", "finish_reason": "content_filter", "logprobs": None}]

    server.fault = lambda body, attempt: Fault(change=change) if "seed" in body else None
    engine = connect()
    completion = next(engine.generate(ask(engine, 1)))
    assert (completion.token_ids.tolist(), completion.logprobs.tolist()) == ([], [])
    assert completion.finish_reason == "content_filter"


def test_token_strings_are_mapped_where_a_server_gives_no_ids(
    server: FaultyServer, connect: Connect
) -> None:
    server.owned_by = "someone"
    engine = connect()
    requests = ask(engine, 40)
    by_key = {c.key: c for c in engine.generate(requests)}
    n_mapped = 0
    for request in requests:
        body = engine._body(request)
        assert "return_token_ids" not in body
        ids, logprobs = server.emitted(body)
        completion = by_key[request.key(engine.identity)]
        decoded = [engine.tokenizer.decode([i]) for i in ids]
        if any("�" in name for name in decoded):  # part of a character: the name is lost
            assert len(completion.logprobs) == 0
        else:
            n_mapped += 1
            assert completion.token_ids.tolist() == ids
            np.testing.assert_allclose(completion.logprobs, logprobs, rtol=1e-6)
    assert n_mapped > 5


def test_bytes_and_placeholders_name_tokens_too(connect: Connect) -> None:
    engine = connect()
    ids = engine.tokenizer.encode("数 x")
    pieces = [engine._reader._table.decode(np.array([i])) for i in ids]
    escaped = ["bytes:" + "".join(f"\\x{byte:02x}" for byte in piece) for piece in pieces]
    for names in (escaped, [f"token_id:{i}" for i in ids]):
        listed = {"tokens": names, "token_logprobs": [-1.0] * len(ids)}
        read = engine._reader.read({"text": "数 x", "logprobs": listed}, 40, engine.format)
        assert read.token_ids.tolist() == ids
        assert len(read.logprobs) == len(ids)


# The right model, before anything is spent


def test_a_server_without_the_model_is_refused_with_what_it_has(connect: Connect) -> None:
    with pytest.raises(EngineUnavailableError, match=r"not have the model 'big'; it has: tiny"):
        connect(served_model="big")


def test_no_server_is_an_error_with_its_address(connect: Connect) -> None:
    with pytest.raises(
        EngineUnavailableError, match=r"no usable server at http://127\.0\.0\.1:9/v1"
    ):
        connect(base_url="http://127.0.0.1:9/v1")


def test_a_server_that_is_no_api_is_refused(server: FaultyServer, connect: Connect) -> None:
    server.fault = lambda body, attempt: Fault(text="[1]")
    with pytest.raises(EngineUnavailableError, match="does not list models"):
        connect()
    server.fault = lambda body, attempt: Fault(404, text="nothing here")
    with pytest.raises(EngineUnavailableError, match="HTTP 404: nothing here"):
        connect()


def test_another_model_in_the_answer_stops_before_anything_is_spent(
    server: FaultyServer, connect: Connect
) -> None:
    engine = connect()
    server.answers_as = "tiny-quantized"
    with pytest.raises(WrongModelError, match="for 'tiny' and answered with 'tiny-quantized'"):
        list(engine.generate(ask(engine)))
    assert not server.asked


def test_another_model_in_a_later_answer_stops_the_step(
    server: FaultyServer, connect: Connect
) -> None:
    engine = connect()
    server.fault = always(Fault(change=lambda answer: answer.update(model="other")))
    with pytest.raises(WrongModelError, match="'other'"):
        list(engine.generate(ask(engine)))


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_logprobs_that_depend_on_the_temperature_are_refused(
    server: FaultyServer, connect: Connect, endpoint: str
) -> None:
    server.processed_logprobs = True
    engine = connect(endpoint=endpoint)
    with pytest.raises(EngineUnavailableError, match="--logprobs-mode raw_logprobs"):
        list(engine.generate(ask(engine)))
    assert not server.asked


# The budget


@pytest.mark.parametrize(
    "limit",
    [
        {"max_total_tokens": 700},
        {"max_cost": 0.7, "price_per_million_prompt_tokens": 1000.0,
         "price_per_million_completion_tokens": 1000.0},
    ],
)  # fmt: skip
def test_a_spent_budget_stops_cleanly_and_a_larger_one_goes_on(
    server: FaultyServer, connect: Connect, tmp_path: Path, limit: dict[str, float]
) -> None:
    engine = connect(**limit)
    requests = ask(engine, 60)
    with pytest.raises(BudgetExceededError) as raised:
        list(generate_with_journal(engine, requests, tmp_path / "journal"))
    spent = engine._budget.prompt_tokens + engine._budget.completion_tokens
    assert 700 <= spent < 700 + 4 * 100
    n_asked = len(server.asked)
    assert len(kept_keys(tmp_path / "journal", engine, requests)) == n_asked < 60
    assert f"{60 - n_asked} requests were not sent" in str(raised.value)
    assert f"{engine._budget.prompt_tokens} prompt" in str(raised.value)
    whole = connect()
    assert_right(
        server, whole, list(generate_with_journal(whole, requests, tmp_path / "journal")), requests
    )
    assert len(server.asked) == 60


def test_tokens_are_counted_where_usage_is_missing(server: FaultyServer, connect: Connect) -> None:
    engine = connect()
    server.fault = lambda body, attempt: Fault(change=lambda a: a.pop("usage", None))
    requests = ask(engine, 3)
    found = list(engine.generate(requests))
    n_prompt = len(requests[0].prompt.token_ids)
    assert engine._budget.prompt_tokens - 3 * n_prompt in range(0, 3 * n_prompt)  # and the probes
    assert engine._budget.completion_tokens >= sum(len(c.token_ids) for c in found)


# The journal


def test_a_retry_asks_only_for_what_is_missing(
    server: FaultyServer, connect: Connect, tmp_path: Path
) -> None:
    engine = connect(concurrency=2)
    requests = ask(engine, 20)
    server.fault = always(Fault(500), seed=11)
    with pytest.raises(RequestFailedError):
        list(generate_with_journal(engine, requests, tmp_path / "journal"))
    kept = kept_keys(tmp_path / "journal", engine, requests)
    server.fault = lambda body, attempt: None
    server.asked.clear()
    found = list(generate_with_journal(engine, requests, tmp_path / "journal"))
    assert_right(server, engine, found, requests)
    missing = {r.seed for r in requests if r.key(engine.identity) not in kept}
    assert 11 in missing
    assert len(missing) < 20
    assert sorted(body["seed"] for body in server.asked) == sorted(missing)


def test_reordered_and_edited_questions_never_get_the_row_of_another(
    server: FaultyServer, connect: Connect, tmp_path: Path
) -> None:
    engine = connect()

    def asked_of(questions: list[str]) -> list[GenerationRequest]:
        prompts = [engine.render([{"role": "user", "content": text}]) for text in questions]
        return [GenerationRequest(prompt, 1.0, 1.0, 40, 7) for prompt in prompts]

    questions = [f"What is {n} + {n}?" for n in range(12)]
    journal = tmp_path / "journal"
    list(generate_with_journal(engine, asked_of(questions), journal))
    assert len(server.asked) == 12
    edited = [*reversed(questions[1:]), "What is 0 + 1?", "A new one?"]
    edited[4] += " Think."
    random.Random(1).shuffle(edited)
    requests = asked_of(edited)
    assert_right(server, engine, list(generate_with_journal(engine, requests, journal)), requests)
    assert len(server.asked) == 12 + 3


# Chat


def test_chat_sends_messages_and_maps_the_tokens(server: FaultyServer, connect: Connect) -> None:
    server.owned_by = "someone"
    engine = connect(endpoint="chat")
    assert engine.identity.engine == "openai-chat"
    requests = ask(engine)
    found = list(engine.generate(requests))
    body = server.asked[0]
    assert body["messages"] == MESSAGES
    assert (body["reasoning_effort"], body["logprobs"]) == ("high", True)
    assert "prompt" not in body
    by_key = {c.key: c for c in found}
    n_exact = 0
    for request in requests:
        ids, logprobs = server.emitted(engine._body(request))
        completion = by_key[request.key(engine.identity)]
        text = engine.tokenizer.decode(ids[:-1])
        if "�" in text:  # the content spells something else than the tokens
            assert len(completion.logprobs) == 0
            continue
        n_exact += 1
        assert completion.token_ids.tolist() == ids
        np.testing.assert_allclose(completion.logprobs, logprobs, rtol=1e-6)
    assert n_exact


@pytest.mark.parametrize(
    ("message", "reason", "wire"),
    [
        ({"content": "Four.", "reasoning": "2 + 2"}, "stop",
         "<|channel|>analysis<|message|>2 + 2<|end|>"
         "<|start|>assistant<|channel|>final<|message|>Four."),
        ({"content": "Four.", "reasoning_content": "2 + 2"}, "stop",
         "<|channel|>analysis<|message|>2 + 2<|end|>"
         "<|start|>assistant<|channel|>final<|message|>Four."),
        ({"content": None, "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]},
         "tool_calls",
         "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{}<|call|>"),
    ],
)  # fmt: skip
def test_parts_delivered_apart_keep_their_text_and_have_no_logprobs(
    server: FaultyServer, connect: Connect, message: Body, reason: str, wire: str
) -> None:
    def change(answer: Body) -> None:
        content = [{"token": "Four", "bytes": list(b"Four"), "logprob": -0.1}]
        answer["choices"] = [
            {"message": message, "finish_reason": reason, "logprobs": {"content": content}}
        ]

    server.owned_by = "someone"
    server.fault = lambda body, attempt: Fault(change=change) if "seed" in body else None
    engine = connect(endpoint="chat")
    completion = next(engine.generate(ask(engine, 1)))
    assert engine.tokenizer.decode(completion.token_ids) == wire
    assert completion.finish_reason == reason
    assert len(completion.logprobs) == 0


def test_chat_refuses_what_it_cannot_do_before_anything_is_sent(
    server: FaultyServer, connect: Connect
) -> None:
    server.owned_by = "someone"
    engine = connect(endpoint="chat")
    [plain] = ask(engine, 1)
    for request, message in (
        (replace(plain, prefix_token_ids=(5,)), "cannot continue a given text"),
        (replace(plain, prompt=Prompt((5, 6))), "needs a prompt with its messages"),
        (replace(plain, prompt=engine.render(MESSAGES, tools=None)), "no template settings but"),
    ):
        with pytest.raises(UnsupportedRequestError, match=message):
            list(engine.generate([plain, request]))
    with pytest.raises(UnsupportedRequestError, match="cannot score"):
        list(engine.score([ScoringRequest("a", (5,), (6,))]))
    assert not server.asked


# Scoring


def test_scores_come_from_prompt_logprobs(server: FaultyServer, connect: Connect) -> None:
    engine = connect()
    found = list(
        engine.score([ScoringRequest("a", (30, 31), (40, 50)), ScoringRequest("b", (9,), (7,))])
    )
    by_key = {scores.key: scores for scores in found}
    np.testing.assert_allclose(by_key["a"].logprobs, [-0.04, -0.05], rtol=1e-6)
    assert by_key["a"].ranks.tolist() == [40, 50]
    assert by_key["b"].ranks.tolist() == [7]


def test_a_server_that_cannot_score_says_so(server: FaultyServer, connect: Connect) -> None:
    server.owned_by = "someone"
    engine = connect()
    with pytest.raises(UnsupportedRequestError, match="no prompt_logprobs"):
        list(engine.score([ScoringRequest("a", (30, 31), (40, 50))]))


# The folder


def test_config_and_tokenizer_are_enough_for_a_model_behind_a_server(folder: Path) -> None:
    with pytest.raises(ModelFolderError, match="no weights"):
        inspect_model(str(folder))
    served = inspect_model(str(folder), weights=False)
    assert (served.n_parameters, served.max_position_embeddings) == (0, 1024)
    model = InferenceModel(path=str(folder), engine={"kind": "openai"})
    assert model.inspect() == served
    assert model.tokenizer().eos_token == "<|return|>"
    with pytest.raises(ModelFolderError, match="no weights"):
        InferenceModel(path=str(folder), engine={"kind": "vllm"}).inspect()


# Secrets


def test_the_key_is_sent_and_never_told(
    server: FaultyServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TEACHER_KEY", f"{KEY}\n")
    engine = connect(api_key_env="TEACHER_KEY")
    requests = ask(engine)
    list(engine.generate(requests))
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    told = [repr(engine), repr(engine.identity), repr(engine._settings), repr(vars(engine))]
    for fault in (
        Fault(401, text=f"bad key {KEY}"),
        Fault(400, text=json.dumps({"error": f"Bearer {KEY}"})),
        Fault(500, {"X-Key": KEY}, "x" * 290 + KEY),
        Fault(text=KEY),
        Fault(change=lambda answer: answer["choices"][0].update(finish_reason=KEY)),
        Fault(change=lambda answer: answer.update(model=KEY)),
        Fault(400, text=base64.b64encode(f"Bearer {KEY}".encode()).decode()),
        Fault(400, text=f"no such key: {KEY[:14]}***"),
    ):
        server.fault = always(fault)
        with pytest.raises((RequestFailedError, EngineUnavailableError)) as raised:
            list(engine.generate(requests))
        told += traceback.format_exception(raised.value)
        told += [repr(raised.value.__context__), repr(raised.value.__cause__)]
    assert f"$TEACHER_KEY: HTTP 401: {WITHHELD}" in "".join(told)
    assert KEY not in "".join(told)
    assert base64.b64encode(KEY.encode()).decode()[8:24] not in "".join(told)
    assert KEY[:12] not in "".join(told)
    assert KEY not in caplog.text


def test_a_key_that_is_not_set_or_cannot_be_sent_names_its_variable(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    with pytest.raises(EngineUnavailableError, match="TEACHER_KEY with the API key is not"):
        connect(api_key_env="TEACHER_KEY")
    monkeypatch.setenv("TEACHER_KEY", "sk-a\nb")
    with pytest.raises(EngineUnavailableError, match="variable TEACHER_KEY holds") as raised:
        connect(api_key_env="TEACHER_KEY")
    assert "sk-a" not in str(raised.value)


def test_a_url_with_a_password_is_refused_without_telling_it(connect: Connect) -> None:
    with pytest.raises(ValueError, match="neither user nor password") as raised:
        connect(base_url=f"http://user:{PASSWORD}@127.0.0.1:9/v1")
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_a_budget_of_money_needs_prices() -> None:
    with pytest.raises(ValueError, match="max_cost needs price_per_million"):
        OpenAiSettings(base_url="http://x/v1", served_model="m", max_cost=5.0)


@pytest.mark.parametrize(
    ("owned_by", "under_way"), [("vllm", 30), ("somebody", 0)], ids=["vllm", "no metrics"]
)
def test_progress_is_told_while_no_answer_is_finished(
    server: FaultyServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    owned_by: str,
    under_way: int,
) -> None:
    """By vLLM's own count of tokens, else by how many answers the server is at."""
    monkeypatch.setattr(openai_client, "SECONDS_OF_SILENCE", 0.01)
    server.owned_by = owned_by
    looks = iter([1_000])
    seen = threading.Event()

    def fault(body: Body, attempt: int) -> Fault | None:
        if body.get("path") == "/metrics":
            total = next(looks, 1_030)
            return Fault(text=f'vllm:generation_tokens_total{{model_name="tiny"}} {total:.1f}\n')
        if any(body is one for one in server.asked):  # and no probe
            seen.wait(20)
        return None

    server.fault = fault
    engine = connect()
    told: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        told.append(progress)
        if progress.answers_under_way == 3 and progress.under_way == under_way:
            seen.set()

    requests = ask(engine, 3)
    found = list(engine.generate(requests, on_progress))
    assert seen.is_set()
    assert (told[-1].done, told[-1].under_way) == (3, 0)
    assert told[-1].n_tokens == sum(len(each.token_ids) for each in found)
