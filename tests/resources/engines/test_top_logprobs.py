"""The likeliest tokens of each position: from the engines into the journal, or refused."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from support.faulty_server import Body, Fault, FaultyServer
from support.training_rows import STUDENT
from transformers import AutoTokenizer

from dasd_assets.answering.logprobs import top_breaks
from formats.model_format import student_format
from resources.engines.journal_records import encode, read_record
from resources.engines.openai_answers import AnswerReader
from resources.engines.openai_bodies import MalformedAnswerError
from resources.engines.openai_engine import OpenAiEngine
from resources.engines.protocol import (
    NO_TOP,
    Completion,
    GenerationRequest,
    ModelIdentity,
    Prompt,
    TopLogprobs,
)
from resources.engines.settings import MOST_TOP, OpenAiSettings
from resources.engines.transformers_engine import TransformersEngine

TEACHER = STUDENT.parent / "teacher"
TOKENIZER: Any = AutoTokenizer.from_pretrained(TEACHER)
VOCABULARY = len(TOKENIZER)
READER, WRITTEN = AnswerReader(TOKENIZER, VOCABULARY), student_format(TOKENIZER)
IDS = TOKENIZER.encode("It is 5.", add_special_tokens=False)
MESSAGES = [{"role": "user", "content": "What is 2 + 3?"}]


def test_an_engine_tells_as_many_as_each_request_asks_for(engine: TransformersEngine) -> None:
    plain = GenerationRequest(engine.render(MESSAGES), 1.0, 1.0, 16, 0)
    requests = [replace(plain, seed=n, top_logprobs=k) for n, k in enumerate((0, 3, 0, 5))]
    found = {one.key: one for one in engine.generate(requests)}
    for request in requests:
        one = found[request.key(engine.identity)]
        k = request.top_logprobs
        assert one.top.token_ids.shape == ((len(one.token_ids), k) if k else (0, 0))
        if k:
            broken = top_breaks(one.token_ids, one.logprobs, one.top.token_ids, one.top.logprobs)
            assert not any(len(positions) for positions in broken.values())
    (alone,) = engine.generate([replace(requests[3], top_logprobs=0)])
    assert alone.token_ids.tolist() == found[requests[3].key(engine.identity)].token_ids.tolist()


def test_without_them_keys_and_records_are_what_they_were() -> None:
    identity = ModelIdentity("m", "r", "e", "1")
    request = GenerationRequest(Prompt((1, 2)), 1.0, 0.9, 8, 3)
    shape = ["m", "r", "e", "raw_logprobs", (1, 2), (), (), (), 1.0, 0.9, 8, 3]
    assert request.key(identity) == hashlib.sha256(json.dumps(shape).encode()).hexdigest()
    assert len({replace(request, top_logprobs=k).key(identity) for k in range(4)}) == 4
    ids, logprobs = np.array([5, 6], np.int32), np.array([-1.0, -2.0], np.float32)
    key = request.key(identity)
    payload = struct.pack("<32sBII", bytes.fromhex(key), 1, 2, 2) + ids.tobytes()
    payload += logprobs.tobytes()
    record = struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
    assert encode(Completion(key, ids, logprobs, "length")) == record


@pytest.mark.parametrize("k", [0, 1, MOST_TOP])
def test_the_journal_gives_them_back(k: int) -> None:
    rng = np.random.default_rng(k)
    top = TopLogprobs(rng.integers(-1, 9, (3, k), dtype=np.int32), -rng.random((3, k), np.float32))
    whole = Completion("ab" * 32, np.arange(3, dtype=np.int32), np.zeros(3, "f4"), "stop",
                       top if k else NO_TOP)  # fmt: skip
    found = read_record(io.BytesIO(encode(whole)), 0)
    assert found is not None
    assert found.finish_reason == "stop"
    assert found.top.token_ids.tolist() == whole.top.token_ids.tolist()
    assert found.top.logprobs.tolist() == whole.top.logprobs.tolist()


def completion(*likely: dict[str, Any]) -> dict[str, Any]:
    """An answer of the completions endpoint of as many tokens as there are lists."""
    ids = IDS[: len(likely)]
    names = [f"token_id:{index}" for index in ids]
    return {
        "finish_reason": "stop", "text": TOKENIZER.decode(ids), "token_ids": ids,
        "logprobs": {
            "tokens": names, "token_logprobs": [-1.0] * len(ids), "top_logprobs": [*likely]
        },
    }  # fmt: skip


def chat(*likely: list[dict[str, Any]]) -> dict[str, Any]:
    ids = IDS[: len(likely)]
    content = [
        {"token": (name := TOKENIZER.decode([index])), "bytes": list(name.encode()),
         "logprob": -1.0, "top_logprobs": one}
        for index, one in zip(ids, likely, strict=True)
    ]  # fmt: skip
    message = {"role": "assistant", "content": TOKENIZER.decode(ids)}
    return {"finish_reason": "stop", "message": message, "logprobs": {"content": content}}


def named(*entries: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"token": name, "logprob": value} for name, value in entries]


TWO = {"token_id:7": -0.5, "token_id:8": -1.5}


def test_the_likeliest_come_first_and_the_emitted_token_is_one_more_at_most() -> None:
    top = READER.read(
        completion({"token_id:9": -3.0, **TWO}, {"token_id:8": -2.0, "token_id:7": -0.5}),
        20, WRITTEN, None, 2,
    ).top  # fmt: skip
    assert top.token_ids.tolist() == [[7, 8], [7, 8]]
    assert top.logprobs.tolist() == [[-0.5, -1.5], [-0.5, -2.0]]
    # By name and bytes; what the tokenizer has not, has a probability all the same.
    name = TOKENIZER.decode([IDS[0]])
    likely = [{"token": name, "bytes": list(name.encode()), "logprob": -1.0},
              *named(("\ufffd\ufffd no token", -0.5))]  # fmt: skip
    top = READER.read(chat(likely), 20, WRITTEN, None, 2).top
    assert top.token_ids.tolist() == [[-1, IDS[0]]]
    assert top.logprobs.tolist() == [[-0.5, -1.0]]


def test_what_a_server_does_not_tell_is_not_known() -> None:
    answer = completion(TWO, TWO)
    answer["logprobs"]["token_logprobs"][1] = None
    answer["logprobs"]["top_logprobs"][1] = None
    top = READER.read(answer, 20, WRITTEN, None, 2).top
    assert top.token_ids.tolist() == [[7, 8], [-1, -1]]
    assert np.isnan(top.logprobs[1]).all()
    untold = {"finish_reason": "stop", "text": "It is 5.", "logprobs": None}
    emitted = READER.read(untold, 20, WRITTEN, None, 2)
    assert emitted.top.token_ids.shape == (len(emitted.token_ids), 2)
    assert np.isnan(emitted.top.logprobs).all()


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "fewer": (completion({"token_id:7": -0.5}), "1 likely tokens at token 0, not 2"),
    "more": (completion({f"token_id:{n}": -1.0 for n in range(4)}), "4 likely tokens at token 0"),
    "fewer in chat": (chat(named(("a", -1.0))), "1 likely tokens at token 0, not 2"),
    "more in chat": (chat(named(*[("a", -1.0)] * 4)), "4 likely tokens at token 0, not 2"),
    "of fewer tokens": (
        completion(TWO, TWO) | {"logprobs": completion(TWO, TWO)["logprobs"] | {
            "top_logprobs": [TWO]}},
        "likeliest tokens of 1 tokens, of 2",
    ),
    "none": (chat([]), "0 likely tokens at token 0"),
    "null": (completion({}) | {"logprobs": {"tokens": ["a"], "token_logprobs": [-1.0]}},
             "likeliest tokens of 0 tokens"),
    "positive": (completion({"token_id:7": 0.5, "token_id:8": -1.5}), "0.5 as the logprob"),
    "text": (chat(named(("a", "-0.5"), ("b", -1.0))), "a str as the logprob"),
    "true": (chat(named(("a", True), ("b", -1.0))), "a bool as the logprob"),
    "null as a number": (chat(named(("a", None), ("b", -1.0))), "a NoneType as the logprob"),
    "not a number": (chat(named(("a", float("nan")), ("b", -1.0))), "nan as the logprob"),
    "minus infinity": (chat(named(("a", -np.inf), ("b", -1.0))), "-inf as the logprob"),
    "vLLM's stand-in for it": (chat(named(("a", -9999.0), ("b", -1.0))), "-9999.0 as the logprob"),
    "a number of 400 digits": (chat(named(("a", int("9" * 400)), ("b", -1.0))), "as the logprob"),
    "an id beyond the vocabulary": (
        completion({"token_id:7": -0.5, f"token_id:{VOCABULARY}": -1.5}), "beyond the vocabulary",
    ),
    "a negative id": (completion({"token_id:7": -0.5, "token_id:-2": -1.5}), "beyond the vocab"),
    "a list": (completion([1, 2]), "AttributeError"),  # type: ignore[arg-type]
    "a number as a name": (chat(named((7, -0.5), ("b", -1.0))), "where text is due"),
    "bytes that are no list": (
        chat([{"token": "a", "bytes": "a", "logprob": -1.0}, *named(("b", -1.0))]), "are no list",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_lists_are_refused(name: str) -> None:
    answer, said = MALFORMED[name]
    with pytest.raises(MalformedAnswerError, match=said):
        READER.read(answer, 20, WRITTEN, None, 2)
    READER.read(answer, 20, WRITTEN)  # without them asked for nobody looks


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    one = FaultyServer(TOKENIZER)
    yield one
    one.close()


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_a_server_is_asked_for_them_and_a_malformed_answer_again(
    server: FaultyServer, endpoint: Literal["completions", "chat"]
) -> None:
    def short(answer: Body) -> None:
        logprobs = answer["choices"][0]["logprobs"]
        if endpoint == "chat":
            logprobs["content"][0]["top_logprobs"] = []
        else:
            logprobs["top_logprobs"][0] = {}

    def first_try(body: Body, attempt: int) -> Fault | None:
        return Fault(change=short) if attempt == 1 and "path" not in body else None

    server.fault = first_try
    settings = OpenAiSettings(
        base_url=server.base_url, served_model="tiny", endpoint=endpoint, backoff_seconds=0.01
    )
    engine = OpenAiEngine(str(TEACHER), settings)
    try:
        request = GenerationRequest(engine.render(MESSAGES), 1.0, 1.0, 16, 5, top_logprobs=3)
        (found,) = engine.generate([request])
    finally:
        engine.close()
    assert len(server.asked) == 2
    body = server.asked[0]
    assert body["return_tokens_as_token_ids"]
    assert (body["top_logprobs"] == 4) if endpoint == "chat" else (body["logprobs"] == 3)
    for likely, ids, values in zip(
        server.listed_top(body), found.top.token_ids, found.top.logprobs, strict=True
    ):
        expected = sorted(likely, key=lambda pair: -pair[1])[:3]
        assert values.tolist() == pytest.approx([value for _, value in expected])
        assert dict(zip(ids.tolist(), values.tolist(), strict=True)) == pytest.approx(
            dict(expected)
        )
