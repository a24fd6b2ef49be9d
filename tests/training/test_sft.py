"""The SFT program: certified, repeatable to the bit, and whole or not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.training_rows import STUDENT

from training.checkpoint import is_complete, partial_folder
from training.deepspeed import deepspeed_config
from training.sft import SftConfig, TrainingError, train


def weights(folder: str) -> dict[str, np.ndarray]:
    return dict(load_file(Path(folder) / "model.safetensors"))


def test_training_is_certified_logged_and_repeatable_to_the_bit(
    config: SftConfig, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    lines: list[str] = []
    train(config, lines.append)
    folder = Path(config.output_dir)
    assert is_complete(folder)
    assert not partial_folder(folder).exists()
    certificate = json.loads((folder / "certificate.json").read_text())
    assert certificate["samples_in"] == certificate["samples_out"] == 24
    assert certificate["first_samples"][0]["trained"].endswith("<|im_end|>")
    log = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < log[0]["loss"]
    assert max(entry["learning_rate"] for entry in log) <= 1e-3
    assert lines[-1].startswith(f"progress: step {log[-1]['step']}/{log[-1]['step']}, loss")
    assert SftConfig.model_validate_json((folder / "sft.json").read_text()) == config

    again = config.model_copy(update={"output_dir": str(tmp_path / "again")})
    train(again, lines.append)
    first, second = weights(config.output_dir), weights(again.output_dir)
    assert all((first[name] == second[name]).all() for name in first)
    start = weights(str(STUDENT))
    assert any((first[name] != start[name]).any() for name in first)

    train(config, lines.append)
    assert "is complete already" in lines[-1]


def test_sigkill_leaves_no_checkpoint_and_a_rerun_completes(
    config: SftConfig, tmp_path: Path
) -> None:
    file = tmp_path / "sft.json"
    file.write_text(config.model_copy(update={"epochs": 50}).model_dump_json())
    command = [sys.executable, "-W", "ignore", "-m", "training.sft", "--config", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = partial_folder(Path(config.output_dir)) / "training_log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert log.exists()
    assert not is_complete(Path(config.output_dir))
    train(config, lambda line: None)
    assert is_complete(Path(config.output_dir))


def test_a_loss_that_is_lost_stops_with_the_cause(config: SftConfig) -> None:
    broken = config.model_copy(update={"learning_rate": 1e18, "max_grad_norm": 1e18, "epochs": 20})
    with pytest.raises(TrainingError, match=r"the loss is .* at step"):
        train(broken, lambda line: None)
    assert not is_complete(Path(config.output_dir))


def test_the_program_says_why_it_failed(config: SftConfig, tmp_path: Path) -> None:
    file = tmp_path / "sft.json"
    file.write_text(config.model_copy(update={"max_length": 16}).model_dump_json())
    command = [sys.executable, "-W", "ignore", "-m", "training.sft", "--config", str(file)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    cause = partial_folder(Path(config.output_dir)) / "error.txt"
    assert "SampleError" in cause.read_text()
    assert "but a sequence takes 16" in cause.read_text()


def test_deepspeed_settings(config: SftConfig) -> None:
    settings = deepspeed_config(config.model_copy(update={"deepspeed_zero_stage": 3}))
    assert settings["zero_optimization"]["stage"] == 3
    assert settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"]
    assert settings["gradient_clipping"] == config.max_grad_norm
