"""Dagster's webserver, alone or by `dg dev`, on a port that is free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
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
    program = ["dagster-webserver", "-w", str(PROJECT_ROOT / "workspace.yaml"), "-h", "127.0.0.1"]
    log = pipeline.folder / "webserver.log"
    with served(program, PROJECT_ROOT, pipeline.environment, log) as address:
        yield address


@contextmanager
def served(
    program: list[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[str]:
    """Start one of Dagster's programs that serve the UI, and give its address.

    All processes that it has started are ended with it.

    Args:
        program: its name and arguments, but for the port.
        folder: where it is started.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(Path(sys.executable).with_name(program[0])), *program[1:], "--port", str(port)],
            cwd=folder, env={**environment, "PYTHONWARNINGS": "ignore"},
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(address, server, log)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGINT)  # as Ctrl-C does
            try:
                server.wait(timeout=60)
            except subprocess.TimeoutExpired:  # a code server that is slow to end holds it up
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(f"{address}/server_info", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"the webserver does not answer:\n{log.read_text(encoding='utf-8')}")
