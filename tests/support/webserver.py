"""Dagster's webserver over a pipeline, on a port that is free."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from support.pipeline import Pipeline
from support.ports import free_port

from dasd_assets.profile import PROJECT_ROOT

START_SECONDS = 120


@contextmanager
def webserver(pipeline: Pipeline) -> Iterator[str]:
    """Serve the UI and give its address; at the end the server and its code server are ended."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = pipeline.folder / "webserver.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("dagster-webserver")),
                "-w", str(PROJECT_ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port),
            ],
            cwd=PROJECT_ROOT, env={**pipeline.environment, "PYTHONWARNINGS": "ignore"},
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            _wait_for(address, server, log)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(f"{address}/server_info", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"the webserver does not answer:\n{log.read_text(encoding='utf-8')}")
