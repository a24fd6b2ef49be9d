"""A starting checkpoint of another architecture or tokenizer is refused before training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.training_rows import STUDENT
from transformers import AutoTokenizer

from formats.checkpoint_folder import partial_folder
from training.expected_model import ExpectedModelError, check_same_kind
from training.sft import SftConfig, train


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STUDENT, tmp_path / "model"))


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_model_that_was_saved_again_is_of_the_same_kind(copy: Path) -> None:
    check_same_kind(STUDENT, STUDENT)
    AutoTokenizer.from_pretrained(STUDENT).save_pretrained(copy)
    check_same_kind(copy, STUDENT)


def test_another_architecture_is_refused(copy: Path) -> None:
    edit(copy / "config.json", architectures=["GptOssForCausalLM"])
    with pytest.raises(
        ExpectedModelError, match=r"architectures is \['GptOss.*expects \['Qwen3ForCausalLM'\]"
    ):
        check_same_kind(copy, STUDENT)


@pytest.mark.parametrize(
    ("setting", "value"), [("intermediate_size", 9), ("max_position_embeddings", 7)]
)
def test_another_shape_is_refused(copy: Path, setting: str, value: int) -> None:
    edit(copy / "config.json", **{setting: value})
    with pytest.raises(ExpectedModelError, match=rf"{copy}: {setting} is {value}, but the stage"):
        check_same_kind(copy, STUDENT)


def test_another_tokenizer_is_refused(copy: Path) -> None:
    content = json.loads((copy / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    one, other = list(vocabulary)[300:302]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (copy / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ExpectedModelError, match="the tokenizer's vocabulary"):
        check_same_kind(copy, STUDENT)


def test_another_chat_template_is_refused(copy: Path) -> None:
    template = copy / "chat_template.jinja"
    assert template.is_file()
    template.write_text(template.read_text() + " ")
    with pytest.raises(ExpectedModelError, match="the tokenizer's chat template"):
        check_same_kind(copy, STUDENT)


def test_training_does_not_start_from_another_kind_of_model(config: SftConfig, copy: Path) -> None:
    edit(copy / "config.json", architectures=["GptOssForCausalLM"])
    wrong = config.model_copy(update={"expected_model_path": str(copy)})
    with pytest.raises(ExpectedModelError, match="architectures"):
        train(wrong, lambda line: None)
    assert not (partial_folder(Path(config.output_dir)) / "training_log.jsonl").exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExpectedModelError, match=r"config.json is missing"):
        check_same_kind(tmp_path, STUDENT)


def test_a_config_that_contradicts_itself_is_refused(copy: Path) -> None:
    edit(copy / "config.json", num_hidden_layers=9)
    with pytest.raises(ExpectedModelError, match=r"(?s)config.json cannot be used: .*layer_types"):
        check_same_kind(copy, STUDENT)
