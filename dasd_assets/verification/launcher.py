"""The program inside the sandbox: runs one untrusted program on test after test.

It is started by `sandbox.py` with nothing but the standard library, and speaks over its own stdin
and stdout, which the untrusted program never sees: one JSON job in; out, one JSON line when it is
ready and one per test. Every test is a fork with its own limits, after which whatever it left
running is killed. A program may put its own functions in place of Python's: what runs after it is
taken hold of before it. This process is the first of the sandbox, which no signal from inside ends,
and nobody can take its pipes, see `_keep_out`.
"""

from __future__ import annotations

import _sitebuiltins
import atexit
import base64
import builtins
import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import sys
import threading
import time
import traceback
from types import ModuleType
from typing import Any

KEPT_ERROR_BYTES = 2_000
CHUNK_BYTES = 65_536
MIB = 1 << 20
TOKEN_BYTES = 16
PR_SET_DUMPABLE = 4


def main() -> None:
    """Answer the job on stdin."""
    _keep_out()
    # Python's own handler would let a program interrupt this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.dup(1)  # not inherited by programs that are executed; closed in forks
    job = json.loads(sys.stdin.buffer.read())
    _reply(replies, {"ready": True})
    for test in job["tests"]:
        _reply(replies, _run(job, test, replies))


def _keep_out() -> None:
    """Let no other process read this one's memory or take its pipes (pidfd_getfd, ptrace)."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def _reply(replies: int, message: dict[str, Any]) -> None:
    left = json.dumps(message).encode() + b"\n"
    while left:
        left = left[os.write(replies, left) :]


def _run(job: dict[str, Any], test: dict[str, Any], replies: int) -> dict[str, Any]:
    given = os.memfd_create("input")
    os.write(given, test["input"].encode())
    os.lseek(given, 0, os.SEEK_SET)
    (out, out_write), (error, error_write) = os.pipe(), os.pipe()
    held, held_write = os.pipe()
    token = os.urandom(TOKEN_BYTES)
    program = os.fork()
    if not program:
        for target, source in enumerate((given, out_write, error_write)):
            os.dup2(source, target)
        for descriptor in (replies, given, out, out_write, error, error_write, held):
            os.close(descriptor)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _become_the_program(job, test, held_write, token)
    for descriptor in (given, out_write, error_write, held_write):
        os.close(descriptor)
    printed, errors, ended = _watch(program, out, error, job)
    # Everything that could write has ended; more than the token is not from us.
    is_held = os.read(held, TOKEN_BYTES + 1) == token
    for descriptor in (out, error, held):
        os.close(descriptor)
    return {
        "ended": ended,
        "printed": base64.b64encode(printed).decode(),
        "errors": errors.decode(errors="replace"),
        "held": is_held,
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
    with contextlib.suppress(ChildProcessError):
        while True:  # all of them were killed
            os.waitpid(-1, 0)
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
    """End every process of the sandbox but this one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _become_the_program(job: dict[str, Any], test: dict[str, Any], held: int, token: bytes) -> None:
    run, leave, write = exec, os._exit, os.write
    show, finish = traceback.print_exception, _finish
    status = 1
    try:
        os.setsid()
        _limit(job)
        module = _as_in_a_plain_python("program" if "assertions" in test else "__main__")
        names = vars(module)
        assertions = [compile(each, "assertion", "exec") for each in test.get("assertions", ())]
        program = compile(job["source"], "program.py", "exec")
        run(compile(job["preamble"], "preamble", "exec"), names)
        run(program, names)
        if "assertions" in test:
            names["candidate"] = names[test["entry_point"]]
            for assertion in assertions:
                run(assertion, names)
            write(held, token)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            write(2, end.code.encode(errors="replace") + b"\n")
        if "assertions" in test:
            status = 1  # it left before it was asked everything
    except BaseException as error:
        show(error, limit=-2)
    finally:
        try:
            finish()
        finally:
            leave(status & 0xFF)


def _as_in_a_plain_python(name: str) -> ModuleType:
    """Files, names and the module that a program finds when it is started by itself."""
    sys.argv = ["program.py"]
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for word in ("exit", "quit"):  # the module site, which is left out, would make them
        setattr(builtins, word, _sitebuiltins.Quitter(word, "Ctrl-D (i.e. EOF)"))
    module = sys.modules[name] = sys.modules["__main__"] = ModuleType(name)
    return module


def _finish(
    wait_for_threads: Any = threading._shutdown,  # type: ignore[attr-defined]
    run_exit_functions: Any = atexit._run_exitfuncs,
) -> None:
    """What Python does before it leaves."""
    wait_for_threads()
    run_exit_functions()
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        with contextlib.suppress(AttributeError, ValueError):
            getattr(sys, name).flush()


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
