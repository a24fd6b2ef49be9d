"""Steps side by side never hold the same GPU, whatever ends them; each is a real process."""

from __future__ import annotations

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

from resources.compute.gpu_lease import lease_gpus
from resources.compute.gpus import TooFewGpusError
from resources.engines.inference import InferenceModel

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
