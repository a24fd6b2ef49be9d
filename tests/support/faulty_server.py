"""An OpenAI-compatible HTTP server on loopback that answers by rule and fails on demand.

What it answers depends on the request alone, so that any mix-up of requests shows.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import numpy as np

Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one try of one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    """Body in place of the answer."""
    raw: bytes | None = None
    """The same, byte for byte; with headers it can be compressed."""
    hang_seconds: float = 0.0
    reset: bool = False
    truncate: bool = False
    change: Callable[[Body], object] | None = None
    """Changes the answer before it is sent."""


def no_fault(body: Body, attempt: int) -> Fault | None:
    """Everything goes well."""
    return None


class UnixServer(ThreadingHTTPServer):
    """On a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """There is neither host nor port."""
        TCPServer.server_bind(self)


class FaultyServer:
    """Runs in threads of this process until `close`."""

    def __init__(
        self,
        tokenizer: Any,
        model: str = "tiny",
        owned_by: str = "vllm",
        unix_socket: str | None = None,
    ) -> None:
        """Start on a free port.

        Args:
            owned_by: "vllm" answers with vLLM's extensions, anything else without.
            unix_socket: to listen on instead.
        """
        self.model, self.owned_by = model, owned_by
        self.answers_as = model
        self.fault: Callable[[Body, int], Fault | None] = no_fault
        self.asked: list[Body] = []
        """Every try of every request but the probes of the logprobs."""
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.meet = 1
        """A request is held until so many are under way at once."""
        self.processed_logprobs = False
        self.with_logprobs = True
        self._tokenizer = tokenizer
        self._ordinary = [
            i for i in range(len(tokenizer)) if i not in tokenizer.added_tokens_decoder
        ]
        self._attempts: Counter[str] = Counter()
        self._at_once = 0
        self._changed = threading.Condition()
        self._server = (
            UnixServer(unix_socket, self._handler())  # type: ignore[arg-type]
            if unix_socket
            else ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        )
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def base_url(self) -> str:
        """URL of the API, up to and with /v1."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def emitted(self, body: Body) -> tuple[list[int], list[float]]:
        """Token ids and logprobs of the answer to a request."""
        shape = [body.get(name) for name in ("prompt", "messages", "seed", "max_tokens")]
        digest = hashlib.sha256(json.dumps(shape).encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        n = int(rng.integers(1, 12))
        ids = [*rng.choice(self._ordinary, n).tolist(), self._tokenizer.eos_token_id]
        return ids, (-rng.random(n + 1, np.float32)).astype(float).tolist()

    def listed_top(self, body: Body) -> list[list[tuple[int, float]]]:
        """(id, logprob) of the likely tokens of each position, as vLLM lists them.

        The emitted one first; on the chat endpoint it takes the place of the last.
        """
        is_chat = "messages" in body
        k = body.get("top_logprobs", 0) if is_chat else int(body.get("logprobs") or 0)
        if not k or not body.get("return_tokens_as_token_ids"):
            return []
        found = []
        for index, logprob in zip(*self.emitted(body), strict=True):
            others = [(index + n) % len(self._ordinary) for n in range(1, k + 1)]
            likely = [(other, -0.5 - 0.7 * n) for n, other in enumerate(others)]
            whole = [(index, logprob), *likely]
            found.append(whole[:k] if is_chat else whole)
        return found

    def _answer(self, body: Body) -> Body:
        ids, logprobs = self.emitted(body)
        is_chat, is_vllm = "messages" in body, self.owned_by == "vllm"
        names = [self._tokenizer.decode([index]) for index in ids]
        text = self._tokenizer.decode(ids[:-1])
        listed: Body | None = {"tokens": names, "token_logprobs": logprobs}
        if is_chat:
            entries = zip(names, ids, logprobs, strict=True)
            listed = {"content": [
                {"token": name, "bytes": list(self._bytes_of(index)), "logprob": logprob}
                for name, index, logprob in entries
            ]}  # fmt: skip
        if top := self.listed_top(body):
            if is_chat:
                for entry, likely in zip(listed["content"], top, strict=True):
                    entry["top_logprobs"] = [
                        {"token": f"token_id:{index}", "logprob": value} for index, value in likely
                    ]
            else:
                listed["top_logprobs"] = [
                    {f"token_id:{index}": value for index, value in likely} for likely in top
                ]
        choice: Body = {"index": 0, "finish_reason": "stop"}
        choice["logprobs"] = listed if self.with_logprobs else None
        if is_vllm and body.get("return_token_ids"):
            choice["token_ids"] = ids
        choice |= {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        if self._is_probe(body):
            self._list_alternatives(choice, body)
        elif is_vllm and "prompt_logprobs" in body:
            choice["prompt_logprobs"] = [
                {str(token): {"logprob": -token / 1000, "rank": token}} for token in body["prompt"]
            ]
        usage = {"prompt_tokens": len(body.get("prompt", "12")), "completion_tokens": len(ids)}
        return {"model": self.answers_as, "choices": [choice], "usage": usage}

    def _bytes_of(self, index: int) -> bytes:
        from formats.token_bytes import TokenBytes

        raw = TokenBytes(self._tokenizer).decode(np.array([index]))
        return raw or self._tokenizer.decode([index]).encode()

    def _is_probe(self, body: Body) -> bool:
        return body.get("max_tokens") == 1 and 5 in (body.get("logprobs"), body.get("top_logprobs"))

    def _list_alternatives(self, choice: Body, body: Body) -> None:
        logits = np.array([3.0, 2.0, 1.0, 0.0, -1.0])
        if self.processed_logprobs:
            logits /= body["temperature"]
        found = dict(zip("abcde", (logits - np.log(np.exp(logits).sum())).tolist(), strict=True))
        if "messages" in body:
            entries = [{"token": token, "logprob": value} for token, value in found.items()]
            choice["logprobs"] = {"content": [{"top_logprobs": entries}]}
        else:
            choice["logprobs"] = {"top_logprobs": [found]}

    def _under_way(self, change: int) -> None:
        with self._changed:
            self._at_once += change
            self.most_at_once = max(self.most_at_once, self._at_once)
            self._changed.notify_all()
            if change > 0:
                self._changed.wait_for(lambda: self.most_at_once >= self.meet, timeout=10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fault = server.fault({"path": self.path}, 1) or Fault()
                entry = {"id": server.model, "owned_by": server.owned_by}
                content = {"data": [entry]} if self.path.endswith("/models") else {"version": "9"}
                self._send(fault, content)

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(text)
                probe = server._is_probe(body)
                if not probe:
                    server.asked.append(body)
                    server.headers.append(dict(self.headers))
                    server._attempts[text.decode()] += 1
                    server._under_way(+1)
                try:
                    fault = server.fault(body, server._attempts[text.decode()])
                    self._send((None if probe else fault) or Fault(), server._answer(body))
                finally:
                    if not probe:
                        server._under_way(-1)

            def _send(self, fault: Fault, content: Body) -> None:
                time.sleep(fault.hang_seconds)
                if fault.reset:
                    # Closing with linger 0 sends RST in place of an answer.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault.change:
                    fault.change(content)
                encoded = (json.dumps(content) if fault.text is None else fault.text).encode()
                encoded = fault.raw if fault.raw is not None else encoded
                self.send_response(fault.status)
                for name, value in fault.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                if fault.truncate:
                    encoded = encoded[: len(encoded) // 2]
                    self.close_connection = True
                self.wfile.write(encoded)

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ValueError):  # the client went away, or we reset it
                    self.close_connection = True

            def finish(self) -> None:
                try:
                    super().finish()
                except (ConnectionError, ValueError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
