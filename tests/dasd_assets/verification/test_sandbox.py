"""The sandbox against programs that want out, or more than their share. Nothing here is mocked
but what a machine lacks; without bubblewrap these tests fail, as the sandbox itself does."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from dasd_assets.verification import sandbox
from dasd_assets.verification.sandbox import Limits, SandboxError, TestRun, run_tests

pytestmark = pytest.mark.slow

LIMITS = Limits(cpu_seconds=1, memory_mib=256, scratch_mib=16, output_bytes=100_000)


def run(program: str, given: str = "", limits: Limits = LIMITS) -> TestRun:
    (result,) = run_tests(program, [{"input": given}], limits)
    return result


def test_a_program_reads_its_input_and_its_output_comes_back() -> None:
    result = run("import sys\nprint(sum(map(int, sys.stdin.read().split())))", "1 2\n39\n")
    assert result == TestRun("finished", "42\n", "")


def test_each_test_is_a_process_of_its_own() -> None:
    program = "import os\nn = len(os.listdir('/tmp'))\nopen('x', 'w').close()\nprint(input(), n)"
    runs = list(run_tests(program, [{"input": "a"}, {"input": "b"}], LIMITS))
    assert [each.printed for each in runs] == ["a 0\n", "b 1\n"]
    assert run("import os\nprint(os.listdir('/tmp'))").printed == "[]\n"


@pytest.mark.parametrize(
    ("program", "ended", "errors"),
    [
        ("1 / 0", "runtime_error", "ZeroDivisionError: division by zero"),
        ("def f(:", "runtime_error", "SyntaxError"),
        ("raise SystemExit(3)", "runtime_error", ""),
        ("raise SystemExit('no')", "runtime_error", ""),
        ("raise SystemExit", "finished", ""),
        ("import os\nos.abort()", "runtime_error", ""),
        ("import sys\nsys.setrecursionlimit(99)\ndef f(): f()\nf()", "runtime_error", "Recursion"),
        ("import sys\nprint('x', file=sys.stderr)", "finished", "x"),
    ],
)
def test_how_a_program_ends(program: str, ended: str, errors: str) -> None:
    result = run(program)
    assert result.ended == ended
    assert errors in result.errors


@pytest.mark.parametrize(
    "program",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}/', timeout=2)",
        "import socket\nsocket.create_connection(('192.0.2.1', 80), 2)",
        "import socket\nsocket.getaddrinfo('example.org', 80)",
    ],
)
def test_there_is_no_network_not_even_to_this_machine(program: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        result = run(program.format(port=server.getsockname()[1]))
        with pytest.raises(TimeoutError):
            server.accept()
    assert result.ended == "runtime_error"
    assert "rror: [Errno" in result.errors


def test_no_file_of_the_machine_can_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    secret.chmod(0o644)
    for path in (secret, Path.home(), "/etc/passwd", "/proc/self/environ", "/root", "/home", "/var",
                 Path(__file__).parent):  # fmt: skip
        read = "print(os.listdir(p) if os.path.isdir(p) else open(p).read())"
        result = run(f"import os\np = {str(path)!r}\n{read}")
        # Python itself may lie in a home: then the folders on the way to it are there, and empty.
        assert "the secret" not in result.printed
        if result.ended == "finished":
            prefix = Path(sandbox._python()[1])
            assert Path(path) in (prefix, *prefix.parents)
        else:
            assert "No such file or directory" in result.errors


def test_no_secret_stands_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "the secret")
    printed = run("import os\nprint(sorted(os.environ))").printed
    assert "API_KEY" not in printed
    assert "'HOME'" in printed


@pytest.mark.parametrize(
    "path", ["/x", "/usr/x", "/usr/bin/python3", "/dev/x", "/dev/shm/x", "{p}"]
)
def test_nothing_is_written_outside_of_its_own_tmp(path: str, tmp_path: Path) -> None:
    result = run(f"open({path.format(p=tmp_path / 'x')!r}, 'a').write('x')")
    assert result.ended == "runtime_error"
    assert not (tmp_path / "x").exists()
    own = Path("/tmp", f"only-inside-{uuid4().hex}")
    assert run(f"open('{own}', 'w').write('x')\nprint(open('{own}').read())").printed == "x\n"
    assert not own.exists()


def test_an_endless_loop_and_endless_sleep_are_stopped() -> None:
    assert run("while True: pass").ended == "timeout"
    assert run("import time\ntime.sleep(1e6)").ended == "timeout"
    stubborn = "import signal, time\nfor s in (1, 2, 3, 15, 24): signal.signal(s, lambda *_: 0)\n"
    assert run(stubborn + "while True: pass").ended == "timeout"


def test_the_tests_after_a_timeout_are_run() -> None:
    program = "while input() == 'stay': exec('while True: pass')\nprint('left')"
    runs = run_tests(program, [{"input": "stay"}, {"input": "go"}], LIMITS)
    assert [each.ended for each in runs] == ["timeout", "finished"]


@pytest.mark.parametrize(
    "program",
    ["x = 'a' * 10 ** 10", "x = [0]\nwhile True: x += x", "x = bytearray(300 << 20)"],
)
def test_a_memory_bomb_is_stopped(program: str) -> None:
    assert run(program).ended == "memory_limit"


def test_a_fork_bomb_has_a_handful_of_processes() -> None:
    count = (
        "import os, time\nn = 0\nwhile True:\n    try:\n        if not os.fork(): time.sleep(9)\n"
    )
    count += "        n += 1\n    except OSError:\n        break\nprint(n)"
    result = run(count)
    assert result.ended == "finished"
    assert int(result.printed) < LIMITS.processes
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    assert run(bomb).ended == "timeout"


def test_threads_are_allowed() -> None:
    program = "import threading\nt = threading.Thread(target=lambda: print('hi'))\nt.start()"
    assert run(program).printed == "hi\n"


def test_output_is_capped() -> None:
    result = run("while True: print('x' * 1000)")
    assert result.ended == "output_limit"
    assert len(result.printed) <= LIMITS.output_bytes
    endless = run("import sys\nwhile True: sys.stderr.write('x' * 1000)")
    assert endless.ended == "timeout"
    assert len(endless.errors) < 3_000


@pytest.mark.parametrize(
    "program",
    [
        "f = open('x', 'wb')\nwhile True: f.write(b'0' * (1 << 20))",
        "i = 0\nwhile True:\n    i += 1\n    open(f'x{i}', 'wb').write(b'0' * (1 << 20))",
        "i = 0\nwhile True:\n    i += 1\n    globals()[f'f{i}'] = open(f'x{i}', 'w')",
    ],
)
def test_files_are_few_and_small(program: str) -> None:
    assert run(program).ended == "runtime_error"


def processes_named(command: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or []) == command:
            found.append(process.pid)
    return found


def test_a_child_that_wants_to_live_on_is_ended() -> None:
    child = (
        "import os\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n"
        "        os.execv('/bin/sleep', ['sleep', '7653'])\n    os._exit(0)\nprint('done')"
    )
    runs = list(run_tests(child, [{"input": ""}] * 3, LIMITS))
    assert [each.printed for each in runs] == ["done\n"] * 3
    wait_until(lambda: not processes_named("sleep 7653"))


def test_closing_early_ends_everything() -> None:
    sleeper = "import os\nif input(): os.execv('/bin/sleep', ['sleep', '7654'])"
    runs = run_tests(sleeper, [{"input": "\n"}, {"input": "x"}], Limits(cpu_seconds=60))
    assert next(runs).ended == "finished"
    wait_until(lambda: bool(processes_named("sleep 7654")))
    runs.close()
    wait_until(lambda: not processes_named("sleep 7654"))


def wait_until(holds) -> None:  # type: ignore[no-untyped-def]
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to that")


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGSTOP", "SIGTERM"])
def test_a_program_cannot_end_its_launcher(signal: str) -> None:
    program = f"import os, signal\nos.kill(os.getppid(), signal.{signal})\nprint(1)"
    runs = list(run_tests(program, [{"input": ""}] * 2, LIMITS))
    assert [(each.ended, each.printed) for each in runs] == [("finished", "1\n")] * 2


def test_a_program_cannot_interrupt_what_runs_it() -> None:
    program = "import os, signal\nos.kill(os.getppid(), signal.SIGINT)\nprint(1)"
    runs = list(run_tests(program, [{"input": ""}] * 2, LIMITS))
    assert [(each.ended, each.printed) for each in runs] == [("finished", "1\n")] * 2


def test_it_is_nobody_and_cannot_become_more() -> None:
    result = run("import os\nprint(os.getuid(), os.getgid(), os.getpid() < 9)")
    assert result.printed == "65534 65534 True\n"
    assert run("import os\nos.setuid(0)").ended == "runtime_error"
    more = "import resource as r\nr.setrlimit(r.RLIMIT_NPROC, (99, 99))"
    assert run(more).ended == "runtime_error"
    again = "import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))"
    assert run(again).printed == "-1\n"


def test_several_sandboxes_at_once() -> None:
    results: dict[int, str] = {}

    def one(n: int) -> None:
        results[n] = run(f"print({n})").printed

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: f"{n}\n" for n in range(6)}


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="no `bwrap` on this machine: install it"):
        run(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("given", ["", "x" * 1_000_000], ids=["nothing", "much"])
def test_where_bubblewrap_cannot_start_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    pretend_bubblewrap(
        "echo 'bwrap: No permissions to create a namespace' >&2; exit 1", tmp_path, monkeypatch
    )
    with pytest.raises(SandboxError, match=r"No permissions to create a namespace\. It must be"):
        run("print(1)", given)


@pytest.mark.timeout(120)
def test_a_sandbox_that_reads_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "START_SECONDS", 0.5)
    pretend_bubblewrap("echo 'bwrap: in no hurry' >&2; exec sleep 7655", tmp_path, monkeypatch)
    with pytest.raises(SandboxError, match=r"cannot start a sandbox.*bwrap: in no hurry"):
        run("print(1)", "x" * 1_000_000)
    wait_until(lambda: not processes_named("sleep 7655"))


def pretend_bubblewrap(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.geteuid() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o111)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_as_root_an_interpreter_that_only_root_can_start_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox.os, "geteuid", lambda: 0)
    monkeypatch.setattr(sandbox, "_is_for_everybody", lambda program: False)
    with pytest.raises(SandboxError, match="only root can start"):
        run("print(1)")


def test_this_machine_has_bubblewrap() -> None:
    assert shutil.which("bwrap"), "install bubblewrap: these tests must not be left out"
