"""Certifies and trains on each of several gloo ranks; `fault` breaks one rank's batches.

`python -m torch.distributed.run --nproc_per_node 2 certify_on_ranks.py CONFIG none|fault`
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from training import sft
from training.certificate import CertificateError
from training.dataset import PackedDataset


class _BrokenOnTheLastRank(PackedDataset):
    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        if os.environ["RANK"] == "0":
            return item
        return {**item, "position_ids": np.arange(len(item["input_ids"]))}


def main() -> None:
    """Print each rank's verdict."""
    config = sft.SftConfig.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if sys.argv[2] == "fault":
        sft.PackedDataset = _BrokenOnTheLastRank  # type: ignore[misc]
    try:
        sft.train(config, lambda line: None)
    except CertificateError as error:
        print(f"refused: {error}", flush=True)


if __name__ == "__main__":
    main()
