"""Where the steps of a machine find an engine that is kept: a folder of this user, with locks.

Everything about an engine's life is a lock, which the kernel frees when its process ends, however
it ends: after a kill or a restart of the machine no file says more than is so.

- The folder itself is locked by the keeper as long as it lives. (Cleaners of temporary files leave
  a locked folder alone, however old its files are.)
- `use.lock` is shared by all that use the engine; the keeper takes it for itself when it ends.
- `start.lock` is held by the step that looks for the engine or starts it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resources.durable import write_whole
from resources.file_locks import try_lock
from resources.temporary_folder import own_temporary_folder

FOLDER = "dasd-engines"
SERVER = "resources.engines.kept.server"
LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket."""
SHOWN_LINES, SHOWN_CHARACTERS = 12, 2_000
"""Of a log, in an error."""


@dataclass(frozen=True)
class KeptModel:
    """What an engine runs.

    Attributes:
        name: of the model, for messages.
        folder: its files.
        context: tokens of a prompt and its answer.
        settings: `VllmSettings` as JSON.
        gpus: that the engine holds.
        identity: that no other engine has; the folder's name.
        program: module that runs one server.
    """

    name: str
    folder: str
    context: int
    settings: dict[str, Any]
    gpus: int
    identity: str
    program: str = SERVER

    @property
    def served_model(self) -> str:
        """The name under which the servers have it: each answer names it."""
        return f"{self.name}@{self.identity}"


@dataclass(frozen=True)
class Running:
    """An engine that answers.

    Attributes:
        pid: of its keeper.
        sockets: of its servers, one for each copy of the model.
        gpus: that it holds, as CUDA names them.
    """

    pid: int
    sockets: list[str]
    gpus: list[str]


class EnginePlaceError(OSError):
    """The folder for engines cannot be used; the message says what to do."""


class Place:
    """The folder of one engine."""

    def __init__(self, folder: Path) -> None:
        """A folder that is there."""
        self.folder = folder

    @classmethod
    def of(cls, identity: str) -> Place:
        """The place of the engine with this identity, made where it is missing.

        Raises:
            EnginePlaceError, ForeignFolderError: it cannot be made.
        """
        folder = own_temporary_folder(FOLDER) / identity
        if len(os.fsencode(folder / "00.sock")) > LONGEST_SOCKET:
            raise EnginePlaceError(
                f"{folder}: too long for a Unix socket in it. Set TMPDIR to a folder with a "
                "shorter path, or keep_alive_seconds: 0 in the engine's settings"
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        return cls(folder)

    def socket(self, copy: int) -> Path:
        """Of the server of one copy of the model."""
        return self.folder / f"{copy}.sock"

    def log(self, name: str | int) -> Path:
        """What a server, by its number, or the keeper has printed."""
        return self.folder / f"{name}.log"

    def begin(self, model: KeptModel) -> None:
        """Leave what the keeper has to know, and nothing of an earlier engine."""
        for file in self.folder.iterdir():
            if file.suffix in (".sock", ".log", ".json"):
                file.unlink()
        write_whole(self.folder / "model.json", json.dumps(asdict(model)).encode())

    def model(self) -> KeptModel:
        """What the engine runs."""
        return KeptModel(**json.loads((self.folder / "model.json").read_bytes()))

    def announce(self, running: Running) -> None:
        """Say that the engine answers."""
        write_whole(self.folder / "running.json", json.dumps(asdict(running)).encode())

    def withdraw(self) -> None:
        """Say that the engine answers no more: nobody begins to use one that is ending."""
        (self.folder / "running.json").unlink(missing_ok=True)

    def running(self) -> Running | None:
        """What the engine has announced; it holds only while `is_alive`."""
        try:
            return Running(**json.loads((self.folder / "running.json").read_bytes()))
        except FileNotFoundError:
            return None

    def last_lines(self) -> str:
        """The ends of the logs, the keeper's last."""
        texts = []
        for log in sorted(self.folder.glob("*.log")):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
            texts.append("\n".join(lines)[-SHOWN_CHARACTERS:])
        return "\n".join(text for text in texts if text)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Be the keeper, as soon as no other is."""
        lock = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def is_alive(self) -> bool:
        """Whether a keeper lives."""
        lock = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return not try_lock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    @contextmanager
    def looking(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Be the one that looks for the engine or starts it; `waiting` is told if another does."""
        lock = self._open("start.lock")
        try:
            if not try_lock(lock, fcntl.LOCK_EX):
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def use(self) -> int | None:
        """An open file that keeps the engine from ending for want of use; None: it is ending."""
        return self._held("use.lock", fcntl.LOCK_SH)

    def claim(self) -> int | None:
        """An open file that keeps everybody from using the engine; None: somebody does."""
        return self._held("use.lock", fcntl.LOCK_EX)

    def _held(self, name: str, how: int) -> int | None:
        lock = self._open(name)
        if try_lock(lock, how):
            return lock
        os.close(lock)
        return None

    def _open(self, name: str) -> int:
        return os.open(self.folder / name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def identity_of(*shape: Any) -> str:
    """A name for what an engine is, from everything that makes it another."""
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]
