"""Model folders: a good one is read without weights, a bad one is refused with the remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.model_folder import ModelFolderError, inspect_model

STUDENT = PROJECT_ROOT / "tiny_world" / "models" / "student"


def edit(file: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_good_folder(tmp_path: Path) -> None:
    folder = inspect_model(str(STUDENT))
    assert folder.architecture == "Qwen3ForCausalLM"
    assert 100_000 < folder.n_parameters < 2_000_000
    copy = tmp_path / "copy"
    shutil.copytree(STUDENT, copy)
    assert inspect_model(str(copy)).content_hash == folder.content_hash
    edit(copy / "generation_config.json", lambda c: c.update(top_k=3))
    assert inspect_model(str(copy)).content_hash != folder.content_hash


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    edit(folder / "tokenizer_config.json", lambda c: c.pop("chat_template", None))


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("config.json"), "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), "no valid JSON"),
        (remove("model.safetensors"), r"no weights \(\*\.safetensors\)"),
        (cut_weights, "the file ends before its last tensor"),
        (lambda f: (f / "model.safetensors").write_bytes(b"garbage!!"), "torn or no safetensors"),
        (remove("tokenizer.json"), "tokenizer.json is missing"),
        (no_template, "no chat template"),
        (lambda f: edit(f / "config.json", lambda c: c.update(vocab_size=100)),
         "token ids up to .* vocab_size is 100"),
        (lambda f: edit(f / "config.json", lambda c: c.update(vocab_size=5_000)),
         "vocab_size 5000, but the weights have .* embedding rows"),
    ],
)  # fmt: skip
def test_a_bad_folder_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(STUDENT, folder)
    spoil(folder)
    with pytest.raises(ModelFolderError, match=message) as raised:
        inspect_model(str(folder))
    assert str(folder) in str(raised.value)


def test_a_missing_folder_and_a_model_that_is_not_downloaded() -> None:
    with pytest.raises(ModelFolderError, match=r"/no/such/model: no such model folder"):
        inspect_model("/no/such/model")
    with pytest.raises(ModelFolderError, match=r"hf download nobody/nothing"):
        inspect_model("nobody/nothing")
