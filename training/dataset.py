"""From training rows to tokens, loss masks and packed batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from training.encoding import encode_prompt, encode_response

NO_LOSS = -100


class SampleError(ValueError):
    """A training row that cannot be used; the message names file, row and reason."""


@dataclass(frozen=True)
class Sample:
    """One training example: token ids, and labels that are -100 where no loss is taken."""

    input_ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.input_ids)


def load_samples(
    files: Sequence[Path],
    tokenizer: Any,
    *,
    system_prompt: str,
    max_length: int,
    vocab_size: int,
    mask_student_prefix: bool = False,
) -> list[Sample]:
    """Tokenise the rows of Parquet files with the columns question and response_text.

    Args:
        files: training rows; `student_prefix_bytes` is read where the prefix is to be masked.
        max_length: tokens of one packed sequence; a longer row is an error, never cut.
        vocab_size: rows of the model's embedding.
        mask_student_prefix: take no loss on the leading bytes that the student wrote.

    Raises:
        SampleError: no rows at all, or a row that is empty, too long or outside the vocabulary.
    """
    samples = []
    for file in files:
        columns = ["question", "response_text"]
        columns += ["student_prefix_bytes"] if mask_student_prefix else []
        for number, row in enumerate(pq.read_table(file, columns=columns).to_pylist()):
            where = f"{file}, row {number}"
            if not row["response_text"].strip():
                raise SampleError(f"{where}: the response is empty")
            prompt = encode_prompt(tokenizer, row["question"], system_prompt)
            response = encode_response(tokenizer, row["response_text"])
            ids = np.asarray([*prompt, *response], np.int32)
            if len(ids) > max_length:
                raise SampleError(
                    f"{where}: {len(ids)} tokens, but a sequence takes {max_length}. "
                    "Nothing is cut: raise max_length or filter harder."
                )
            if ids.max() >= vocab_size:
                raise SampleError(
                    f"{where}: token id {ids.max()} is outside the model's vocabulary of "
                    f"{vocab_size}. Tokenizer and model do not belong together."
                )
            labels = ids.copy()
            labels[: len(prompt)] = NO_LOSS
            if mask_student_prefix and row["student_prefix_bytes"]:
                prefix = row["response_text"].encode()[: row["student_prefix_bytes"]].decode()
                # A token across the end of the prefix is the teacher's: it takes loss.
                n_prefix = _common_tokens(encode_response(tokenizer, prefix)[:-1], response)
                labels[len(prompt) : len(prompt) + n_prefix] = NO_LOSS
            samples.append(Sample(ids, labels))
    if not samples:
        raise SampleError(f"{', '.join(map(str, files))}: no training rows")
    return samples


def _common_tokens(a: Sequence[int], b: Sequence[int]) -> int:
    equal = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        equal += 1
    return equal


class PackedDataset(torch.utils.data.Dataset):
    """Packed sequences; samples in one are kept apart by position ids that start anew."""

    def __init__(self, samples: Sequence[Sample], sequences: Sequence[npt.NDArray[np.int64]]):
        self._samples = samples
        self._sequences = sequences

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        parts = [self._samples[sample] for sample in self._sequences[index]]
        labels = [part.labels.astype(np.int64) for part in parts]
        return {
            "input_ids": np.concatenate([part.input_ids for part in parts]).astype(np.int64),
            "labels": np.concatenate(labels),
            "position_ids": np.concatenate([np.arange(len(part)) for part in parts]),
        }


def collate(
    sequences: Sequence[dict[str, npt.NDArray[np.int64]]], pad_id: int
) -> dict[str, torch.Tensor]:
    """A batch of packed sequences, padded on the right to the longest.

    There is no attention mask: transformers reads the boundaries of samples from the position ids
    and lets no token attend across one. Padding has position 0 throughout, which makes each
    padding token a sample of its own.
    """
    width = max(len(sequence["input_ids"]) for sequence in sequences)
    fill = {"input_ids": pad_id, "labels": NO_LOSS, "position_ids": 0}
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
    }
