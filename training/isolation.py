"""Attention isolation, measured on the real model: packed samples must not see each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training.dataset import Item, PackedDataset
from training.samples import Sample

MEASURED_TOKENS = 2_048
"""Tokens that the measured batch has at most: its logits fill the memory, not its attention."""

MEASURED_ROWS = 4
SAMPLES_PER_ROW = 4

FLOAT32_TOLERANCE = 1e-4
LOW_PRECISION_TOLERANCE = 2.0**-4
"""Of the largest logit. Packed and alone, a sample goes through kernels of other shapes, which
round in another order; bfloat16 rounds each intermediate value to 8 bits (2^-8), and a dozen such
roundings add up in the logits. A broken isolation moves them by their own size."""

Collate = Callable[[Sequence[Item]], dict[str, torch.Tensor]]
Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Isolation:
    """How far logits move when a sample is packed, and when its neighbour changes."""

    n_samples: int
    n_tokens: int
    max_difference: float
    """Of the logits of packed samples from those of the same samples alone."""
    tolerance: float
    max_leak: float
    """Of the logits of samples when the first sample of their row is replaced by other tokens."""
    leak_tolerance: float
    max_logit: float
    attention: str
    dtype: str

    @property
    def holds(self) -> bool:
        """Whether both differences are numbers within their tolerance."""
        return self.max_difference <= self.tolerance and self.max_leak <= self.leak_tolerance


def measured_rows(
    samples: Sequence[Sample], sequences: Sequence[np.ndarray], rows: Sequence[int]
) -> list[list[Sample]]:
    """The heads of a batch's samples that are measured: the last (shortest) ones of each row.

    A causal model's logits at a token depend on nothing behind it, so that the head of a sample
    stands for the sample.
    """
    chosen = [sequences[row][-SAMPLES_PER_ROW:] for row in rows[:MEASURED_ROWS]]
    most = MEASURED_TOKENS // sum(map(len, chosen))
    return [
        [Sample(s.input_ids[:most], s.labels[:most]) for s in (samples[int(i)] for i in row)]
        for row in chosen
    ]


def measure_isolation(
    model: Any, rows: Sequence[Sequence[Sample]], collate: Collate, autocast: Autocast
) -> Isolation:
    """Compare the logits of packed samples with their own unpacked ones.

    The second measurement, with a neighbour replaced, runs the same kernels on the same shapes:
    what leaks shows there in full, whatever the precision.

    Args:
        rows: samples of each row of the batch; padded by `collate` to one width.
        collate: the trainer's own.
        autocast: the precision in which the trainer computes.
    """
    flat = [sample for row in rows for sample in row]
    ends = np.cumsum([len(row) for row in rows])
    sequences = [np.arange(end - len(row), end) for row, end in zip(rows, ends, strict=True)]
    dataset = PackedDataset(flat, sequences)
    batch = collate([dataset[row] for row in range(len(rows))])
    batch.pop("labels")
    with ready(model) as device, torch.no_grad(), autocast():
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        packed = model(**batch).logits
        vocab_size = packed.shape[-1]
        replaced = batch["input_ids"].clone()
        for row, parts in enumerate(rows):
            if len(parts) > 1:
                n_first = len(parts[0])
                replaced[row, :n_first] = (replaced[row, :n_first] + 1) % vocab_size
        swapped = model(**{**batch, "input_ids": replaced}).logits
        differences, leaks, largest = [0.0], [0.0], [0.0]
        for row, parts in enumerate(rows):
            start = 0
            for number, sample in enumerate(parts):
                mine = packed[row, start : start + len(sample)].float()
                ids = torch.from_numpy(sample.input_ids.astype(np.int64))[None].to(device)
                alone = model(input_ids=ids).logits[0].float()
                differences.append(_largest(mine - alone))
                largest.append(_largest(alone))
                if number:
                    leaks.append(_largest(swapped[row, start : start + len(sample)] - mine))
                start += len(sample)
    is_float32 = packed.dtype == torch.float32
    tolerance = FLOAT32_TOLERANCE if is_float32 else LOW_PRECISION_TOLERANCE * max(largest)
    return Isolation(
        n_samples=len(flat),
        n_tokens=sum(map(len, flat)),
        # np.max, because max() of a list passes over NaN.
        max_difference=float(np.max(differences)),
        tolerance=tolerance,
        max_leak=float(np.max(leaks)),
        leak_tolerance=FLOAT32_TOLERANCE,
        max_logit=float(np.max(largest)),
        attention=str(getattr(model.config, "_attn_implementation", "unknown")),
        dtype=str(packed.dtype).removeprefix("torch."),
    )


def _largest(values: torch.Tensor) -> float:
    return float(values.abs().max())


@contextmanager
def ready(model: Any) -> Iterator[torch.device]:
    """The model as it computes without training: whole, on the accelerator, without a cache."""
    parameters = list(model.parameters())
    was_training, used_cache = model.training, model.config.use_cache
    home = parameters[0].device
    with _whole(parameters):
        device = torch.device("cuda") if torch.cuda.is_available() else home
        if device.type != home.type:
            model.to(device)
        model.eval()
        model.config.use_cache = False
        try:
            yield parameters[0].device
        finally:
            model.train(was_training)
            model.config.use_cache = used_cache
            if device.type != home.type:
                model.to(home)


def _whole(parameters: list[Any]) -> Any:
    """Gathers what ZeRO-3 has spread over the ranks; every rank has to come here."""
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(parameters)
