"""An S3 server on loopback, and before it a proxy that loses, delays and refuses on demand."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.daemon import until
from support.ports import free_port, listens

KEY_ID, SECRET = "AKIATESTTESTTESTTEST", "a-secret-that-nobody-may-see"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
_HOP = {"connection", "expect", "transfer-encoding", "keep-alive"}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    status: int = 0
    """The store is not asked, and this is the answer."""
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    cut_body_after: int | None = None
    """The connection is reset when so many bytes of the request's body have come."""
    cut_answer: bool = False
    """The connection is reset in the middle of the answer."""
    lose_answer: bool = False
    """The store does as asked, and nobody hears of it."""


Rule = Callable[[str, str, int], Fault | None]
"""Method, path with query and how often the same was asked before, to what goes wrong."""


class ObjectStore:
    """A moto server, a process of its own until `close`, behind a proxy in a thread of this one.

    A process, because vLLM looks at every attribute of every imported module, and Flask's, which
    moto imports, raise what they raise outside a request.
    """

    def __init__(self) -> None:
        import boto3

        self.rule: Rule | None = None
        self.asked: list[tuple[str, str]] = []
        self.authorization = ""
        """Of the newest request: key id, date, region."""
        self._tries: Counter[tuple[str, str]] = Counter()
        port = free_port()
        self._moto = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: listens(port))
        self.behind = f"http://127.0.0.1:{port}"
        self._client = boto3.client(
            "s3", endpoint_url=self.behind, aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET, region_name="us-east-1",
        )  # fmt: skip
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._proxy.daemon_threads = True
        threading.Thread(target=self._proxy.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._proxy.server_port}"

    def close(self) -> None:
        """Stop both."""
        self._proxy.shutdown()
        self._proxy.server_close()
        self._moto.kill()
        self._moto.wait()

    @contextmanager
    def failing(self, rule: Rule) -> Iterator[list[tuple[str, str]]]:
        """Let requests fail by a rule; gives the list of what is asked meanwhile."""
        self._tries.clear()
        self.asked = []
        self.rule = rule
        try:
            yield self.asked
        finally:
            self.rule = None

    def client(self) -> Any:
        """Past the proxy, to see what the store really has."""
        return self._client

    def keys(self, bucket: str) -> list[str]:
        """Every object that can be seen."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def _fault(self, method: str, path: str) -> Fault:
        before = self._tries[method, path]
        self._tries[method, path] += 1
        self.asked.append((method, path))
        return (self.rule and self.rule(method, path, before)) or Fault()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                store.authorization = self.headers.get("Authorization", "")
                fault = store._fault(self.command, self.path)
                time.sleep(fault.delay_seconds)
                if fault.cut_body_after is not None:
                    sent = self.headers.get("Content-Length")
                    length = int(sent or self.headers["x-amz-decoded-content-length"])
                    # Of less than that a part too: who waits for more waits for ever.
                    self.rfile.read(min(fault.cut_body_after, length // 2))
                    return self._reset()
                body = self._body()
                if fault.status:
                    content = _ERROR.format(code=fault.code).encode()
                    return self._answer(fault.status, fault.headers, content, False)
                there = urlsplit(store.behind).netloc
                connection = http.client.HTTPConnection(there, timeout=30)
                kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                if body is not None:
                    kept["Content-Length"] = str(len(body))
                connection.request(self.command, self.path, body, kept)
                answer = connection.getresponse()
                content, headers = answer.read(), dict(answer.getheaders())
                connection.close()
                if fault.lose_answer:
                    return self._reset()
                return self._answer(answer.status, headers, content, fault.cut_answer)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any  # noqa: N815

            def _body(self) -> bytes | None:
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    pieces = []
                    while size := int(self.rfile.readline(), 16):
                        pieces.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(pieces)
                length = self.headers.get("Content-Length")
                return None if length is None else self.rfile.read(int(length))

            def _answer(
                self, status: int, headers: dict[str, str], content: bytes, cut: bool
            ) -> None:
                self.send_response_only(status)
                length = str(len(content))
                for name, value in headers.items():
                    if name.lower() == "content-length":
                        length = value  # of a HEAD: that of the object
                    elif name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                if cut:
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    return self._reset()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def _reset(self) -> None:
                # Closing with linger 0 sends RST in place of the rest.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()

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
