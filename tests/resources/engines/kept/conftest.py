"""Engines in a temporary folder of their own, whose servers are `support.kept_server`."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.daemon import until
from support.training_rows import STUDENT

from resources.engines.kept.borrowing import Borrowed, borrow
from resources.engines.kept.place import KeptModel, Place
from resources.engines.settings import VllmSettings

KEPT_SERVER = "support.kept_server"


@dataclass
class Bench:
    """A place for one engine, and what was seen of it."""

    place: Place
    model: KeptModel
    starts_file: Path
    said: list[str] = field(default_factory=list)

    def borrow(self) -> Borrowed:
        """As a step does."""
        return borrow(self.place, self.model, self.said.append)

    def starts(self) -> list[tuple[int, str]]:
        """Process and visible GPUs of each server that was started."""
        if not self.starts_file.is_file():
            return []
        lines = [line.partition(" ") for line in self.starts_file.read_text().splitlines()]
        return [(int(pid), gpus) for pid, _, gpus in lines]

    def ends(self) -> bool:
        """Whether the engine and its servers end, soon."""
        until(lambda: not self.place.is_alive() and not any(is_there(p) for p, _ in self.starts()))
        return True


def is_there(pid: int) -> bool:
    """Whether a process lives."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A place in which no engine is."""
    with tempfile.TemporaryDirectory(prefix="kept-") as short:  # a socket's path has 107 bytes
        monkeypatch.setattr(tempfile, "tempdir", short)
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setenv("DASD_GPU_LOCKS", str(tmp_path / "locks"))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setenv("KEPT_SERVER", "serve")
        monkeypatch.setenv("KEPT_SERVER_STARTS", str(tmp_path / "starts"))
        settings = VllmSettings(keep_alive_seconds=60.0).model_dump(mode="json")
        model = KeptModel("a-model", str(STUDENT), 256, settings, 0, "1", KEPT_SERVER)
        bench = Bench(Place.of("1"), model, tmp_path / "starts")
        yield bench
        if running := bench.place.running():
            with suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGTERM)
        assert bench.ends()


def kept_for(bench: Bench, seconds: float, gpus: int = 0) -> None:
    """Change how long an engine that nobody uses is kept, and how many GPUs it holds."""
    settings = {**bench.model.settings, "keep_alive_seconds": seconds}
    bench.model = replace(bench.model, settings=settings, gpus=gpus)
