"""Which process something was, told so that no other is taken for it.

A number alone says little: a machine that shares Dagster's records has a process of the same
number, a container one too, and so has this machine later. The wall clock is no help, as it can be
set; the kernel counts a process's start in ticks since the machine's.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MACHINE_ID = Path("/etc/machine-id")
NO_CONTAINER = "pid:[4026531836]"
"""PID namespace of a machine itself (PROC_PID_INIT_INO in the kernel); a container has another."""
ENDED = frozenset("ZX")
"""States of a process that has ended but was not asked yet how."""


class Presence(Enum):
    """What is known of a process from here."""

    RUNNING = "running"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ProcessIdentity:
    """One process among those of all machines and times.

    Attributes:
        pid: its number in its PID namespace.
        start_ticks: when it started, in clock ticks since its machine did.
        pid_namespace: within which the number counts; a container has its own.
        boot_id: made anew by the kernel each time that a machine starts.
        host: the machine's name, or the container's.
        machine_id: hash of what the operating system was given when it was installed; may be empty.
    """

    pid: int
    start_ticks: int
    pid_namespace: str
    boot_id: str
    host: str
    machine_id: str

    def as_texts(self) -> dict[str, str]:
        """To be kept; `identity_from` reads it."""
        return {name: str(value) for name, value in asdict(self).items()}

    def presence(self) -> Presence:
        """Whether the process is still there, as far as it can be known from here.

        - Same host, boot and PID namespace: it is there if a process has its number and its start.
        - Same machine, other boot: it is gone, as nothing outlives a restart. That it is the same
          machine is certain only if host name and machine id are the same and neither process is
          in a container: a container has its image's machine id.
        - Else, on another host or in another container: unknown. It may well be alive.
        """
        here = this_process()
        if self.host != here.host:
            return Presence.UNKNOWN
        if self.boot_id != here.boot_id:
            is_this_machine = self.machine_id == here.machine_id != ""
            no_container = self.pid_namespace == here.pid_namespace == NO_CONTAINER
            return Presence.GONE if is_this_machine and no_container else Presence.UNKNOWN
        if self.pid_namespace != here.pid_namespace:
            return Presence.UNKNOWN
        try:
            state, start_ticks = _state_and_start(self.pid)
        except OSError:
            # /proc may be mounted so that it hides other users' processes.
            return Presence.UNKNOWN if _has_process(self.pid) else Presence.GONE
        is_it = start_ticks == self.start_ticks and state not in ENDED
        return Presence.RUNNING if is_it else Presence.GONE

    def interrupt(self) -> None:
        """Ask it to end, as the keyboard does. To be called only of one that is running here."""
        os.kill(self.pid, signal.SIGINT)


def this_process() -> ProcessIdentity:
    """The identity of the process that asks."""
    pid = os.getpid()
    return ProcessIdentity(
        pid=pid,
        start_ticks=_state_and_start(pid)[1],
        pid_namespace=str(Path("/proc/self/ns/pid").readlink()),
        boot_id=BOOT_ID.read_text(encoding="ascii").strip(),
        host=socket.gethostname(),
        machine_id=_machine_id(),
    )


def identity_from(texts: Mapping[str, str]) -> ProcessIdentity | None:
    """What `as_texts` told; None of a note that lacks something, as Dagster's own do."""
    if not all(field.name in texts for field in fields(ProcessIdentity)):
        return None
    return ProcessIdentity(
        pid=int(texts["pid"]),
        start_ticks=int(texts["start_ticks"]),
        pid_namespace=texts["pid_namespace"],
        boot_id=texts["boot_id"],
        host=texts["host"],
        machine_id=texts["machine_id"],
    )


def _machine_id() -> str:
    """Hashed, as its manual page asks of whoever sends it anywhere; empty if there is none."""
    try:
        told = MACHINE_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return hashlib.sha256(f"dasd {told}".encode()).hexdigest()[:16] if told else ""


def _state_and_start(pid: int) -> tuple[str, int]:
    """State and start of a process of this PID namespace: fields 3 and 22 of proc(5)'s stat."""
    line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The second field, the program's name in brackets, may hold spaces and brackets itself.
    after_name = line[line.rindex(")") + 1 :].split()
    return after_name[0], int(after_name[19])


def _has_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
