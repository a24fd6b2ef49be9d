"""Boxed answers, by number, by expression, and from processes that hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from dasd_assets.profile import Verification
from dasd_assets.verification import math_workers
from dasd_assets.verification.graders import grade
from dasd_assets.verification.math_answers import grade_math, last_boxed
from dasd_assets.verification.math_workers import compare_expressions

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("text", "boxed"),
    [
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed {x}", "x"),
        (r"\boxed{1} and \boxed{2", "1"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{a \boxed{b} c}", "b"),
        (r"\boxed{}", ""),
        (r"\boxed", None),
        ("boxed{1}", None),
        (r"\boxed{" * 20_000, None),
        (r"\boxed{1}" + r"\boxed{{" * 20_000, "1"),
    ],
)
def test_the_last_closed_box(text: str, boxed: str | None) -> None:
    assert last_boxed(text) == boxed


@pytest.mark.parametrize(
    ("reference", "answer", "reason"),
    [
        ("632", "632", "correct"),
        ("1000", "1,000", "correct"),
        ("1000", r"1\,000", "correct"),
        ("0.5", r"\frac12", "correct"),
        (r"\frac{3}{4}", "0.75", "correct"),
        (r"$\frac{3}{4}$", r"\dfrac{3}{4}", "correct"),
        (r"\boxed{7}", "7", "correct"),
        (7, "7.0", "correct"),
        (2.5, "2.5", "correct"),
        (r"2\sqrt{3}", r"\sqrt{12}", "correct"),
        (r"\{1, 2\}", r"\{2, 1\}", "correct"),
        ("(1, 2)", "(1, 2)", "correct"),
        ("(1, 2)", "(2, 1)", "not_equal"),
        ("x^2 - 1", "(x-1)(x+1)", "correct"),
        ("x^2 - 1", "x^2 + 1", "not_equal"),
        (r"\pi", "3.14", "not_equal"),
        ("632", "633", "wrong_number"),
        ("0.5", "0.6", "not_equal"),
        ("11/2", "1 1/2", "not_equal"),
        ("1632", "1{,}632", "correct"),
        ("1632", "1 632", "correct"),
        ("6", "", "not_an_expression"),
    ],
)
def test_answers_are_compared_by_value(reference: object, answer: str, reason: str) -> None:
    result = grade_math(rf"It is \boxed{{{answer}}}.", reference, seconds=60)
    assert (result.is_correct, result.reason) == (reason == "correct", reason)
    assert bool(result.detail) is not result.is_correct


@pytest.mark.parametrize("reference", ["", "  ", "$$", None, [], {"a": 1}, True, "x" * 3_000])
def test_an_unusable_reference_is_an_error_that_shows_it(reference: object) -> None:
    with pytest.raises(ValueError, match="math reference must be a number or an expression, found"):
        grade_math(r"\boxed{1}", reference, seconds=60)


def test_a_reference_that_math_verify_cannot_read_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"found .*no idea"):
        grade_math(r"\boxed{1}", r"\text{no idea", seconds=60)


def workers() -> set[int]:
    return {
        child.pid
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "math_worker.py" in " ".join(child.cmdline())
    }


@pytest.mark.parametrize("hang", ["9^{9^{9^{9}}}", "2^{10000000000}", "(10^9)!"])
def test_an_expression_that_hangs_is_a_timeout_and_its_worker_is_replaced(hang: str) -> None:
    assert compare_expressions("1", "1", seconds=60) == "correct"
    before = workers()
    result = grade("math", rf"\boxed{{{hang}}}", "6", Verification(math_seconds=0.5))
    assert (result.is_correct, result.reason) == (False, "timeout")
    assert before - workers(), "the worker that was late still runs"
    assert compare_expressions("1/2", "0.5", seconds=60) == "correct"
    assert workers() - before


def test_a_worker_that_dies_is_replaced() -> None:
    assert compare_expressions("1", "1", seconds=60) == "correct"
    kill_workers()
    assert compare_expressions("1", "1", seconds=60) == "correct"
    killer = threading.Timer(0.5, kill_workers)
    killer.start()
    assert compare_expressions("6", "9^{9^{9^{9}}}", seconds=60) == "not_comparable"
    killer.join()
    assert compare_expressions("1", "1", seconds=60) == "correct"


def kill_workers() -> None:
    killed = [psutil.Process(process_id) for process_id in workers()]
    for process in killed:
        process.kill()
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in killed):
        time.sleep(0.01)


@pytest.mark.timeout(120)
def test_a_worker_that_reads_nothing_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text("import time\nprint('{\"ready\": true}', flush=True)\ntime.sleep(600)")
    worker = math_workers._Worker(program)
    assert worker.compare("1", "1" * 1_000_000, seconds=0.5) == "timeout"
    assert not worker.is_usable


def test_a_worker_whose_starter_has_died_does_not_hang_on_for_ever() -> None:
    """The kernel ends it when the processor time of its request is used up."""
    program = [sys.executable, "-I", str(math_workers.WORKER)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin and worker.stdout
        worker.stdout.readline()
        request = {"reference": "6", "answer": "9^{9^{9^{9}}}", "seconds": -4}
        worker.stdin.write(json.dumps(request).encode() + b"\n")
        worker.stdin.flush()
        assert worker.wait(timeout=60) < 0


def test_threads_have_workers_of_their_own() -> None:
    verdicts: dict[int, str] = {}

    def one(n: int) -> None:
        verdicts[n] = compare_expressions(f"{n}/2", rf"\frac{{{n}}}{{2}}", seconds=60)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == dict.fromkeys(range(1, 4), "correct")


def test_a_forked_process_does_not_use_its_parents_workers() -> None:
    assert compare_expressions("1", "1", seconds=60) == "correct"
    child = os.fork()
    if not child:
        status = 1
        try:
            status = compare_expressions("1/3", r"\frac13", seconds=60) != "correct"
        finally:
            os._exit(int(status))
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        assert compare_expressions("1/2", "0.5", seconds=60) == "correct"
        time.sleep(0.05)
    assert ended and status == 0


def test_a_worker_that_cannot_start_is_an_error_that_names_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "worker.py"
    broken.write_text("import no_such_module")
    with pytest.raises(RuntimeError, match=r"did not start: try .*worker\.py"):
        math_workers._Worker(broken)
