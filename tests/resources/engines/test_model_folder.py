"""Every way a model folder can be wrong has its own message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from resources.engines import model_folder
from resources.engines.model_folder import ModelFolderError, inspect_model


@pytest.fixture
def folder(model_folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folders["qwen3"], tmp_path / "model"))


def change_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def remove_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    change_json(folder / "tokenizer_config.json", chat_template=None)


def cut_weights(to: int | None) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:to])

    return cut


@pytest.mark.parametrize("architecture", ["qwen3", "gpt_oss"])
def test_a_good_folder(model_folders: dict[str, Path], architecture: str) -> None:
    path = model_folders[architecture]
    found = inspect_model(str(path))
    model = AutoModelForCausalLM.from_pretrained(path)
    assert (found.name, found.path) == (architecture, path)
    assert found.architecture == type(model).__name__
    assert (found.vocab_size, found.max_position_embeddings) == (352, 256)
    assert found.n_parameters == model.num_parameters()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "broken JSON": (lambda f: (f / "config.json").write_text('{"vocab'), "no valid JSON"),
    "JSON list": (lambda f: (f / "config.json").write_text("[]"), "expected a JSON object"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "empty weights": (cut_weights(0), "torn or no safetensors"),
    "torn header": (cut_weights(100), "torn or no safetensors.*header is longer"),
    "torn weights": (cut_weights(-1), "torn or no safetensors.*before its last tensor"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "no tokenizer settings": (
        lambda f: (f / "tokenizer_config.json").unlink(),
        "tokenizer_config.json is missing",
    ),
    "no chat template": (remove_template, "no chat template"),
    "token ids beyond": (
        lambda f: change_json(f / "config.json", vocab_size=100),
        r"token ids up to 3\d\d, but .* vocab_size is 100",
    ),
    "embedding rows": (
        lambda f: change_json(f / "config.json", vocab_size=360),
        "vocab_size 360, but the weights have 352",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder(folder: Path, case: str) -> None:
    inspect_model(str(folder))
    damage, message = BAD[case]
    damage(folder)
    with pytest.raises(ModelFolderError, match=message) as error:
        inspect_model(str(folder))
    assert str(folder) in str(error.value)


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="no such model folder"):
        inspect_model(str(tmp_path / "absent"))


def test_a_hub_id_that_is_not_cached() -> None:
    with pytest.raises(ModelFolderError, match="hf download nobody/no-such-model --revision v1"):
        inspect_model("nobody/no-such-model", "v1")


def test_the_content_hash_knows_files_not_places(
    folder: Path, model_folders: dict[str, Path]
) -> None:
    original = inspect_model(str(model_folders["qwen3"])).content_hash
    assert inspect_model(str(folder)).content_hash == original
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert inspect_model(str(folder)).content_hash != original


@pytest.mark.parametrize("whole_bytes", [model_folder.HASHED_WHOLE_BYTES, 1_000])
def test_a_checkpoint_is_known_by_its_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    """Trained twice to the same weights it is the same model, trained to others another one."""
    monkeypatch.setattr(model_folder, "HASHED_WHOLE_BYTES", whole_bytes)
    first = inspect_model(str(folder)).content_hash
    (folder / "run.json").write_text('{"seconds": 12.5}', encoding="utf-8")
    (folder / "sft.json").write_text('{"output": "/elsewhere"}', encoding="utf-8")
    assert inspect_model(str(folder)).content_hash == first
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, file, {"format": "pt"})
    assert inspect_model(str(folder)).content_hash != first
