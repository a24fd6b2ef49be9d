"""In the place of a kept engine's `vllm serve`: KEPT_SERVER says what it does.

- `serve`: is there; `answer`: answers as well, and is killed at the request KEPT_SERVER_DIES_AT.
- `fail`: ends before it is there; `load`: is never there.

Each start is a line in the file KEPT_SERVER_STARTS: its process, and the GPUs that it sees.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from support.faulty_server import Body, Fault, FaultyServer, UnixServer

from resources.compute.parent_process import end_with_parent
from resources.engines.kept.place import KeptModel, Place


class Healthy(BaseHTTPRequestHandler):
    """Says that all is well."""

    def do_GET(self) -> None:
        """Whatever is asked."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def answer(model: KeptModel, socket: str) -> None:
    """Answer, up to a request that is the last."""
    from resources.engines.load import load_tokenizer

    server = FaultyServer(
        load_tokenizer(Path(model.folder)), model=model.served_model, unix_socket=socket
    )
    last = int(os.environ.get("KEPT_SERVER_DIES_AT", "0"))

    def fault(body: Body, attempt: int) -> Fault | None:
        if len(server.asked) == last != 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return None

    server.fault = fault
    threading.Event().wait()


def main() -> None:
    """Command line, as that of `resources.engines.kept.server`."""
    place, copy, keeper = Place(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    end_with_parent(keeper, signal.SIGTERM)
    socket = str(place.socket(copy))
    with Path(os.environ["KEPT_SERVER_STARTS"]).open("a") as starts:
        starts.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
    match os.environ["KEPT_SERVER"]:
        case "fail":
            sys.exit("the model is too large: 80.1 GiB of 79.2 GiB")
        case "load":
            time.sleep(600)
        case "serve":
            UnixServer(socket, Healthy).serve_forever()  # type: ignore[arg-type]
        case "answer":
            answer(place.model(), socket)


if __name__ == "__main__":
    main()
