"""An engine outlives the step, and nothing else: each keeper and server is a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from support import lease_child
from support.daemon import until

from resources.compute import gpu_lease
from resources.engines.protocol import EngineUnavailableError

from .conftest import Bench, is_there, kept_for

pytestmark = pytest.mark.slow


def test_the_next_step_uses_the_engine_and_it_ends_when_nobody_has_for_a_while(
    engine: Bench,
) -> None:
    # As a restart of the machine leaves it: files that say more than is so.
    (engine.place.folder / "running.json").write_text(
        json.dumps({"pid": os.getpid(), "sockets": [str(engine.place.socket(0))], "gpus": []})
    )
    engine.place.socket(0).touch()
    kept_for(engine, 0.5)
    first = engine.borrow()
    second = engine.borrow()
    assert first.running == second.running and len(engine.starts()) == 1
    assert engine.said[-1].startswith("progress: vLLM runs with a-model already")
    first.give_back()
    second.give_back()
    assert engine.ends()
    assert "nobody has used it for 0.5 s" in engine.place.log("keeper").read_text()
    engine.borrow().give_back()
    assert len(engine.starts()) == 2


def test_of_two_steps_at_once_one_starts_it_and_the_other_waits(engine: Bench) -> None:
    both: list[int] = []
    steps = [
        threading.Thread(target=lambda: both.append(engine.borrow().running.pid)) for _ in range(2)
    ]
    for step in steps:
        step.start()
    for step in steps:
        step.join()
    assert both[0] == both[1] and len(engine.starts()) == 1
    assert "progress: waiting for another step that starts vLLM with a-model" in engine.said


def test_a_server_that_ends_at_its_start_is_told_with_its_last_lines(
    engine: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_SERVER", "fail")
    with pytest.raises(EngineUnavailableError) as told:
        engine.borrow()
    assert "vLLM did not start with a-model" in str(told.value)
    assert "the model is too large: 80.1 GiB of 79.2 GiB" in str(told.value)
    assert "ended with code 1" in str(told.value)


@pytest.mark.parametrize("ended", ["the step while it loads", "the keeper", "the server"])
def test_nothing_is_left_of_what_was_killed(
    engine: Bench, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    if ended == "the step while it loads":
        monkeypatch.setenv("KEPT_SERVER", "load")
        step = os.fork()
        if not step:
            engine.borrow()
            os._exit(1)
        until(lambda: bool(engine.starts()))
        os.kill(step, signal.SIGKILL)
        os.waitpid(step, 0)
    else:
        running = engine.borrow().running
        os.kill(running.pid if ended == "the keeper" else engine.starts()[0][0], signal.SIGKILL)
    assert engine.ends()
    monkeypatch.setenv("KEPT_SERVER", "serve")
    assert is_there(engine.borrow().running.pid)


def test_gpus_that_are_asked_for_are_given_up_when_nobody_uses_the_engine(
    engine: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    kept_for(engine, 600.0, gpus=1)
    used = engine.borrow()
    assert engine.starts()[0][1] == "4"
    assert gpu_lease.seconds_waited(since=0.0) is not None  # its keeper's is the step's own
    step = subprocess.Popen(
        [sys.executable, lease_child.__file__, "2"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert step.stdout and step.stdin
    assert step.stdout.readline() == "progress: waiting for 2 free GPU(s) of 2\n"
    later = threading.Thread(target=engine.borrow)
    later.start()
    until(lambda: "progress: waiting behind another step for free GPUs" in engine.said)
    assert is_there(engine.starts()[0][0])  # somebody uses it
    used.give_back()
    assert step.stdout.readline() == "has 4,5\n"
    step.stdin.close()
    step.wait()
    later.join()
    assert [gpus for _, gpus in engine.starts()] == ["4", "4"]
