"""The SFT program: certified, repeatable to the bit, and whole or not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.training_rows import STUDENT

from formats.checkpoint_folder import partial_folder
from training.checkpoint import is_complete
from training.sft import SftConfig, train

pytestmark = pytest.mark.slow


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
    assert certificate["isolation"][0]["attention"] == config.attention
    assert certificate["first_samples"][0]["trained"].endswith("<|im_end|>")
    log = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < log[0]["loss"]
    assert max(entry["learning_rate"] for entry in log) <= 1e-3
    assert log[-1]["learning_rate"] >= 1e-4
    assert all(entry["grad_norm"] > 0 and entry["memory_gib"] > 0 for entry in log)
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


def test_the_program_says_why_it_failed(config: SftConfig, tmp_path: Path) -> None:
    file = tmp_path / "sft.json"
    file.write_text(config.model_copy(update={"training_set": str(tmp_path)}).model_dump_json())
    command = [sys.executable, "-W", "ignore", "-m", "training.sft", "--config", str(file)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    cause = partial_folder(Path(config.output_dir)) / "error.txt"
    assert f"TrainingSetError: {tmp_path}: there is no training set" in cause.read_text()
