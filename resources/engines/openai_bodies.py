"""Bodies of a server's answers: read up to a limit, also when compressed, and parsed."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

ACCEPTED_ENCODING = "gzip"
"""The one compression that is asked for: it can be undone piece by piece."""

BYTES_PER_TOKEN = 1_024
"""Of an answer, at most: the longest tokens (128 spaces) with their bytes written as a list."""
BYTES_BESIDE = 8 * 1024**2
"""Of an answer without its tokens; the longest lists of models are below it."""
ERROR_BYTES = 64 * 1024
"""Read of an answer that says what went wrong; what is shown of it is shorter still."""

_GZIP = 16 + zlib.MAX_WBITS


class MalformedAnswerError(ValueError):
    """An answer that is no answer, for example a body that was cut off. It is asked again."""


def answer_limit(body: dict[str, Any] | None) -> int:
    """Bytes that the answer to a request may have, by the tokens that it can name.

    Servers name the new tokens, the likely ones that are asked for in their places, and may name
    those of the prompt (`prompt_logprobs`).
    """
    body = body or {}
    n_likely = max(body.get("top_logprobs", 0), int(body.get("logprobs", 0)) - 1, 0)
    in_messages = sum(len(message["content"]) for message in body.get("messages", ()))
    n_tokens = body.get("max_tokens", 0) + len(body.get("prompt", ())) + in_messages
    n_tokens += n_likely * body.get("max_tokens", 0)
    return int(BYTES_BESIDE + BYTES_PER_TOKEN * n_tokens)


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """The body of an answer as it was before compression; nothing beyond the limit is unpacked.

    Raises:
        MalformedAnswerError: it is longer, cut off, or compressed in a way not asked for.
    """
    body = bytearray()
    async for piece in _unpacked(response, limit):
        body += piece
        if len(body) > limit:
            raise MalformedAnswerError(
                f"the body is longer than {limit:,} bytes, more than the tokens asked for can take"
            )
    return bytes(body)


async def read_error(response: httpx.Response) -> bytes:
    """The beginning of what a server says about a failure."""
    body = bytearray()
    try:
        async for piece in _unpacked(response, ERROR_BYTES):
            body += piece
            if len(body) > ERROR_BYTES:
                break
    except MalformedAnswerError as error:
        return f"({error})".encode()
    return bytes(body[:ERROR_BYTES])


async def _unpacked(response: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    """Pieces of a body; of a compressed one at most a byte beyond the limit at a time."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise MalformedAnswerError(f"the body is compressed as {encoding}, which was not asked for")
    gzip = zlib.decompressobj(_GZIP) if "gzip" in encoding else None
    async for raw in response.aiter_raw():
        try:
            yield gzip.decompress(raw, limit + 1) if gzip else raw
        except zlib.error as error:
            raise MalformedAnswerError(f"the body is no gzip ({error})") from None
        if gzip and gzip.eof:
            return
    if gzip:
        raise MalformedAnswerError("the compressed body was cut off")


def parse_json(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        MalformedAnswerError: it is none, or is nested deeper or has longer numbers than Python
            reads.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswerError(f"the body is no JSON ({error})") from None
