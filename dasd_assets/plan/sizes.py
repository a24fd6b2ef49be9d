"""What a plan is for: how many questions in which shards, and how large the models are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dasd_assets.profile import Model, ModelShape
from resources.engines.model_folder import ModelFolderError
from resources.engines.weight_files import weight_files


@dataclass(frozen=True)
class ShardSize:
    """Questions of one question_shard.

    Attributes:
        rows: usable rows as delivered.
        by_domain: domain -> questions that curation keeps; before it has run, all of the rows.
    """

    name: str
    rows: int
    by_domain: Mapping[str, int]

    @property
    def questions(self) -> int:
        """Of all domains."""
        return sum(self.by_domain.values())


@dataclass(frozen=True)
class Sizes:
    """What is planned for.

    Attributes:
        shards: question shards; of an announced number of questions, none.
        announced: domain -> questions that are in no shard yet; empty if the shards count.
        benchmarks: evaluation set -> questions of its file; None where it is not here.
    """

    shards: tuple[ShardSize, ...]
    announced: Mapping[str, int]
    benchmarks: Mapping[str, int | None]

    @property
    def rows(self) -> int:
        """Rows as delivered."""
        return sum(self.announced.values()) or sum(shard.rows for shard in self.shards)

    @property
    def questions(self) -> int:
        """Questions that the teacher is asked."""
        return sum(self.by_domain.values())

    @property
    def by_domain(self) -> Mapping[str, int]:
        """Domain -> questions that the teacher is asked."""
        if self.announced:
            return self.announced
        counted = Counter[str]()
        for shard in self.shards:
            counted.update(shard.by_domain)
        return counted


def shape_of(model: Model, stated: ModelShape | None) -> tuple[ModelShape | None, str]:
    """Size of a model and where it is from: its files, if they are here, else the profile.

    Returns:
        None, with the reason, where neither tells.
    """
    try:
        found = model.inspect()
        if not found.n_parameters:
            return stated, "profile" if stated else "no weights here"
        return _from_files(found.path, found.n_parameters, stated), "its files"
    except ModelFolderError as error:
        return stated, "profile" if stated else str(error)


def _from_files(folder: Path, n_parameters: int, stated: ModelShape | None) -> ModelShape:
    """As the config has it; of experts it does not tell how many parameters are active."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = int(config["num_attention_heads"])
    kinds = config.get("layer_types")
    return ModelShape(
        parameters=n_parameters,
        active_parameters=stated.active_parameters if stated else None,
        weight_bytes=sum(file.stat().st_size for file in weight_files(folder)),
        layers=config["num_hidden_layers"],
        full_attention_layers=kinds.count("full_attention") if kinds else None,
        heads=heads,
        kv_heads=config.get("num_key_value_heads", heads),
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        hidden_size=config["hidden_size"],
        vocab_size=config["vocab_size"],
    )
