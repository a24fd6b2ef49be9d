"""A chat server over a real tiny model that returns reasoning and content as two fields."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from formats.format_settings import FormatSettings
from resources.engines.protocol import GenerationRequest, Prompt
from resources.engines.settings import TransformersSettings
from resources.engines.transformers_engine import TransformersEngine


class _Server(ThreadingHTTPServer):
    def __init__(self, model: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.engine = TransformersEngine(
            str(model), TransformersSettings(dtype="float32", device="cpu")
        )
        self.engine.write_as(FormatSettings(name="think"))
        self.one_at_a_time = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The models, as vLLM lists them."""
        if self.path.endswith("/version"):
            return self._send({"version": "tiny"})
        return self._send({"data": [{"id": "tiny", "owned_by": "vllm", "max_model_len": 1024}]})

    def do_POST(self) -> None:
        """An answer: two fields of the chat endpoint, or the text of the completions endpoint."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        engine = self.server.engine
        is_chat = "messages" in body
        prompt = engine.render(body["messages"]) if is_chat else Prompt(tuple(body["prompt"]))
        request = GenerationRequest(
            prompt, body["temperature"], body["top_p"], body["max_tokens"], body["seed"]
        )
        with self.server.one_at_a_time:
            (completion,) = engine.generate([request])
        ids = completion.token_ids.tolist()
        table = engine.format.token_bytes
        answer: dict[str, Any] = {"index": 0, "finish_reason": completion.finish_reason}
        if not is_chat:
            answer |= {
                "text": engine.decode(completion.token_ids), "token_ids": ids,
                "logprobs": {
                    "tokens": [f"token_id:{index}" for index in ids],
                    "token_logprobs": completion.logprobs.tolist(),
                },
            }  # fmt: skip
            return self._send({"model": "tiny", "choices": [answer]})
        parts = engine.format.format.parse(completion.token_ids, table)
        listed = zip(completion.token_ids, completion.logprobs.tolist(), strict=True)
        entries = [
            {"token": table.written(index.reshape(1)).decode(errors="replace"),
             "bytes": list(table.written(index.reshape(1))), "logprob": logprob,
             "top_logprobs": []}
            for index, logprob in listed if not table.is_special[index]
        ]  # fmt: skip
        answer |= {
            "message": {
                "role": "assistant", "content": parts.answer, "reasoning_content": parts.reasoning
            },
            "logprobs": {"content": entries},
        }  # fmt: skip
        return self._send({"model": "tiny", "choices": [answer]})

    def _send(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def chat_server(model: Path) -> Iterator[str]:
    """Serve a model until the block ends; its URL."""
    server = _Server(model)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
