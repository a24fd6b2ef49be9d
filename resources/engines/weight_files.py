"""The weights of a model folder: which files they are in, their tensors, how many parameters."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.engines.model_files import ModelFolderError, read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d+-of-(\d+)\.safetensors")


@dataclass(frozen=True)
class Tensor:
    """Type and shape of a tensor, as the header of its file has them."""

    dtype: str
    shape: tuple[int, ...]


def weight_files(path: Path) -> list[Path]:
    """The files that the weights are read from, as transformers chooses them, sorted.

    Raises:
        ModelFolderError: there are none, or some that belong together are missing.
    """
    if (path / SINGLE).is_file():
        return [path / SINGLE]
    if (path / INDEX).is_file():
        return _indexed(path)
    shards = [found for file in path.glob("*.safetensors") if (found := _SHARD.match(file.name))]
    if shards:
        raise ModelFolderError(
            f"{path}: {len(shards)} of {int(shards[0][1])} weight files and no {INDEX}, which says "
            "what is in which. Is the download complete?"
        )
    raise ModelFolderError(
        f"{path}: no weights ({SINGLE}, or {INDEX} with its files). Is the download complete?"
    )


def _indexed(path: Path) -> list[Path]:
    index = read_json(path / INDEX, "Copy or download it again.")
    placed = index.get("weight_map")
    if not (isinstance(placed, dict) and placed and set(map(type, placed.values())) == {str}):
        raise ModelFolderError(f"{path / INDEX}: it has no weight_map. Download it again.")
    names = {name for name in placed.values() if Path(name).name == name}
    files = sorted(path / name for name in names)
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelFolderError(
            f"{path}: {INDEX} lists {', '.join(missing)}, not in the folder. Download it again."
        )
    there = {(name, file.name) for file in files for name in _tensors_of(file)}
    if absent := sorted(name for name, file in placed.items() if (name, file) not in there):
        raise ModelFolderError(
            f"{path}: {INDEX} lists {len(absent)} tensor(s) that are not in their files, such as "
            f"{absent[0]} in {placed[absent[0]]}. The files are of two different models."
        )
    return files


def tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a model folder by name, from the headers of its files.

    Raises:
        ModelFolderError: as `weight_files`, or a file is torn.
    """
    return {
        name: tensor for file in weight_files(path) for name, tensor in _tensors_of(file).items()
    }


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of `tensors`."""
    return {name: tensor.shape for name, tensor in tensors(path).items()}


def n_parameters(found: dict[str, Tensor]) -> int:
    """Parameters of a model.

    MXFP4 (gpt-oss) holds two parameters in a byte of `…_blocks`; `…_scales` are none.
    """
    total = 0
    for name, tensor in found.items():
        size = math.prod(tensor.shape)
        base, _, part = name.rpartition("_")
        is_mxfp4 = f"{base}_blocks" in found and f"{base}_scales" in found
        if is_mxfp4 and part == "blocks" and tensor.dtype == "U8":
            size *= 2
        elif is_mxfp4 and part == "scales":
            size = 0
        total += size
    return total


def header_of(file: Path) -> dict[str, Any]:
    """The header of a safetensors file.

    Raises:
        ModelFolderError: the file is torn, or none.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
            data = max((t["data_offsets"][1] for k, t in header.items() if k != "__metadata__"),
                       default=0)  # fmt: skip
            if file.stat().st_size < 8 + length + data:
                raise ValueError("the file ends before its last tensor")
            return dict(header)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFolderError(
            f"{file}: torn or no safetensors file ({error}). Copy or download it again."
        ) from error


def _tensors_of(file: Path) -> dict[str, Tensor]:
    return {
        name: Tensor(str(entry["dtype"]), tuple(entry["shape"]))
        for name, entry in header_of(file).items()
        if name != "__metadata__"
    }
