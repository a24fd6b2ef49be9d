"""Training over two machines, the second one reached by a real sshd: the losses of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.daemon import until
from support.ssh_hosts import AWAY, OTHER, other_machine
from support.training_rows import sample_files, with_set

from formats.checkpoint_folder import ERROR, LOG, partial_folder
from training.on_hosts import on_other_machine
from training.sft import SftConfig, train

pytestmark = [pytest.mark.slow, pytest.mark.deployment("hosts")]

SECONDS_TO_TRAIN = 300
HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with other_machine(tmp_path_factory.mktemp("ssh")) as path:
        yield {**os.environ, **path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def start(
    config: SftConfig, folder: Path, environment: dict[str, str], **settings: Any
) -> tuple[SftConfig, subprocess.Popen[str]]:
    """Start training over several machines; what is trained, and the program that started it."""
    over = config.model_copy(update={"output_dir": str(folder / "two"), "processes": 2, **settings})
    file = folder / "sft.json"
    file.write_text(over.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "-m", "training.on_hosts", "--config", str(file)]
    return over, subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def log(config: SftConfig) -> list[dict[str, Any]]:
    lines = (Path(config.output_dir) / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def parts(folder: Path) -> list[psutil.Process]:
    """Processes of this machine that work on a test's configuration."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder / "sft.json") in (process.info["cmdline"] or [])
    ]


def alone(config: SftConfig) -> SftConfig:
    one = config.model_copy(update={"micro_batch_size": 1, "epochs": 1})
    return with_set(one, *sample_files(config), multiple_of=2)


def test_two_machines_train_as_one_process(
    config: SftConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    """Under ZeRO-3; without it, and under Dagster: the training launcher's tests."""
    one = alone(config)
    train(one, lambda line: None)
    two, program = start(
        one, tmp_path, environment, deepspeed_zero_stage=3, hosts={HERE: 1, OTHER: 1}
    )
    told, _ = program.communicate(timeout=SECONDS_TO_TRAIN)
    assert program.returncode == 0, told[-4000:]
    assert len(log(one)) == len(log(two)) >= 3
    for name, tolerance in (("loss", 1e-3), ("grad_norm", 1e-2), ("learning_rate", 1e-9)):
        differences = [abs(a[name] - b[name]) for a, b in zip(log(one), log(two), strict=True)]
        assert max(differences) < tolerance, (name, differences)


def test_a_killed_launcher_leaves_nothing_running_on_any_machine(
    config: SftConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    _, program = start(alone(config), tmp_path, environment, epochs=1000, hosts={HERE: 1, OTHER: 1})
    try:
        while not _has_started(program):
            pass
        assert len(parts(tmp_path)) >= 5
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    until(lambda: not parts(tmp_path), seconds=60)


def _has_started(program: subprocess.Popen[str]) -> bool:
    assert program.stdout
    line = program.stdout.readline()
    assert line, "ended before its first step"
    return line.startswith("progress: step")


def test_a_machine_that_is_away_is_named_and_the_others_are_stopped(
    config: SftConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    over, program = start(alone(config), tmp_path, environment, hosts={HERE: 1, AWAY: 1})
    told, _ = program.communicate(timeout=SECONDS_TO_TRAIN)
    assert program.returncode == 1, told[-4000:]
    cause = (partial_folder(Path(over.output_dir)) / ERROR).read_text(encoding="utf-8")
    assert cause == (
        f"TrainingError: {AWAY}: ssh ended with 255. Does `ssh -o BatchMode=yes {AWAY} true` work "
        "on the first of compute.training.hosts, without a password? The other machines were "
        "stopped."
    )
    assert not parts(tmp_path)


def test_the_other_machine_is_told_what_it_needs_and_no_secret() -> None:
    environment = {
        "HF_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret", "DAGSTER_PG_PASSWORD": "secret",
        "NCCL_SOCKET_IFNAME": "eth 0", "OMP_NUM_THREADS": "4", "DAGSTER_PIPES_CONTEXT": "x",
    }  # fmt: skip
    assert on_other_machine(["python", "-c", "print('a b')"], environment) == (
        f"cd {Path.cwd()} && exec env 'NCCL_SOCKET_IFNAME=eth 0' OMP_NUM_THREADS=4 "
        """python -c 'print('"'"'a b'"'"')'"""
    )
