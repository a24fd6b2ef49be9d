"""Certifies and trains on each of several gloo ranks, after one whose batches were broken.

`python -m torch.distributed.run --nproc_per_node 2 certify_on_ranks.py FAULTY_CONFIG CONFIG`
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
    for file, dataset in zip(sys.argv[1:], (_BrokenOnTheLastRank, PackedDataset), strict=True):
        config = sft.SftConfig.model_validate_json(Path(file).read_text(encoding="utf-8"))
        sft.PackedDataset = dataset  # type: ignore[misc]
        try:
            sft.train(config, lambda line: None)
            print("trained", flush=True)
        except CertificateError as error:
            print(f"refused: {error}", flush=True)


if __name__ == "__main__":
    main()
