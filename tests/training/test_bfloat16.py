"""Training in bfloat16 moves the weights as training in float32 does, whatever launches it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from support.training_rows import STUDENT, row, with_set
from transformers import AutoModelForCausalLM

from dasd_assets.models.shapes import shape_of_files
from dasd_assets.plan.disk import restart_point_bytes
from formats.checkpoint_folder import LOG, restart_folder
from training import sft
from training.checkpoint import newest_restart_point, step_of
from training.precision import in_type
from training.settings import Restart
from training.sft import SftConfig, train

pytestmark = [pytest.mark.slow, pytest.mark.deployment("training-processes")]

STEPS = 18
SAVED_EVERY = 8
SECONDS_TO_TRAIN = 400
LAUNCHED = {
    "torchrun": {"processes": 2},
    "zero_2": {"processes": 2, "deepspeed_zero_stage": 2},
    "zero_3": {"processes": 2, "deepspeed_zero_stage": 3},
}
MOST_MOVED = 1.2
"""Mean movement in bfloat16 over that in float32, at most, and the other way round."""

LOSS_TOLERANCE = {"one_process": 0.01, "torchrun": 0.01, "zero_2": 0.1, "zero_3": 0.1}
"""Share of the last loss in float32. DeepSpeed rounds the starting weights as well, so that what a
pass sees moves only when a weight has moved by half of its last place: the first steps lag."""

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SftConfig:
    """The learning rates of the paper, at which bfloat16 weights alone hardly move."""
    folder = tmp_path_factory.mktemp("bfloat16")
    pq.write_table(pa.Table.from_pylist([row(n) for n in range(48)]), folder / "rows.parquet")
    config = SftConfig(
        model_path=str(STUDENT),
        training_set=str(folder / "none"),
        output_dir=str(folder / "float32"),
        epochs=3,
        learning_rate=5e-5,
        min_learning_rate=1e-5,
        global_batch_size=4,
        micro_batch_size=2,
        max_length=160,
        dtype="float32",
        gradient_checkpointing=False,
        restart=Restart(every_steps=SAVED_EVERY, every_minutes=0),
    )
    return with_set(config, folder / "rows.parquet", multiple_of=4)


@pytest.fixture(scope="module")
def trained(config: SftConfig) -> Callable[[str], SftConfig]:
    """A run by its name, trained at most once, with its restart points left there."""
    done: dict[str, SftConfig] = {}

    def get(name: str) -> SftConfig:
        if name not in done:
            done.update(_on_ranks(config) if name in LAUNCHED else {name: _alone(config, name)})
        return done[name]

    return get


def _named(config: SftConfig, name: str) -> SftConfig:
    return SftConfig.model_validate(
        {
            **config.model_dump(),
            "output_dir": str(Path(config.output_dir).with_name(name)),
            "dtype": "float32" if name == "float32" else "bfloat16",
            **LAUNCHED.get(name, {}),
        }
    )


def _alone(config: SftConfig, name: str) -> SftConfig:
    run = _named(config, name)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sft, "forget_restart_points", lambda output_dir: None)
        train(run, lambda line: None)
    return run


def _on_ranks(config: SftConfig) -> dict[str, SftConfig]:
    """All of several ranks, by a program that imports what they need once."""
    runs = {name: _named(config, name) for name in LAUNCHED}
    files = []
    for run in runs.values():
        files.append(Path(run.output_dir).with_suffix(".json"))
        files[-1].write_text(run.model_dump_json(), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "support.forked_ranks", *map(str, files)],
        env={
            **os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True, text=True, timeout=SECONDS_TO_TRAIN, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    return runs


def masters(run: SftConfig) -> Weights:
    """What the optimiser moves, at the newest restart point."""
    point = newest_restart_point(Path(run.output_dir))
    assert point
    assert step_of(point) == 2 * SAVED_EVERY
    if not run.deepspeed_zero_stage:
        return dict(load_file(point / "model.safetensors"))
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    return dict(get_fp32_state_dict_from_zero_checkpoint(str(point)))


def moved(weights: Weights, start: Weights) -> float:
    """Mean absolute movement of a weight."""
    apart = [(weights[name].detach().float() - start[name]).flatten() for name in start]
    return float(torch.cat(apart).abs().mean())


def log(run: SftConfig) -> list[dict[str, Any]]:
    lines = (Path(run.output_dir) / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", LOSS_TOLERANCE)
def test_weights_move_and_losses_fall_as_in_float32(
    trained: Callable[[str], SftConfig], name: str
) -> None:
    in_float32, run = trained("float32"), trained(name)
    start: Weights = load_file(STUDENT / "model.safetensors")
    held = masters(run)
    assert {weights.dtype for weights in held.values()} == {torch.float32}
    if run.deepspeed_zero_stage:
        start = {name: weights.bfloat16().float() for name, weights in start.items()}
    as_much = moved(held, start) / moved(
        masters(in_float32), load_file(STUDENT / "model.safetensors")
    )
    assert 1 / MOST_MOVED < as_much < MOST_MOVED
    expected, losses = log(in_float32), log(run)
    assert len(losses) == len(expected) == STEPS
    assert losses[-1]["loss"] == pytest.approx(expected[-1]["loss"], rel=LOSS_TOLERANCE[name])
    assert losses[-1]["grad_norm"] == pytest.approx(expected[-1]["grad_norm"], rel=0.1)


@pytest.mark.parametrize("name", LOSS_TOLERANCE)
def test_the_checkpoint_is_bfloat16_and_the_certificate_was_measured_in_it(
    trained: Callable[[str], SftConfig], name: str
) -> None:
    folder = Path(trained(name).output_dir)
    saved: Weights = load_file(folder / "model.safetensors")
    assert {weights.dtype for weights in saved.values()} == {torch.bfloat16}
    start: Weights = load_file(STUDENT / "model.safetensors")
    changed = [(saved[name] != start[name].bfloat16()).flatten() for name in start]
    assert torch.cat(changed).float().mean() > 0.3
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", output_loading_info=True
    )
    assert model.dtype == torch.bfloat16
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    assert {measured["dtype"] for measured in certificate["isolation"]} == {"bfloat16"}


@pytest.mark.parametrize("name", ["float32", *LOSS_TOLERANCE])
def test_a_restart_point_is_as_large_as_the_plan_says(
    trained: Callable[[str], SftConfig], name: str
) -> None:
    run = trained(name)
    point = newest_restart_point(Path(run.output_dir))
    assert point
    n_bytes = sum(file.stat().st_size for file in point.rglob("*") if file.is_file())
    weights = load_file(STUDENT / "model.safetensors").values()
    shape = shape_of_files(STUDENT, sum(weight.numel() for weight in weights))
    assert n_bytes == pytest.approx(restart_point_bytes(shape, run), rel=0.05)


def test_from_a_restart_point_it_ends_in_the_same_weights(
    trained: Callable[[str], SftConfig],
) -> None:
    whole = trained("one_process")
    again = whole.model_copy(update={"output_dir": f"{whole.output_dir}_again"})
    kept = restart_folder(Path(again.output_dir))
    shutil.copytree(restart_folder(Path(whole.output_dir)), kept)
    shutil.rmtree(kept / f"step-{2 * SAVED_EVERY:08d}")
    lines: list[str] = []
    train(again, lines.append)
    assert f"progress: going on from the restart point of step {SAVED_EVERY}" in lines
    one, other = (Path(run.output_dir) / "model.safetensors" for run in (whole, again))
    assert one.read_bytes() == other.read_bytes()
    assert [entry["loss"] for entry in log(again)] == [entry["loss"] for entry in log(whole)]


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_a_model_in_another_type_is_the_one_that_is_loaded_in_it(kind: str, tmp_path: Path) -> None:
    folder = STUDENT.with_name(kind)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    in_type(loaded, torch.bfloat16).save_pretrained(tmp_path / "cast")
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(
        tmp_path / "loaded"
    )
    for file in (tmp_path / "loaded").iterdir():
        assert (tmp_path / "cast" / file.name).read_bytes() == file.read_bytes(), file.name
    assert in_type(loaded, torch.float32) is loaded
