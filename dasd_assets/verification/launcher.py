"""The program inside the sandbox: runs one untrusted program on test after test.

It is started by `sandbox.py` with nothing but the standard library, and speaks over its own stdin
and stdout, which the untrusted program never sees: one JSON job in; out, one JSON line when it is
ready and one per test. Every test is a fork with its own limits, after which whatever it left
running is killed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from typing import Any

KEPT_ERROR_BYTES = 2_000
CHUNK_BYTES = 65_536
MIB = 1 << 20


def main() -> None:
    """Answer the job on stdin."""
    replies = os.dup(1)  # not inherited by programs that are executed; closed in forks
    job = json.loads(sys.stdin.buffer.read())
    _reply(replies, {"ready": True})
    for test in job["tests"]:
        _reply(replies, _run(job, test, replies))


def _reply(replies: int, message: dict[str, Any]) -> None:
    left = json.dumps(message).encode() + b"\n"
    while left:
        left = left[os.write(replies, left) :]


def _run(job: dict[str, Any], test: dict[str, Any], replies: int) -> dict[str, Any]:
    given = os.memfd_create("input")
    os.write(given, test["input"].encode())
    os.lseek(given, 0, os.SEEK_SET)
    (out, out_write), (error, error_write) = os.pipe(), os.pipe()
    program = os.fork()
    if not program:
        for target, source in enumerate((given, out_write, error_write)):
            os.dup2(source, target)
        for descriptor in (replies, given, out, out_write, error, error_write):
            os.close(descriptor)
        _become_the_program(job, test)
    for descriptor in (given, out_write, error_write):
        os.close(descriptor)
    printed, errors, ended = _watch(program, out, error, job)
    for descriptor in (out, error):
        os.close(descriptor)
    return {
        "ended": ended,
        "printed": base64.b64encode(printed).decode(),
        "errors": errors.decode(errors="replace"),
    }


def _watch(program: int, out: int, error: int, job: dict[str, Any]) -> tuple[bytes, bytes, str]:
    """What the program printed, the end of its errors, and how it ended."""
    deadline = time.monotonic() + job["wall_seconds"]
    printed, errors, ended = bytearray(), bytearray(), ""
    with selectors.DefaultSelector() as selector:
        exit_event = os.pidfd_open(program)
        for descriptor in (out, error, exit_event):
            selector.register(descriptor, selectors.EVENT_READ)
        # When the program has ended nothing of it runs on, and its pipes come to their end.
        while len(selector.get_map()):
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready and not ended:
                ended = "timeout"
                _kill_all()
            for key, _ in ready:
                if key.fd == exit_event:
                    selector.unregister(exit_event)
                    _kill_all()
                    continue
                chunk = os.read(key.fd, CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fd)
                elif key.fd == error:
                    errors = (errors + chunk)[-KEPT_ERROR_BYTES:]
                elif len(printed) + len(chunk) > job["output_bytes"] and not ended:
                    ended = "output_limit"
                    _kill_all()
                elif not ended:
                    printed += chunk
        os.close(exit_event)
    status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    return bytes(printed), bytes(errors), ended or _how_it_ended(status, bytes(errors))


def _how_it_ended(status: int, errors: bytes) -> str:
    if status == 0:
        return "finished"
    if -status in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout"  # the hard limit of processor time ends in SIGKILL
    if b"MemoryError" in errors:
        return "memory_limit"
    return "runtime_error"


def _kill_all() -> None:
    """End every process of the sandbox but this one and its first, which cannot be killed."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _become_the_program(job: dict[str, Any], test: dict[str, Any]) -> None:
    status = 1
    try:
        os.setsid()
        _limit(job)
        sys.argv = ["program.py"]
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        program = compile(job["source"], "program.py", "exec")
        names: dict[str, Any] = {"__name__": "program" if "assertions" in test else "__main__"}
        exec(compile(job["preamble"], "preamble", "exec"), names)
        exec(program, names)
        if "assertions" in test:
            _assert(names, test)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if "assertions" in test:
            status = 1  # it left before it was asked anything
    except BaseException:
        traceback.print_exc(limit=-2)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status & 0xFF)


def _assert(names: dict[str, Any], test: dict[str, Any]) -> None:
    """Run the assertions; only after all of them the token is printed, on a line of its own."""
    names["candidate"] = names[test["entry_point"]]
    for assertion in test["assertions"]:
        exec(compile(assertion, "assertion", "exec"), names)
    print("\n" + test["token"])


def _limit(job: dict[str, Any]) -> None:
    memory = job["memory_mib"] * MIB
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, job["cpu_seconds"]),
        (resource.RLIMIT_FSIZE, job["scratch_mib"] * MIB),
        (resource.RLIMIT_NPROC, job["processes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main()
