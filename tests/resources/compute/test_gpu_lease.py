"""Steps side by side never hold the same GPU, whatever ends them; each is a real process."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support import lease_child
from support.training_rows import STUDENT

from resources.compute import gpu_lease
from resources.compute.gpu_lease import lease_gpus, seconds_waited
from resources.compute.gpus import TooFewGpusError
from resources.engines.inference import InferenceModel

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]
WAITS = "progress: waiting"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a step that asks for GPUs on a machine whose GPUs 4, 5 and 7 are the pipeline's."""
    with ExitStack() as steps:

        def started(*arguments: str, visible: str = "4,5,7") -> subprocess.Popen[str]:
            locks = {"CUDA_VISIBLE_DEVICES": visible, "DASD_GPU_LOCKS": str(tmp_path / "l")}
            step = subprocess.Popen(
                [sys.executable, lease_child.__file__, *arguments],
                env=os.environ | locks, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                start_new_session=True,
            )  # fmt: skip
            steps.callback(step.wait)
            steps.callback(kill_group, step)
            return step

        yield started


def kill_group(step: subprocess.Popen[str]) -> None:
    """End a step and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(step.pid, signal.SIGKILL)


def line(step: subprocess.Popen[str]) -> str:
    assert step.stdout
    return step.stdout.readline().rstrip("\n")


def end(step: subprocess.Popen[str]) -> None:
    assert step.stdin
    step.stdin.close()
    step.wait()


def test_steps_side_by_side_get_different_gpus_and_the_next_waits_for_a_free_one(
    start: Start,
) -> None:
    first = start("2")
    assert line(first) == "has 4,5"
    second = start("1")
    assert line(second) == "has 7"
    third = start("2")
    assert line(third) == "progress: waiting for 2 free GPU(s) of 3"
    end(second)
    first.kill()  # as the kernel does for want of memory: nothing is tidied up
    first.wait()
    assert line(third) == "has 4,5"


def test_a_step_that_needs_all_is_not_passed_by_those_that_need_one(start: Start) -> None:
    small = start("1")
    assert line(small) == "has 4"
    all_of_them = start("3")
    assert line(all_of_them).startswith(WAITS)
    later = start("1")
    assert line(later) == "progress: waiting behind another step for free GPUs"
    end(small)
    assert line(all_of_them) == "has 4,5,7"
    assert line(later) == "progress: waiting for 1 free GPU(s) of 3"
    end(all_of_them)
    assert line(later) == "has 4"


def test_a_rank_waits_for_the_gpu_that_ray_chose_and_steps_take_others(start: Start) -> None:
    step = start("1")
    assert line(step) == "has 4"
    rank = start("chosen", "4")
    assert line(rank) == "progress: waiting for 1 free GPU(s) of 1"
    end(step)
    assert line(rank) == "holds 4 of 4,5,7"
    assert line(start("1")) == "has 5"


def test_the_program_of_a_killed_step_keeps_its_gpus(start: Start) -> None:
    step = start("2", "program")
    assert [line(step), line(step)] == ["has 4,5", "kept 4,5"]
    os.kill(step.pid, signal.SIGKILL)
    step.wait()
    next_step = start("3")
    assert line(next_step) == "progress: waiting for 3 free GPU(s) of 3"
    assert step.stdin
    step.stdin.close()  # the program ends
    assert line(next_step) == "has 4,5,7"


def test_more_than_there_are_is_refused_at_once(start: Start) -> None:
    assert line(start("4")) == (
        "this step asks for 4 GPU(s), this machine has 3 (CUDA_VISIBLE_DEVICES and DASD_GPUS may "
        "say fewer than there are). Lower `compute.….gpus` in the profile, or run it where there "
        "are more."
    )


def test_without_gpus_or_a_wish_for_them_nothing_is_held(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line(start("2", visible="")) == "has "
    assert line(start("0")) == "has 4,5,7"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert lease_gpus(1, "this step", lambda line: pytest.fail(line)) == []
    assert not (tmp_path / "l").exists()


class Clock:
    """Goes on while somebody sleeps; at noon another step gives back its GPU."""

    def __init__(self, noon: float, other: int) -> None:
        self._now, self._noon, self._other = 1_000.0, noon, other

    def time(self) -> float:
        return self._now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        if self._now == self._noon:
            os.close(self._other)


def test_how_long_a_step_waited_for_its_gpus_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[str, int] = {}
    monkeypatch.setattr(gpu_lease, "_held", held)
    monkeypatch.setattr(gpu_lease, "_wait", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    monkeypatch.setenv("DASD_GPU_LOCKS", str(tmp_path))
    monkeypatch.setenv(gpu_lease.LEASED, "")
    other = os.open(tmp_path / "4.lock", os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    monkeypatch.setattr(gpu_lease, "time", Clock(noon=1_012.0, other=other))
    assert seconds_waited(since=0.0) is None
    lines: list[str] = []
    for _ in range(2):  # the second time it has them
        assert lease_gpus(1, "this step", lines.append) == ["4"]
    assert seconds_waited(since=1_000.0) == 12.0
    assert seconds_waited(since=1_001.0) is None  # a later step of the process
    assert lines == ["progress: waiting for 1 free GPU(s) of 1"]
    os.close(held["4"])


def test_a_model_holds_its_gpus_and_one_on_a_server_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    embedded = InferenceModel(path="a-model", engine={"kind": "vllm"}, gpus=2)
    refused = pytest.raises(TooFewGpusError, match=r"a-model asks for 2 GPU\(s\), this .* has 1")
    with refused, embedded.open():
        pass
    made_up = InferenceModel(path=str(STUDENT), engine={"kind": "synthetic"}, gpus=2)
    with made_up.open():
        pass
