"""Training samples as flat arrays, and the packed sequences and batches made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

NO_LOSS = -100

TOKEN_WEIGHTS = "token_weights"
"""In items and batches: the weight of each token's sample; there only if samples are weighted."""

Item = dict[str, npt.NDArray[Any]]
"""One packed sequence: input_ids, labels and position_ids, int64 [n_tokens]; and token_weights,
float32, where samples have weights."""


class SampleError(ValueError):
    """A training row that cannot be used; the message names file, row and reason."""


@dataclass(frozen=True)
class Sample:
    """One training example: token ids, and labels that are -100 where no loss is taken."""

    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class Samples(Sequence[Sample]):
    """All training examples of a stage: one array of tokens, and where each example lies in it.

    Four bytes a token; labels are made when a sample is asked for.
    """

    token_ids: npt.NDArray[np.int32]
    """All examples' tokens, one after the other."""
    starts: npt.NDArray[np.int64]
    """First token of each example, and the number of tokens as the last entry; [n + 1]."""
    n_prompt: npt.NDArray[np.int32]
    """Tokens of each example's prompt."""
    n_masked: npt.NDArray[np.int32]
    """Leading tokens without loss: the prompt, and a student's prefix if that was asked for."""
    n_response: npt.NDArray[np.int32]
    """Tokens that the table says the response has, end token included; -1 where it does not, or
    counts those of another tokenizer."""
    weights: npt.NDArray[np.float32]
    """What each example's loss counts beside the others'; 1 where the table says nothing."""
    files: tuple[Path, ...]
    file_starts: npt.NDArray[np.int64]
    """The first example of each file."""

    def __len__(self) -> int:
        return len(self.n_prompt)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """One example; its tokens are a view."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        ids = self.token_ids[self.starts[index] : self.starts[index + 1]]
        labels = ids.copy()
        labels[: self.n_masked[index]] = NO_LOSS
        return Sample(ids, labels, float(self.weights[index]))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def is_weighted(self) -> bool:
        """Whether some example counts more than another; else nothing is weighed in training."""
        return bool((self.weights != 1.0).any())

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.starts)

    def lengths_of(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Tokens of some examples."""
        return self.starts[indices + 1] - self.starts[indices]

    def place(self, index: int) -> tuple[Path, int]:
        """File and row that an example comes from."""
        file = int(np.searchsorted(self.file_starts, index, side="right")) - 1
        return self.files[file], index - int(self.file_starts[file])

    def name(self, index: int) -> str:
        """An example as messages name it."""
        file, row = self.place(index)
        return f"{file}, row {row}"


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
