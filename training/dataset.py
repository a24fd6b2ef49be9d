"""Packed sequences of samples, and the batches made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.samples import NO_LOSS, Sample, Samples

TOKEN_WEIGHTS = "token_weights"
"""In items and batches: the weight of each token's sample; there only if samples are weighted."""

Item = dict[str, npt.NDArray[Any]]
"""One packed sequence: input_ids, labels and position_ids, int64 [n_tokens]; and token_weights,
float32, where samples have weights."""


class PackedDataset(torch.utils.data.Dataset):
    """Packed sequences; samples in one are kept apart by position ids that start anew."""

    def __init__(
        self,
        samples: Sequence[Sample],
        sequences: Sequence[npt.NDArray[np.int64]],
        *,
        is_weighted: bool = False,
    ):
        """
        Args:
            is_weighted: each item has the token_weights of its samples.
        """
        self._samples = samples
        self._sequences = sequences
        self._is_weighted = is_weighted

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> Item:
        parts = [self._samples[sample] for sample in self._sequences[index]]
        labels = [part.labels.astype(np.int64) for part in parts]
        item: Item = {
            "input_ids": np.concatenate([part.input_ids for part in parts]).astype(np.int64),
            "labels": np.concatenate(labels),
            "position_ids": np.concatenate([np.arange(len(part)) for part in parts]),
        }
        if self._is_weighted:
            weights = [np.full(len(part), part.weight, np.float32) for part in parts]
            item[TOKEN_WEIGHTS] = np.concatenate(weights)
        if isinstance(self._samples, Samples):
            # After each: of a file in large pages a look at one sample maps megabytes around it.
            self._samples.forget()
        return item


def collate(sequences: Sequence[Item], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch of packed sequences, padded on the right to the longest.

    There is no attention mask: transformers reads the boundaries of samples from the position ids
    and lets no token attend across one, which the certificate measures (`training.isolation`).
    Padding has position 0 throughout, which makes each padding token a sample of its own.
    """
    width = max(len(sequence["input_ids"]) for sequence in sequences)
    fill = {"input_ids": pad_id, "labels": NO_LOSS, "position_ids": 0, TOKEN_WEIGHTS: 0}
    return {
        name: torch.from_numpy(
            np.stack(
                [
                    np.pad(sequence[name], (0, width - len(sequence[name])), constant_values=value)
                    for sequence in sequences
                ]
            )
        )
        for name, value in fill.items()
        if name in sequences[0]
    }
