"""Restart points on disk: the newest whole one is found, torn ones are not, others' are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from formats.checkpoint_folder import restart_folder
from training.checkpoint import (
    MANIFEST,
    check_same_run,
    newest_restart_point,
    only_writer,
    publish_restart_point,
    start_partial,
    step_of,
    writing_folder,
)
from training.errors import TrainingError

pytestmark = pytest.mark.slow


def write_point(output_dir: Path, step: int, keep: int = 2) -> Path:
    written = writing_folder(output_dir) / f"checkpoint-{step}"
    (written / "global_step1").mkdir(parents=True)
    (written / "model.safetensors").write_bytes(b"weights" * 100)
    (written / "global_step1" / "shard_0.pt").write_bytes(b"moments" * 100)
    publish_restart_point(written, output_dir, step, keep)
    return restart_folder(output_dir) / f"step-{step:08d}"


def remove(name: str) -> Callable[[Path], None]:
    return lambda point: (point / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda point: os.truncate(point / name, 3)


def empty(point: Path) -> None:
    shutil.rmtree(point)
    point.mkdir()


@pytest.mark.parametrize(
    "tear",
    [
        empty, remove(MANIFEST), cut(MANIFEST), remove("model.safetensors"),
        cut("model.safetensors"), remove("global_step1/shard_0.pt"),
        lambda point: (point / MANIFEST).write_text("[]x"),
        lambda point: (point / MANIFEST).write_text("[1]"),
    ],
)  # fmt: skip
def test_a_torn_restart_point_is_passed_over_and_replaced(
    tmp_path: Path, tear: Callable[[Path], None]
) -> None:
    output_dir = tmp_path / "checkpoint"
    assert newest_restart_point(output_dir) is None
    whole, torn = write_point(output_dir, 9), write_point(output_dir, 10)
    assert newest_restart_point(output_dir) == torn
    tear(torn)
    assert newest_restart_point(output_dir) == whole
    assert write_point(output_dir, 10) == torn
    assert newest_restart_point(output_dir) == torn


def test_the_last_k_are_kept_and_torn_ones_go(tmp_path: Path) -> None:
    output_dir = tmp_path / "checkpoint"
    for step in (3, 6, 9, 12):
        write_point(output_dir, step, keep=2)
    (restart_folder(output_dir) / "step-00000013").mkdir()
    write_point(output_dir, 15, keep=2)
    left = sorted(step_of(point) for point in restart_folder(output_dir).glob("step-*"))
    assert left == [12, 15]


def test_what_a_killed_run_left_half_written_is_removed_at_the_next_start(tmp_path: Path) -> None:
    output_dir = tmp_path / "checkpoint"
    start_partial(output_dir, {"learning_rate": 1.0})
    point = write_point(output_dir, 3)
    (writing_folder(output_dir) / "checkpoint-6").mkdir()
    folder = start_partial(output_dir, {"learning_rate": 1.0})
    assert not writing_folder(output_dir).exists()
    assert newest_restart_point(output_dir) == point
    with pytest.raises(TrainingError, match=r"another value of learning_rate, seed\. Choose"):
        start_partial(output_dir, {"learning_rate": 2.0, "seed": 1})
    with pytest.raises(TrainingError, match="another value of learning_rate"):
        check_same_run(folder, {"learning_rate": 2.0})
    shutil.rmtree(point)
    start_partial(output_dir, {"learning_rate": 2.0})  # nothing there to go on from


def test_two_runs_never_write_the_same_checkpoint(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from training.checkpoint import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    output_dir = tmp_path / "checkpoint"
    other = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(output_dir)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout
    assert other.stdout.readline() == "in\n"
    with (
        pytest.raises(TrainingError, match="another process is training into"),
        only_writer(output_dir),
    ):
        pass
    other.kill()
    other.wait()
    with only_writer(output_dir):
        pass
