"""The launcher: torchrun under Dagster through Pipes, progress as it comes, causes of failures."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from ray.job_submission import JobStatus
from support.tracked import event_files, told_losses
from support.training_stage import SETTINGS, cause, materialize, metadata

from formats.checkpoint_folder import settings_file
from resources.compute import training_launcher
from resources.compute.training_launcher import (
    OUTPUT_DIR,
    TrainingFailedError,
    TrainingLauncher,
    launcher,
    run_on_ray,
)

pytestmark = pytest.mark.slow


def test_two_processes_report_once_while_they_run_and_leave_curves_on_the_asset(
    tmp_path: Path,
) -> None:
    result, told = materialize(tmp_path, SETTINGS, TrainingLauncher(threads=2, profile="mine"))
    assert result.success, told[-5:]
    progress = [line for line in told if line.startswith("progress: step ")]
    n_steps = metadata(result)["steps"]
    last = [line for line in progress if f"step {n_steps}/{n_steps}" in line]
    assert len(last) == 1, "each rank reported"
    assert re.search(
        r"loss \d+\.\d+, learning rate \d\.\de-04, grad norm \d+\.\d+, [\d,]+ tokens/s, "
        r"\d+\.\d GiB, 0 s left$",
        last[0],
    )
    found = metadata(result)
    assert found["final_loss"] < found["first_loss"]
    assert found["peak_memory_gib"] > 0.05
    assert found["curves"].startswith("![Training curves](http")
    assert found["tensorboard"] == f"{found['path']}/tensorboard"
    checkpoint = tmp_path / "lake" / found["path"]
    assert len(event_files(checkpoint)) == 1, "each rank wrote"
    assert [step for step, _ in told_losses(checkpoint)] == list(range(1, n_steps + 1))
    tags = json.loads((checkpoint / "sft.json").read_text(encoding="utf-8"))["tags"]
    assert tags.pop("git_commit")
    assert tags == {
        "profile": "mine", "stage": "low_temperature", "checkpoint_key": checkpoint.name
    }  # fmt: skip


def test_a_failure_has_the_cause_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    alone = SETTINGS.model_copy(update={"processes": 1})
    result, told = materialize(tmp_path, alone, TrainingLauncher(gpus=1000))
    assert not result.success
    assert "TrainingError: compute.training.gpus is 1000 and processes 1" in cause(result)
    assert not [line for line in told if line.startswith("progress: step")]


def test_a_kill_leaves_what_the_program_was_started_with_beside_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing removes what lies in the temporary folder; the next run of the same removes this."""
    left: list[Path] = []

    def killed(client: Any, *, command: list[str], **_: Any) -> None:
        left.append(Path(command[-1]))
        settings = json.loads(left[-1].read_text(encoding="utf-8"))
        assert left[-1] == settings_file(Path(settings["output_dir"]))
        raise RuntimeError("stands for a kill")

    monkeypatch.setattr(dg.PipesSubprocessClient, "run", killed)
    for _ in range(2):
        materialize(tmp_path, SETTINGS, TrainingLauncher())
    first, second = left
    assert first.parent == tmp_path / "lake" / "checkpoints" / "low_temperature"
    assert second == first
    assert not first.exists()


def test_more_gpus_than_the_machine_has_are_refused_before_a_program_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    result, told = materialize(tmp_path, SETTINGS, TrainingLauncher(gpus=2))
    failure = result.failure_data_for_node("checkpoint")
    assert failure and failure.error and failure.error.cause
    assert "training asks for 2 GPU(s), this machine has 1" in failure.error.cause.message
    assert not [line for line in told if line.startswith("progress: step")]


def test_a_gang_without_a_cluster_is_told_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    context: Any = None  # it is not come to
    with pytest.raises(TrainingFailedError, match=r"no Ray cluster was reached.*\. Set RAY_API_SE"):
        run_on_ray(context, ["x"], {}, tmp_path / "checkpoint")


def test_a_job_that_outlived_its_run_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [
        SimpleNamespace(submission_id=name, metadata={OUTPUT_DIR: folder}, status=status)
        for name, folder, status in (
            ("other", "/elsewhere", JobStatus.RUNNING),
            ("ended", str(tmp_path), JobStatus.FAILED),
            ("orphan", str(tmp_path), JobStatus.RUNNING),
        )
    ]
    asked = iter([JobStatus.FAILED, JobStatus.RUNNING, JobStatus.SUCCEEDED])
    client: Any = SimpleNamespace(list_jobs=lambda: jobs, get_job_status=lambda name: next(asked))
    monkeypatch.setattr(training_launcher, "SECONDS_BETWEEN_LOOKS", 0.0)
    told: list[str] = []
    training_launcher.wait_for_job(client, tmp_path, told.append)
    assert told == ["progress: waiting for Ray job orphan of a run that was killed"]
    assert not list(asked)


@pytest.mark.parametrize(
    ("processes", "zero_stage", "gpus", "torchrun"),
    [(1, 0, 0, False), (2, 0, 0, True), (1, 3, 0, True), (1, 0, 1, True)],
)
def test_several_processes_deepspeed_or_gpus_are_started_by_torchrun(
    processes: int, zero_stage: int, gpus: int, torchrun: bool
) -> None:
    command = launcher(processes, zero_stage, gpus)
    assert ("torch.distributed.run" in command) is torchrun
    assert command[-2:] == ["-m", "training.sft"]
