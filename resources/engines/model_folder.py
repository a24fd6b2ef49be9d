"""A model's folder in Hugging Face layout, checked without reading weights or importing torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from resources.engines.model_files import ModelFolderError, read_json, refuse_code
from resources.engines.weight_files import header_of, n_parameters, tensors

__all__ = ["ModelFolder", "ModelFolderError", "inspect_model"]

EMBEDDING_NAMES = ("model.embed_tokens.weight", "transformer.wte.weight")

HASHED_WHOLE_BYTES = 64 * 1024**2
"""A larger weight file is known by its size, its header and samples of its bytes: reading 240 GB to
name a model is not worth it, and a training changes weights everywhere."""

SAMPLES, SAMPLE_BYTES = 256, 16 * 1024

LEFT_BY_TRAINING = ("sft.json", "run.json", "certificate.json")
"""They hold paths and times, which do not make the model another one; nor do hidden files, such as
the manifest, which has the hash of the log and so of its times."""


@dataclass(frozen=True)
class ModelFolder:
    """What a model's files say about it."""

    name: str
    path: Path
    architecture: str
    vocab_size: int
    n_parameters: int
    max_position_embeddings: int
    content_hash: str


def inspect_model(name: str, revision: str | None = None, weights: bool = True) -> ModelFolder:
    """Check a model: a local folder, or the id of a model in the local hub cache.

    Args:
        name: folder or hub id such as `Qwen/Qwen3-4B-Instruct-2507`.
        revision: hub revision.
        weights: False for a model that a server runs: its folder need only hold config and
            tokenizer, and says nothing about the number of parameters.

    Raises:
        ModelFolderError: missing or incomplete, code of its own, a tokenizer without chat
            template, or a vocabulary that does not match the tokenizer.
    """
    path = _locate(name, revision)
    refuse_code(path)
    config = read_json(path / "config.json", "Is this a model folder in Hugging Face layout?")
    found = tensors(path) if weights else {}
    vocab_size = int(config.get("vocab_size", 0))
    _check_tokenizer(path, vocab_size)
    embedding = next((found[key].shape for key in EMBEDDING_NAMES if key in found), None)
    if embedding is not None and embedding[0] != vocab_size:
        raise ModelFolderError(
            f"{path}: config.json says vocab_size {vocab_size}, but the weights have "
            f"{embedding[0]} embedding rows. The files are of two different models."
        )
    return ModelFolder(
        name=name if not Path(name).is_dir() else path.name,
        path=path,
        architecture=(config.get("architectures") or ["unknown"])[0],
        vocab_size=vocab_size,
        n_parameters=n_parameters(found),
        max_position_embeddings=int(config.get("max_position_embeddings", 0)),
        content_hash=_content_hash(path),
    )


def _locate(name: str, revision: str | None) -> Path:
    folder = Path(name)
    if folder.is_dir():
        return folder
    looks_like_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if not looks_like_hub_id:
        raise ModelFolderError(f"{name}: no such model folder. Check the path in the profile.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except Exception as error:
        raise ModelFolderError(
            f"{name}: neither a folder nor in the local hub cache. Download it first: `dasd pull`, "
            f"or `hf download {name}{f' --revision {revision}' if revision else ''}`"
        ) from error


def _check_tokenizer(path: Path, vocab_size: int) -> None:
    tokenizer = read_json(path / "tokenizer.json", "A fast tokenizer (tokenizer.json) is needed.")
    vocabulary = tokenizer.get("model", {}).get("vocab", {})  # Unigram's is a list of scores
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    ids += [token["id"] for token in tokenizer.get("added_tokens", [])]
    if ids and max(ids) >= vocab_size:
        raise ModelFolderError(
            f"{path}: the tokenizer has token ids up to {max(ids)}, but the model's vocab_size is "
            f"{vocab_size}. Tokenizer and model do not belong together."
        )
    config = read_json(path / "tokenizer_config.json", "The tokenizer's settings are needed.")
    if not config.get("chat_template") and not (path / "chat_template.jinja").is_file():
        raise ModelFolderError(
            f"{path}: the tokenizer has no chat template (neither chat_template.jinja nor a "
            "chat_template in tokenizer_config.json). A base model cannot be asked questions; "
            "use an instruction-tuned one or add its template."
        )


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    for pattern in ("*.json", "*.jinja", "*.safetensors"):
        for file in sorted(path.glob(pattern)):
            if file.name in LEFT_BY_TRAINING or file.name.startswith("."):
                continue
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            if file.suffix != ".safetensors" or file.stat().st_size <= HASHED_WHOLE_BYTES:
                digest.update(file.read_bytes())
            else:
                digest.update(json.dumps(header_of(file), sort_keys=True).encode())
                with file.open("rb") as stream:
                    for number in range(SAMPLES):
                        stream.seek(number * (file.stat().st_size - SAMPLE_BYTES) // (SAMPLES - 1))
                        digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()
