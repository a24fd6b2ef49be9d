"""Untrusted programs run in bubblewrap, or not at all.

A program sees Python's standard library read-only, an empty `/tmp` of its own, and nothing else of
the machine: no network, no `/proc`, no home, no environment, no other process. It runs as nobody,
without capabilities, and cannot make user namespaces. Processor time, memory, size and number of
files, processes and output are limited; wall-clock time is watched from inside and from outside.
When the sandbox ends, everything in it ends.
"""

from __future__ import annotations

import base64
import math
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from dasd_assets.verification.json_lines import CHUNK_BYTES, JsonLines, write_line

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
START_SECONDS: Final = 30.0
"""A sandbox that is not up after this is given up: the machine is at fault, not the program."""
GRACE_SECONDS: Final = 5.0
WALL_PER_CPU_SECOND: Final = 3
OWN_PROCESSES: Final = 1
"""The launcher, which is the sandbox's first process: one of bubblewrap's could be robbed of its
pipes."""
NOBODY: Final = 65_534
SYSTEM_PYTHON: Final = Path("/usr/bin/python3")


class SandboxError(RuntimeError):
    """Programs cannot be run safely on this machine; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """What one test of a program may use.

    Attributes:
        cpu_seconds: processor time; the wall clock stops a test after three times as much.
        memory_mib: address space of each of at most `processes` processes.
        processes: processes and threads at once.
        scratch_mib: size of `/tmp`, which is memory.
        output_bytes: standard output.
    """

    cpu_seconds: float = 10.0
    memory_mib: int = 1024
    processes: int = 4
    scratch_mib: int = 64
    output_bytes: int = 4 << 20


@dataclass(frozen=True)
class TestRun:
    """How a program did on one test.

    `ended` is finished, runtime_error, timeout, memory_limit, output_limit or sandbox_died (the
    program attacked what runs it); `errors` is the end of its standard error; `held`, whether all
    assertions were reached and held.
    """

    __test__ = False  # pytest would collect it

    ended: str
    printed: str = ""
    errors: str = ""
    held: bool = False


def run_tests(
    source: str, tests: Sequence[dict[str, Any]], limits: Limits | None = None, preamble: str = ""
) -> Generator[TestRun]:
    """Run a Python program on tests, one sandbox for all of them, one process for each.

    Args:
        source: the untrusted program.
        tests: `{"input": text}`, for standard input, or `{"input": "", "entry_point": name,
            "assertions": [...]}`.
        limits: of each test.
        preamble: runs before the program; the program sees its names.

    Returns:
        One result per test, in order, as they come; closing the iterator ends the sandbox. After
        `sandbox_died` there are no more.

    Raises:
        SandboxError: bubblewrap is missing or cannot start here. Nothing has run then.
    """
    limits = limits or Limits()
    wall_seconds = limits.cpu_seconds * WALL_PER_CPU_SECOND
    job = {
        "source": source,
        "preamble": preamble,
        "tests": list(tests),
        "wall_seconds": wall_seconds,
        "cpu_seconds": math.ceil(limits.cpu_seconds),
        "memory_mib": limits.memory_mib,
        "scratch_mib": limits.scratch_mib,
        "output_bytes": limits.output_bytes,
        "processes": limits.processes + OWN_PROCESSES,
    }
    # The kernel holds root to no number of processes, whatever the name of root in the sandbox.
    user = NOBODY if os.geteuid() == 0 else None
    with subprocess.Popen(
        _command(limits), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd="/", user=user, group=user, extra_groups=None if user is None else [],
    ) as sandbox:  # fmt: skip
        assert sandbox.stdin and sandbox.stdout and sandbox.stderr
        try:
            up_at = time.monotonic() + START_SECONDS
            write_line(sandbox.stdin.fileno(), job, START_SECONDS)
            sandbox.stdin.close()
            lines = JsonLines(sandbox.stdout.fileno(), 2 * limits.output_bytes + CHUNK_BYTES)
            if lines.next(up_at - time.monotonic()) != {"ready": True}:
                sandbox.kill()
                raise SandboxError(_cannot_start(_written_to(sandbox.stderr)))
            for _ in tests:
                reply = lines.next(wall_seconds + GRACE_SECONDS)
                run = _read(reply)
                yield run
                if run.ended == "sandbox_died":
                    return
        finally:
            sandbox.kill()


def check_sandbox() -> None:
    """Run an empty program.

    Raises:
        SandboxError: programs cannot be run on this machine; says what to do.
    """
    for _ in run_tests("", [{"input": ""}]):
        pass


def _command(limits: Limits) -> list[str]:
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError(
            "programs are run against tests only inside bubblewrap, and there is no `bwrap` on "
            "this machine: install it (Debian, Ubuntu: apt-get install bubblewrap), or do not "
            "verify the domain `code`"
        )
    python, prefix = _python()
    visible = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", prefix]
    binds = [part for path in visible for part in ("--ro-bind-try", path, path)]
    return [
        program,
        "--unshare-user", "--unshare-all", "--as-pid-1", "--disable-userns",
        "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL",
        "--new-session", "--die-with-parent", "--hostname", "sandbox",
        "--clearenv", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8",
        "--setenv", "PYTHONHASHSEED", "0",
        *binds,
        "--dev", "/dev",
        "--size", str(limits.scratch_mib << 20), "--tmpfs", "/tmp",
        "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp",
        python, "-I", "-S", "-B", "-c", LAUNCHER.read_text(encoding="utf-8"),
    ]  # fmt: skip


def _python() -> tuple[str, str]:
    """Interpreter and its prefix: ours, or the system's if ours is hidden in root's home."""
    ours = Path(sys._base_executable)  # type: ignore[attr-defined]  # not the environment's
    if os.geteuid() != 0 or _is_for_everybody(ours):
        return str(ours), sys.base_prefix
    if _is_for_everybody(SYSTEM_PYTHON):
        return str(SYSTEM_PYTHON), "/usr"
    raise SandboxError(
        f"no program is run, because only root can start {ours}, and there is no {SYSTEM_PYTHON}: "
        "put Python where every user can run it, or do not run as root"
    )


def _is_for_everybody(program: Path) -> bool:
    resolved = program.resolve()
    return resolved.is_file() and all(
        path.stat().st_mode & stat.S_IXOTH for path in (resolved, *resolved.parents)
    )


def _written_to(pipe: IO[bytes]) -> str:
    """What stands in a pipe, without waiting for what may still have it open."""
    os.set_blocking(pipe.fileno(), False)
    return (pipe.read() or b"").decode(errors="replace")


def _cannot_start(errors: str) -> str:
    return (
        "bubblewrap cannot start a sandbox on this machine, so no program is run: "
        f"{errors.strip()[:500] or 'it did not answer'}. It must be version 0.8 or newer and needs "
        "user namespaces (in a container: allow them in its security profile)"
    )


def _read(reply: Any) -> TestRun:
    """A reply of the launcher; whatever else stands there, the program has tampered with it."""
    try:
        printed = base64.b64decode(reply["printed"]).decode(errors="replace")
        return TestRun(str(reply["ended"]), printed, str(reply["errors"]), reply["held"] is True)
    except (KeyError, TypeError, ValueError):
        return TestRun("sandbox_died")
