"""Killed at any moment, full disk, lost loss: training goes on to the same weights, or says why."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.tracked import told_losses
from support.training_rows import sample_files, with_set

from dasd_assets.profile import PROJECT_ROOT
from formats.checkpoint_folder import LOG, partial_folder, restart_folder
from training.checkpoint import is_complete, newest_restart_point, writing_folder
from training.errors import TrainingError
from training.settings import Restart
from training.sft import SftConfig, check_devices, train

pytestmark = pytest.mark.slow

SAVED_EVERY = 3
SAME = ("step", "loss", "learning_rate", "grad_norm")


class Runs:
    """Runs of one configuration, each in a process of its own that a server forks."""

    def __init__(self, server: subprocess.Popen[str], config: SftConfig, file: Path) -> None:
        self.output_dir = Path(config.output_dir)
        self.out = Path(f"{file}.out")
        self._file = file
        self._server = server
        file.write_text(config.model_dump_json(), encoding="utf-8")

    def start(self, max_file_bytes: int = 0) -> int:
        assert self._server.stdin
        assert self._server.stdout
        print(max_file_bytes, self._file, file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())

    def exit_code(self) -> int:
        assert self._server.stdout
        return int(self._server.stdout.readline())

    def kill_when(self, moment: Callable[[], bool]) -> None:
        """Start a run and kill it at a moment that must come."""
        child = self.start()
        deadline = time.monotonic() + 120
        while not moment() and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        assert self.exit_code() == -signal.SIGKILL, self.out.read_text(encoding="utf-8")

    def step(self) -> int:
        """Steps that the run has logged so far."""
        try:
            return len((partial_folder(self.output_dir) / LOG).read_text("utf-8").splitlines())
        except FileNotFoundError:
            return 0


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """Has imported what training needs, once for all runs."""
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "support.training_children"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'tests'}"},
    )  # fmt: skip
    yield server
    server.kill()
    server.wait()


@pytest.fixture
def new_runs(
    server: subprocess.Popen[str], config: SftConfig, tmp_path: Path
) -> Callable[..., Runs]:
    def new(name: str, **changes: Any) -> Runs:
        settings = {
            "output_dir": str(tmp_path / name),
            "restart": Restart(every_steps=SAVED_EVERY, every_minutes=0),
            **changes,
        }
        return Runs(server, config.model_copy(update=settings), tmp_path / f"{name}.json")

    return new


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]


def test_killed_at_any_moment_it_ends_in_the_same_weights(new_runs: Callable[..., Runs]) -> None:
    whole = new_runs("whole", epochs=10)
    whole.start()
    assert whole.exit_code() == 0
    n_steps = log(whole.output_dir)[-1]["step"]
    assert n_steps >= 20

    runs = new_runs("killed", epochs=10)
    moments = random.Random()
    writing = writing_folder(runs.output_dir)
    torn_by_kill = 0
    for kill in range(6):
        before = newest_restart_point(runs.output_dir)
        target = n_steps * (kill + 1) // 8 + moments.randint(0, 1)
        if kill % 2:  # in the middle of saving, anywhere in it
            runs.kill_when(lambda t=target: runs.step() >= t and any(writing.glob("*/*")))
        else:
            pause = moments.uniform(0, 0.1)
            runs.kill_when(lambda t=target, p=pause: runs.step() >= t and not time.sleep(p))
        torn_by_kill += any(writing.glob("*/*"))
        assert not is_complete(runs.output_dir)
        after = newest_restart_point(runs.output_dir)
        assert after is not None or kill == 0
        assert before is None or (after is not None and after >= before), "a point was lost"
    assert torn_by_kill, "no kill came while a restart point was being written"

    newest = newest_restart_point(runs.output_dir)
    assert newest is not None
    torn = newest.with_name(f"step-{n_steps - 1:08d}")
    shutil.copytree(newest, torn)
    os.truncate(torn / "optimizer.pt", 1000)
    runs.start()
    assert runs.exit_code() == 0, runs.out.read_text(encoding="utf-8")
    last_start = [line for line in runs.out.read_text("utf-8").splitlines() if "going on" in line]
    assert last_start[-1].endswith(f"step {int(newest.name[5:])}")
    assert weights_hash(runs.output_dir) == weights_hash(whole.output_dir)
    assert [[row[name] for name in SAME] for row in log(runs.output_dir)] == [
        [row[name] for name in SAME] for row in log(whole.output_dir)
    ]
    assert [step for step, _ in told_losses(runs.output_dir)] == list(range(1, n_steps + 1))
    assert not restart_folder(runs.output_dir).exists()


def test_a_full_disk_stops_with_the_cause_and_keeps_the_last_restart_point(
    new_runs: Callable[..., Runs],
) -> None:
    whole, runs = new_runs("whole", epochs=4), new_runs("full", epochs=4)
    runs.kill_when(lambda: newest_restart_point(runs.output_dir) is not None)
    kept = newest_restart_point(runs.output_dir)
    assert kept is not None
    model_bytes = (kept / "model.safetensors").stat().st_size
    # The optimiser's state is larger than the model, the finished checkpoint is not.
    runs.start(max_file_bytes=model_bytes + 1024)
    assert runs.exit_code() == 1
    cause = runs.out.read_text(encoding="utf-8").splitlines()[-1]
    assert cause.startswith(f"TrainingError: the restart point of step {2 * SAVED_EVERY} could not")
    assert "MiB free" in cause
    assert newest_restart_point(runs.output_dir) == kept
    assert not writing_folder(runs.output_dir).exists()

    whole.start()
    assert whole.exit_code() == 0
    runs.start()
    assert runs.exit_code() == 0
    assert weights_hash(runs.output_dir) == weights_hash(whole.output_dir)

    last = new_runs("last", restart=Restart(every_steps=0, every_minutes=0))
    last.start(max_file_bytes=model_bytes // 2)
    assert last.exit_code() == 1
    assert "TrainingError: the finished checkpoint could not be written" in last.out.read_text()
    assert not is_complete(last.output_dir)


def test_a_lost_loss_stops_with_the_cause_and_the_restart_points_are_from_before(
    config: SftConfig,
) -> None:
    broken = config.model_copy(
        update={
            "learning_rate": 1e18, "max_grad_norm": 1e18, "epochs": 20,
            "restart": Restart(every_steps=1, every_minutes=0),
        }
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"the (loss|grad norm) is (nan|inf) at step \d+") as e:
        train(broken, lambda line: None)
    stopped_at = int(str(e.value).split("at step ")[1].split(":")[0])
    output_dir = Path(config.output_dir)
    assert not is_complete(output_dir)
    kept = newest_restart_point(output_dir)
    assert kept is not None
    assert kept.name == f"step-{stopped_at - 1:08d}"
    assert all(np.isfinite(w).all() for w in load_file(kept / "model.safetensors").values())
    assert all(np.isfinite(row["loss"]) for row in log(kept))


def test_another_setting_or_row_never_goes_on_from_this_state(
    config: SftConfig, write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    saving = config.model_copy(update={"restart": Restart(every_steps=2, every_minutes=0)})

    def interrupt_at_the_end(line: str) -> None:
        done = re.search(r"step (\d+)/(\d+)", line)
        if done and done[1] == done[2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(saving, interrupt_at_the_end)
    assert newest_restart_point(Path(config.output_dir)) is not None
    other_rate = saving.model_copy(update={"learning_rate": 2e-3})
    with pytest.raises(TrainingError, match=r"restart belongs to .* value of learning_rate\. "):
        train(other_rate, lambda line: None)
    rows = tmp_path / "others.parquet"
    shutil.copyfile(*sample_files(config), rows)
    train(with_set(saving, rows), lambda line: None)  # the same rows
    with pytest.raises(TrainingError, match=r"checkpoint belongs to .* value of learning_rate\. "):
        train(other_rate, lambda line: None)


@pytest.mark.parametrize(
    ("settings", "environment", "gpus", "message"),
    [
        ({"gpus": 1}, {}, 0, r"compute\.training\.gpus is 1 .* has 0 GPU"),
        (
            {"processes": 2, "micro_batch_size": 1, "gpus": 2},
            {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"},
            1,
            r"compute\.training\.gpus is 2 and processes 2: 2 on this machine, which has 1 GPU",
        ),
        (
            {"processes": 2, "micro_batch_size": 1},
            {},
            0,
            r"processes is 2 .* 1 process\(es\) were started without",
        ),
        ({"deepspeed_zero_stage": 3}, {}, 0, "deepspeed_zero_stage 3, .* without a launcher"),
    ],
)
def test_another_machine_than_declared_is_refused_before_training(
    config: SftConfig,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, int],
    environment: dict[str, str],
    gpus: int,
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    other = SftConfig.model_validate({**config.model_dump(), **settings})
    with pytest.raises(TrainingError, match=message):
        check_devices(other)
