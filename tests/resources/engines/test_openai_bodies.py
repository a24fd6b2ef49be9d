"""Bodies of servers: bounded, also when compressed, and whatever they hold."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import pytest

from resources.engines.openai_bodies import (
    BYTES_BESIDE,
    BYTES_PER_TOKEN,
    MalformedAnswerError,
    answer_limit,
    parse_json,
    read_body,
    read_error,
)

MIB = 1024**2


class Pieces(httpx.AsyncByteStream):
    """A body as it arrives, cut after so many bytes each."""

    def __init__(self, body: bytes, size: int) -> None:
        self._body, self._size = body, size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), self._size):
            yield self._body[start : start + self._size]


def response(body: bytes, encoding: str | None = None, size: int = 64 * 1024) -> httpx.Response:
    headers = {"Content-Encoding": encoding} if encoding else {}
    return httpx.Response(200, headers=headers, stream=Pieces(body, size))


@pytest.mark.parametrize("size", [1, 7, 64 * 1024])
@pytest.mark.parametrize("encoding", [None, "identity", "gzip", "X-Gzip"])
def test_a_body_is_read_whole(encoding: str | None, size: int) -> None:
    text = b'{"a": 1}' * 50
    sent = gzip.compress(text) if encoding and "gzip" in encoding.lower() else text
    assert asyncio.run(read_body(response(sent, encoding, size), len(text))) == text
    with pytest.raises(MalformedAnswerError, match="longer than 399 bytes"):
        asyncio.run(read_body(response(sent, encoding, size), len(text) - 1))


def test_a_small_body_that_unpacks_to_a_huge_one_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50 * MIB), compresslevel=1)
    assert len(bomb) < MIB
    for read in (read_body(response(bomb, "gzip"), MIB), read_error(response(bomb, "gzip"))):
        tracemalloc.start()
        try:
            assert len(asyncio.run(read)) <= MIB  # type: ignore[arg-type]
        except MalformedAnswerError as error:
            assert "longer than 1,048,576 bytes" in str(error)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 8 * MIB


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (gzip.compress(b"x" * 99, mtime=0)[:-9], "gzip", "cut off"),
        (b"no gzip at all", "gzip", "is no gzip"),
        (b"x", "br", "compressed as br, which was not asked for"),
        (b"x", "gzip, gzip", "not asked for"),
        (b"", "gzip", "cut off"),
    ],
)
def test_a_body_that_cannot_be_unpacked(body: bytes, encoding: str, said: str) -> None:
    with pytest.raises(MalformedAnswerError, match=said):
        asyncio.run(read_body(response(body, encoding), MIB))
    assert said.split("as ")[0].encode() in asyncio.run(read_error(response(body, encoding)))


def test_what_a_server_says_about_a_failure_is_read_in_part() -> None:
    assert len(asyncio.run(read_error(response(b"e" * MIB)))) == 64 * 1024


def test_the_limit_follows_from_the_tokens_asked_for() -> None:
    assert answer_limit(None) == answer_limit({}) == BYTES_BESIDE
    body = {"prompt": [1] * 30, "max_tokens": 70}
    assert answer_limit(body) == BYTES_BESIDE + 100 * BYTES_PER_TOKEN
    chat = {"messages": [{"role": "user", "content": "x" * 30}], "max_tokens": 70}
    assert answer_limit(chat) == answer_limit(body)
    # The longest token there is, as the chat endpoint writes it, with its bytes as a list.
    spaces = " " * 128
    entry = {"token": spaces, "logprob": -0.12345678, "bytes": list(spaces.encode())}
    assert len(json.dumps({**entry, "top_logprobs": []})) < BYTES_PER_TOKEN


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5_000, b"<html>"]
)
def test_what_python_cannot_read_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="the body is no JSON"):
        parse_json(body)
