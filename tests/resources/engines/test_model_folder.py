"""Every way a model folder can be wrong has its own message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from resources.engines import model_folder
from resources.engines.model_folder import ModelFolderError, inspect_model
from resources.engines.weight_files import Tensor, n_parameters
from resources.lake.lake_folder import FOLDER_MANIFEST


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


def names_code(file: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / file, **changes)


def has_program(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text("print('run')", encoding="utf-8")


def in_shards(missing: str | None = None, renamed: str | None = None) -> Callable[[Path], None]:
    """The weights as two files with an index, of which something is wrong."""

    def split(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        names = sorted(tensors)
        files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
        placed = {name: files[index % 2] for index, name in enumerate(names)}
        for file in files:
            part = {name: tensors[name] for name in names if placed[name] == file}
            save_file(part, folder / file, {"format": "pt"})
        placed |= {f"{renamed}.weight": files[0]} if renamed else {}
        index = {"metadata": {}, "weight_map": placed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        if missing:
            (folder / missing).unlink()

    return split


BAD |= {
    "auto_map": (
        names_code("config.json", auto_map={"AutoModel": "modeling.Mine"}),
        r"names code in config\.json \(auto_map\), and code that comes with a model is not run",
    ),
    "the tokenizer's auto_map": (
        names_code("tokenizer_config.json", auto_map={"AutoTokenizer": ["t.Mine", None]}),
        r"names code in tokenizer_config\.json",
    ),
    "a nested auto_map": (
        names_code("config.json", text_config={"auto_map": {"AutoConfig": "other/repo--c.C"}}),
        r"names code in config\.json",
    ),
    "a pipeline of its own": (
        names_code("config.json", custom_pipelines={"x": {"impl": "p.P"}}), "custom_pipelines",
    ),
    "a program": (has_program, r"has custom_generate/generate\.py"),
    "a missing shard": (
        in_shards("model-00002-of-00002.safetensors"),
        r"index\.json lists model-00002-of-00002\.safetensors, not in the folder",
    ),
    "no index": (
        in_shards("model.safetensors.index.json"),
        r"2 of 2 weight files and no model\.safetensors\.index",
    ),
    "an index of another model": (
        in_shards(renamed="model.more"), r"1 tensor\(s\) that are not in .* such as model\.more",
    ),
}  # fmt: skip


def test_weights_in_shards_and_beside_other_files(folder: Path) -> None:
    whole = inspect_model(str(folder)).n_parameters
    in_shards()(folder)
    assert inspect_model(str(folder)).n_parameters == whole
    # Mistral's folders have all weights a second time, in one file of another layout.
    save_file({"more": torch.zeros(9)}, folder / "consolidated.safetensors")
    assert inspect_model(str(folder)).n_parameters == whole


def test_mxfp4_holds_two_parameters_in_a_byte() -> None:
    blocks, scales = Tensor("U8", (4, 64, 90, 16)), Tensor("U8", (4, 64, 90))
    found = {
        "experts.down_proj_blocks": blocks, "experts.down_proj_scales": scales,
        "experts.down_proj_bias": Tensor("BF16", (4, 64)), "norm": Tensor("BF16", (64,)),
    }  # fmt: skip
    assert n_parameters(found) == 2 * 4 * 64 * 90 * 16 + 4 * 64 + 64
    # The same shape as gpt-oss-120b's, which has 116.8 billion parameters.
    expert = {
        f"model.layers.{layer}.mlp.experts.{name}_{part}": Tensor("U8", shape)
        for layer in range(36)
        for name, rows in (("gate_up_proj", 5760), ("down_proj", 2880))
        for part, shape in (("blocks", (128, rows, 90, 16)), ("scales", (128, rows, 90)))
    }
    assert n_parameters(expert) == 36 * 128 * (5760 + 2880) * 2880 == 114_661_785_600
    # Alone neither name means MXFP4.
    assert n_parameters({"a_blocks": blocks}) == 4 * 64 * 90 * 16


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
    (folder / FOLDER_MANIFEST).write_text('{"training_log.jsonl": "c2495d"}', encoding="utf-8")
    assert inspect_model(str(folder)).content_hash == first
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, file, {"format": "pt"})
    assert inspect_model(str(folder)).content_hash != first
