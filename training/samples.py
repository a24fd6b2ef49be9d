"""Training samples as flat arrays, in memory or mapped from files."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

NO_LOSS = -100

RUN_TOKENS = 16 * 1024**2
"""Tokens of a mapped file that are read before their pages are let go of: 64 MiB."""


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
    mapping: mmap.mmap | None = field(default=None, repr=False, compare=False)
    """The file that `token_ids` is a view of; None where they are in memory."""

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

    def runs(self, n_tokens: int = RUN_TOKENS) -> Iterator[slice]:
        """All examples in runs of about so many tokens, so that a look at all holds but one."""
        first = 0
        while first < len(self):
            after = np.searchsorted(self.starts, self.starts[first] + n_tokens)
            last = min(max(first + 1, int(after)), len(self))
            yield slice(first, last)
            self.forget()
            first = last

    def forget(self) -> None:
        """Let go of the pages that were read, where tokens are mapped: they are read again if asked
        for, mostly from the machine's cache, which all its processes share."""
        if self.mapping is not None:
            self.mapping.madvise(mmap.MADV_DONTNEED)
