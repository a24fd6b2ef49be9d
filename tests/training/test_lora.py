"""LoRA: merged weights compute what the adapters do, and a run that stopped ends in the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from support.training_rows import STUDENT, row, with_set
from transformers import AutoModelForCausalLM

from formats.checkpoint_folder import ADAPTER, LOG
from training.checkpoint import newest_restart_point
from training.errors import TrainingError
from training.lora import adapted, merged
from training.settings import Lora, Restart, Training
from training.sft import SftConfig, identity, train

pytestmark = pytest.mark.slow

LORA = {"rank": 4, "alpha": 8}
SAME = ("step", "loss", "learning_rate", "grad_norm")


def student(dtype: torch.dtype = torch.float32) -> Any:
    return AutoModelForCausalLM.from_pretrained(STUDENT, dtype=dtype).eval()


def log(folder: Path) -> list[list[float]]:
    lines = (folder / LOG).read_text("utf-8").splitlines()
    return [[json.loads(line)[name] for name in SAME] for line in lines]


@settings(max_examples=8, deadline=None)
@given(
    rank=st.integers(1, 8),
    alpha=st.sampled_from([1, 16, 64]),
    modules=st.sampled_from(["all-linear", ("q_proj", "v_proj"), ("down_proj",)]),
    seed=st.integers(0, 99),
)
def test_merged_weights_have_the_logits_of_the_adapters(
    tmp_path_factory: pytest.TempPathFactory, rank: int, alpha: int, modules: Any, seed: int
) -> None:
    torch.manual_seed(seed)
    model = adapted(student(), Lora(rank=rank, alpha=alpha, target_modules=modules)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(str(folder))
    ids = torch.randint(0, model.config.vocab_size, (2, 16))
    with torch.no_grad():
        own, without = model(input_ids=ids).logits, student()(input_ids=ids).logits
        whole = merged(str(STUDENT), folder)(input_ids=ids).logits
    assert float((own - without).abs().max()) > 1e-3, "the adapters did nothing"
    torch.testing.assert_close(whole, own, rtol=1e-4, atol=1e-4)


def test_adapters_alone_are_trained_in_float32_and_start_as_the_model() -> None:
    ids = torch.arange(16)[None]
    model = adapted(student(torch.bfloat16), Lora()).eval()
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    assert {one.dtype for one in trained.values()} == {torch.float32}
    assert all("lora_" in name for name in trained)
    assert not any("lm_head" in name for name in trained)
    with torch.no_grad():
        own = student(torch.bfloat16)(input_ids=ids).logits
        torch.testing.assert_close(model(input_ids=ids).logits, own, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["c_attn", "lm_head"])
def test_modules_that_the_model_does_not_have_and_its_output_layer_are_refused(name: str) -> None:
    message = rf"target_modules names {name}, but Qwen3ForCausalLM has .*down_proj.* q_proj"
    with pytest.raises(TrainingError, match=message) as raised:
        adapted(student(), Lora(target_modules=("q_proj", name)))
    assert str(raised.value).count("lm_head") == (name == "lm_head"), "it is no choice"


def test_lora_is_part_of_what_a_checkpoint_is_and_trackers_are_not(config: SftConfig) -> None:
    full = identity(config)
    assert "lora" not in full
    told = config.model_copy(update={"report_to": ("mlflow",), "tags": {"profile": "mine"}})
    assert identity(told) == full
    assert Training(report_to=("wandb",)).shaping() == Training().shaping()
    one, other = (config.model_copy(update={"lora": Lora(rank=rank)}) for rank in (4, 8))
    assert identity(one) != identity(other) != full


@pytest.fixture
def with_lora(config: SftConfig, tmp_path: Path, write_rows: Callable[..., Path]) -> Any:
    """A configuration with LoRA and weighted, packed samples, under a name of its own."""
    torch.set_num_threads(1)
    rows = write_rows(*(row(number, weight=0.5 + number % 3) for number in range(24)))

    def new(name: str, **changes: Any) -> SftConfig:
        settings = {**config.model_dump(), "output_dir": str(tmp_path / name), "lora": LORA}
        return with_set(SftConfig.model_validate({**settings, **changes}), rows)

    return new


def test_a_run_that_stopped_midway_ends_in_the_weights_of_one_that_did_not(
    with_lora: Callable[..., SftConfig], tmp_path: Path
) -> None:
    dropping = {"lora": {**LORA, "dropout": 0.1}, "epochs": 8}
    train(with_lora("whole", **dropping), lambda line: None)
    stopped = with_lora("stopped", **dropping, restart=Restart(every_steps=7, every_minutes=0))

    def stop_at_the_end(line: str) -> None:
        done = re.search(r"step (\d+)/(\d+)", line)
        if done and done[1] == done[2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stopped, stop_at_the_end)
    point = newest_restart_point(Path(stopped.output_dir))
    assert point is not None
    files = {file.name for file in point.iterdir()}
    assert {"adapter_model.safetensors", "optimizer.pt"} <= files
    assert "model.safetensors" not in files
    told: list[str] = []
    train(stopped, told.append)
    assert any("going on from the restart point" in line for line in told)

    assert log(tmp_path / "stopped") == log(tmp_path / "whole")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    start = load_file(STUDENT / "model.safetensors")
    assert one.keys() == other.keys() == start.keys()
    assert all((one[name] == other[name]).all() for name in one)
    assert any((one[name] != start[name]).any() for name in one)


def test_the_checkpoint_is_merged_and_its_adapter_lies_in_it(
    with_lora: Callable[..., SftConfig], tmp_path: Path
) -> None:
    train(with_lora("half", dtype="bfloat16"), lambda line: None)
    folder = tmp_path / "half"
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.dtype == torch.bfloat16
    assert model.config.use_cache
    again = merged(str(STUDENT), folder / ADAPTER).to(torch.bfloat16)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


def test_weights_packing_and_checkpointing_are_as_without_adapters(
    with_lora: Callable[..., SftConfig], tmp_path: Path
) -> None:
    runs = {
        "full": {"lora": None},
        "lora": {},
        "checkpointed": {"gradient_checkpointing": True},
    }
    for name, changes in runs.items():
        train(with_lora(name, epochs=1, **changes), lambda line: None)
    full, lora, checkpointed = (log(tmp_path / name) for name in runs)
    assert lora[0][1] == pytest.approx(full[0][1], rel=1e-6), "an adapter starts as nothing"
    assert [step[1] for step in lora] == pytest.approx([step[1] for step in checkpointed], rel=1e-5)
    assert [step[3] for step in lora] == pytest.approx([step[3] for step in checkpointed], rel=1e-4)
