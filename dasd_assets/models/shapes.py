"""How large a model is, from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dasd_assets.profile import ModelShape
from resources.engines.weight_files import weight_files


def shape_of_files(
    folder: Path, n_parameters: int, active_parameters: float | None = None
) -> ModelShape:
    """As the config has it; of experts it does not tell how many parameters are active."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = int(config["num_attention_heads"])
    kinds = config.get("layer_types")
    return ModelShape(
        parameters=n_parameters,
        active_parameters=active_parameters,
        weight_bytes=sum(file.stat().st_size for file in weight_files(folder)),
        layers=config["num_hidden_layers"],
        full_attention_layers=kinds.count("full_attention") if kinds else None,
        heads=heads,
        kv_heads=config.get("num_key_value_heads", heads),
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        hidden_size=config["hidden_size"],
        vocab_size=config["vocab_size"],
    )
