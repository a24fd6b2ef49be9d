"""Jobs of Slurm: the scripts that are submitted, and submitit's own tasks on this machine.

There is no Slurm here. `sbatch` and the others are programs of a few lines that keep what they are
given and answer as Slurm's do; the training itself runs as a job of submitit's local executor.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from submitit import AutoExecutor
from support.training_rows import sample_files, with_set

from formats.checkpoint_folder import LOG, partial_folder
from resources.compute.declared import Slurm
from resources.compute.gang import Gang
from training import on_slurm
from training.errors import TrainingError
from training.on_slurm import slurm_executor, train_by
from training.sft import SftConfig, train

pytestmark = [pytest.mark.slow, pytest.mark.deployment("slurm")]

PAPERS = Gang(processes=16, machines=2, gpus=16, cpus=64, memory_gib=512)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's programs: what is submitted is kept in `script`, and its node fails."""
    programs = {
        "sbatch": f'cp "$1" {tmp_path}/script; echo Submitted batch job 7',
        "srun": "exit 1",
        "sacct": "printf 'JobID|State|NodeList\\n7|NODE_FAIL|a\\n'",
        "scancel": f"echo $* >> {tmp_path}/cancelled",
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)
    return tmp_path


def test_a_job_asks_for_what_is_declared_and_one_of_a_name_runs_at_a_time(slurm: Path) -> None:
    settings = Slurm(
        partition="gpu", account="dasd", minutes=600, options={"qos": "high"},
        setup=["module load cuda"],
    )  # fmt: skip
    logs = slurm / "logs"
    slurm_executor(logs, "dasd-low-1f", PAPERS, settings).submit(print)
    assert (slurm / "script").read_text(encoding="utf-8").splitlines() == [
        "#!/bin/bash",
        "",
        "# Parameters",
        "#SBATCH --account=dasd",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --dependency=singleton",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --job-name=dasd-low-1f",
        "#SBATCH --mem=512GB",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=8",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={logs}/%j_0_log.out",
        "#SBATCH --partition=gpu",
        "#SBATCH --qos=high",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR2@90",
        "#SBATCH --time=600",
        "#SBATCH --wckey=submitit",
        "",
        "# setup",
        "module load cuda",
        "",
        "# command",
        "export SUBMITIT_EXECUTOR=slurm",
        f"srun --unbuffered --output {logs}/%j_%t_log.out --kill-on-bad-exit=1 "
        f"{sys.executable} -u -m submitit.core._submit {logs}",
    ]


def test_without_settings_and_gpus_nothing_is_asked_for_that_was_not_declared(slurm: Path) -> None:
    gang = Gang(processes=3, machines=1, cpus=2)
    slurm_executor(slurm / "logs", "x", gang, Slurm()).submit(print)
    script = (slurm / "script").read_text(encoding="utf-8")
    assert not [name for name in ("gpus", "partition", "account") if f"#SBATCH --{name}" in script]
    assert "# setup" not in script
    assert "#SBATCH --cpus-per-task=1\n" in script


def test_a_machine_without_slurm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrainingError, match="`sbatch` and `srun` are not on this machine's PATH"):
        slurm_executor(tmp_path, "x", PAPERS, Slurm())


def test_a_job_whose_node_fails_is_submitted_again_and_then_told_of(
    config: SftConfig, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = slurm_executor(slurm / "logs", "x", PAPERS, Slurm())
    with pytest.raises(TrainingError, match=r"(?s)^job 7 ended as NODE_FAIL: .*restarted 1 time"):
        train_by(executor, config, restarts=1)
    told = capsys.readouterr().out
    assert told.count("Job 7, whose logs are in ") == 2
    assert "Restarting all (1 of 1)" in told
    cancelled = (slurm / "cancelled").read_text(encoding="utf-8").split()
    assert cancelled == ["7", "7"], "what Slurm has queued again would train as well"


def test_a_job_that_somebody_cancels_is_not_submitted_again(
    config: SftConfig, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {  # of another job than above: submitit remembers states
        "sbatch": "echo Submitted batch job 8",
        "sacct": "printf 'JobID|State|NodeList\\n8|CANCELLED by 1000|a\\n'",
    }
    for name, body in told.items():
        (slurm / "bin" / name).write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
    with pytest.raises(TrainingError, match=r"^job 8 was cancelled$"):
        train_by(slurm_executor(slurm / "logs", "x", PAPERS, Slurm()), config, restarts=2)
    assert capsys.readouterr().out.count("Job 8, whose logs are in ") == 1


def test_tasks_of_submitit_train_as_one_process(
    config: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(on_slurm, "SECONDS_BETWEEN_LOOKS", 0.5)
    one = config.model_copy(update={"micro_batch_size": 1, "epochs": 1})
    one = with_set(one, *sample_files(config), multiple_of=2)
    train(one, lambda line: None)
    two = one.model_copy(update={"output_dir": str(tmp_path / "two"), "processes": 2})
    executor = AutoExecutor(tmp_path / "logs", cluster="local")
    executor.update_parameters(tasks_per_node=2, timeout_min=10)
    train_by(executor, two, restarts=0)
    assert losses(two) == pytest.approx(losses(one), abs=1e-3)
    assert capsys.readouterr().out.count("progress: step ") >= 1
    other = two.model_copy(update={"output_dir": str(tmp_path / "other"), "processes": 1})
    with pytest.raises(TrainingError, match=r"processes is 1 .*2 process\(es\) were started"):
        train_by(executor, other, restarts=5)
    assert "TrainingError: " in (partial_folder(tmp_path / "other") / "error.txt").read_text(
        "utf-8"
    )


def losses(config: SftConfig) -> list[float]:
    lines = (Path(config.output_dir) / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]
