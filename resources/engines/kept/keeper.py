"""Starts the servers of one engine, and ends them when nobody needs them any more.

    python -m resources.engines.kept.keeper FOLDER

It outlives the step that started it. It ends, and the servers with it, when nobody has used the
engine for `keep_alive_seconds`; when nobody uses it and a step waits for its GPUs; when nobody
waits for it while it loads; when a server ends. If it is killed itself, the kernel tells the
servers to end.

To the step that started it it says on standard output, a line each: `waiting` with a text for the
log, `gpus` with the seconds that it waited for them, `ready`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from resources.compute.gpu_lease import lease_gpus, wanted
from resources.compute.gpus import VISIBLE, usable_gpus
from resources.engines.kept.place import Place, Running
from resources.engines.settings import VllmSettings
from resources.engines.vllm_copies import gpu_shares

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_TO_ANSWER = 5.0
SECONDS_TO_END = 20.0


class EndsError(Exception):
    """The engine is to end; the message says why."""


class Keeper:
    """One engine, from its first server to its end."""

    def __init__(self, place: Place) -> None:
        """Nothing is started yet."""
        self._place, self._model = place, place.model()
        self._settings = VllmSettings(**self._model.settings)
        self._servers: list[subprocess.Popen[bytes]] = []
        self._claim: int | None = None

    def run(self) -> None:
        """Start, serve, end."""
        signal.signal(signal.SIGTERM, _end_by_signal)
        try:
            gpus = self._lease()
            self._start()
            self._wait_for_servers()
            self._place.announce(Running(os.getpid(), self._sockets(), gpus))
            tell("ready")
            self._serve(gpus)
        except BrokenPipeError:
            print("ends: the step that started it is gone", flush=True, file=sys.stderr)
        except Exception as error:
            print(f"ends: {error}", flush=True, file=sys.stderr)
        finally:
            self._end()

    def _lease(self) -> list[str]:
        began, start = time.time(), time.monotonic()
        with _every_second(self._end_if_unused):
            gpus = lease_gpus(
                self._model.gpus, self._model.name, lambda line: tell(f"waiting {line}")
            )
        if gpus:
            tell(f"gpus {began} {time.monotonic() - start}")
        return gpus

    def _start(self) -> None:
        shares = gpu_shares(
            usable_gpus(), self._settings.data_parallel_size, self._settings.gpus_per_copy
        )
        for copy, share in enumerate(shares):
            with self._place.log(copy).open("wb") as log:
                self._servers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", self._model.program,
                         str(self._place.folder), str(copy), str(os.getpid())],
                        env=os.environ | ({VISIBLE: share} if share is not None else {}),
                        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )  # fmt: skip

    def _wait_for_servers(self) -> None:
        starting = set(self._sockets())
        while True:
            self._end_if_one_ended()
            self._end_if_unused()
            starting -= {path for path in starting if answers(path)}
            if not starting:
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _serve(self, gpus: list[str]) -> None:
        last_used = time.monotonic()
        while True:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self._end_if_one_ended()
            claim = self._place.claim()
            if claim is None:
                last_used = time.monotonic()
                continue
            self._claim = claim  # kept if it ends now: nobody begins to use it
            if wanted(gpus):
                raise EndsError("nobody uses it, and another step waits for its GPUs")
            if time.monotonic() - last_used >= self._settings.keep_alive_seconds:
                raise EndsError(f"nobody has used it for {self._settings.keep_alive_seconds:g} s")
            os.close(claim)
            self._claim = None

    def _end_if_unused(self) -> None:
        if self._claim is None:
            self._claim = self._place.claim()
        if self._claim is not None:
            raise EndsError("nobody waits for it any more")

    def _end_if_one_ended(self) -> None:
        for copy, server in enumerate(self._servers):
            code = server.poll()
            if code is not None:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                raise EndsError(f"server {copy} (process {server.pid}) {how}")

    def _sockets(self) -> list[str]:
        return [str(self._place.socket(copy)) for copy in range(len(self._servers))]

    def _end(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._place.withdraw()
        for server in self._servers:
            _signal_group(server, signal.SIGTERM)
        until = time.monotonic() + SECONDS_TO_END
        for server in self._servers:
            with suppress(subprocess.TimeoutExpired):
                server.wait(max(0.0, until - time.monotonic()))
            # vLLM's own processes may outlive the one that was started.
            _signal_group(server, signal.SIGKILL)
            server.wait()


def tell(line: str) -> None:
    """Say something to the step that waits for the engine.

    Raises:
        BrokenPipeError: it is gone.
    """
    os.write(1, f"{line}\n".encode())
    if line == "ready":
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)


class _Connection(HTTPConnection):
    """To a server on a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=SECONDS_TO_ANSWER)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS_TO_ANSWER)
        self.sock.connect(self._path)


def answers(path: str) -> bool:
    """Whether a server is there."""
    connection = _Connection(path)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def _every_second(look: Any) -> Iterator[None]:
    """Look each second, also while a lock is waited for; what it raises ends the wait."""
    signal.signal(signal.SIGALRM, lambda *_: look())
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _end_by_signal(*_: object) -> None:
    raise EndsError("it was told to")


def _signal_group(server: subprocess.Popen[bytes], how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.pid, how)


def main() -> None:
    """Command line."""
    place = Place(Path(sys.argv[1]))
    if os.fork():  # nobody's child: no step waits for its end
        os._exit(0)
    with place.keeping():
        Keeper(place).run()


if __name__ == "__main__":
    main()
