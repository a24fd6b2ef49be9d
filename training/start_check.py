"""The certificate of a training stage: that of its set, and what only the model and the ranks show.

Before the first step every rank measures on the real model that packed samples do not see each
other, draws the order of all epochs, and compares the first of its own batches with the set. The
certificate of the checkpoint is that of its training set with these checks. One that does not hold
stops training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from formats.checkpoint_folder import CERTIFICATE
from training.batch_checks import Check, Sequences, batch_fault, order_fault
from training.certificate import SHOWN_SAMPLES, require, write_certificate
from training.certificate_page import shown_sample
from training.errors import TrainingError
from training.isolation import Autocast, Isolation, measure_isolation, measured_rows
from training.samples import Samples
from training.training_set import TrainingSet

COMPARED_TOKENS = 2_000_000
"""Tokens of its own batches that each rank compares; the set's certificate has compared all."""


T = TypeVar("T")


@dataclass(frozen=True)
class _Seen:
    """What one rank found in its own batches."""

    orders: list[npt.NDArray[np.int32]]
    """For each epoch the packed sequences in the order in which this rank draws them."""
    n_batches: int
    n_checked: int
    n_tokens: int
    fault: str
    isolation: Isolation | None


def certify_start(
    training_set: TrainingSet,
    dataloader: Any,
    model: Any,
    tokenizer: Any,
    *,
    autocast: Autocast,
    epochs: int,
    folder: Path | None,
) -> list[list[npt.NDArray[np.int32]]]:
    """Prove what the trainer will see, before any step; every rank calls this.

    Batches are made as the data loader makes them (its batch sampler, data set and collator), but
    without drawing from it: no random number is used up.

    Args:
        dataloader: the trainer's own, of this rank.
        autocast: the trainer's own; it computes with `model` in this precision.
        folder: where rank 0 writes the certificate; None on other ranks.

    Returns:
        For each rank and epoch the packed sequences in the order in which they are drawn.

    Raises:
        TrainingError: the ranks see different sets.
        CertificateError: something does not hold; the message names the sample. The certificate
            is written nevertheless.
    """
    check_same_set(_gathered(_name(training_set)))
    samples, sequences = training_set.samples, training_set.sequences
    seen = _gathered(_see(samples, sequences, dataloader, model, autocast, epochs))
    checks = [
        _drawn_once(seen, len(sequences)),
        _batches_as_packed(seen),
        _isolated([rank.isolation for rank in seen if rank.isolation]),
    ]
    if folder is not None:
        of_set = json.loads((training_set.folder / CERTIFICATE).read_text(encoding="utf-8"))
        drawn = [
            int(sample)
            for row in seen[0].orders[0][:SHOWN_SAMPLES]
            for sample in (sequences[row] if row < len(sequences) else ())
        ]
        certificate = {
            **of_set,
            "holds": of_set["holds"] and all(check.passed for check in checks),
            "checks": [*of_set["checks"], *map(asdict, checks)],
            "isolation": [asdict(rank.isolation) for rank in seen if rank.isolation],
            "first_samples": [
                shown_sample(samples, index, tokenizer) for index in drawn[:SHOWN_SAMPLES]
            ],
        }
        write_certificate(certificate, folder)
    require(checks, "Nothing was trained.")
    return [rank.orders for rank in seen]


def check_same_set(names: Sequence[str]) -> None:
    """Refuse ranks that have not mapped the same set.

    Args:
        names: of each rank, what it has mapped, beginning with the hash of its content.

    Raises:
        TrainingError: they have not, with what the first of the others has.
    """
    own = [name.split()[0] for name in names]
    for rank, one in enumerate(own):
        if one != own[0]:
            raise TrainingError(
                f"the ranks see different training sets: rank 0 has {names[0]}, rank {rank} has "
                f"{names[rank]}. Every machine has to see the same folder, or a whole copy of it"
            )


def _name(one: TrainingSet) -> str:
    about = one.description
    return f"{about.content_hash} ({about.n_samples:,} samples, {one.folder})"


def _see(
    samples: Samples,
    sequences: Sequences,
    dataloader: Any,
    model: Any,
    autocast: Autocast,
    epochs: int,
) -> _Seen:
    """Draw every epoch's order, compare the first epoch's batches, measure one on the model."""
    orders = []
    for epoch in range(epochs):
        if hasattr(dataloader, "set_epoch"):
            dataloader.set_epoch(epoch)
        orders.append([list(batch) for batch in dataloader.batch_sampler])
    fault, n_checked, n_tokens = "", 0, 0
    for rows, batch in _batches(dataloader, orders[0]):
        fault = batch_fault(batch, rows, samples, sequences)
        n_checked += 1
        n_tokens += batch["input_ids"].numel()
        if fault or n_tokens >= COMPARED_TOKENS:
            break
    packed = next((rows for rows in orders[0] if any(len(sequences[r]) > 1 for r in rows)), None)
    isolation = None
    if packed and not fault:
        # A row of several samples first, so that it is among the measured ones.
        rows = sorted(packed, key=lambda row: -len(sequences[row]))
        heads = measured_rows(samples, sequences, rows)
        isolation = measure_isolation(model, heads, dataloader.collate_fn, autocast)
    return _Seen(
        orders=[np.asarray([row for rows in order for row in rows], np.int32) for order in orders],
        n_batches=len(orders[0]),
        n_checked=n_checked,
        n_tokens=n_tokens,
        fault=fault,
        isolation=isolation,
    )


def _batches(
    dataloader: Any, order: Sequence[Sequence[int]]
) -> Iterator[tuple[Sequence[int], dict[str, torch.Tensor]]]:
    for rows in order:
        yield rows, dataloader.collate_fn([dataloader.dataset[row] for row in rows])


def _gathered(seen: T) -> list[T]:
    """What each rank found, on every rank: all of them go on, or none."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return [seen]
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, seen)
    return everyone


def _drawn_once(seen: Sequence[_Seen], n_sequences: int) -> Check:
    faults = [
        f"epoch {epoch}: {fault}"
        for epoch, orders in enumerate(zip(*(rank.orders for rank in seen), strict=True))
        if (fault := order_fault([order.tolist() for order in orders], n_sequences))
    ]
    return Check(
        "every_sequence_drawn_once", not faults,
        f"{n_sequences:,} sequences on {len(seen)} rank(s) in {len(seen[0].orders)} epoch(s)",
        "each once an epoch", "".join(faults[:1]),
    )  # fmt: skip


def _batches_as_packed(seen: Sequence[_Seen]) -> Check:
    faults = [rank.fault for rank in seen if rank.fault]
    n_checked = sum(rank.n_checked for rank in seen)
    n_batches = sum(rank.n_batches for rank in seen)
    n_tokens = sum(rank.n_tokens for rank in seen)
    return Check(
        "own_batches_hold_whole_samples", not faults,
        f"{n_checked:,} of {n_batches:,} batches compared, {n_tokens:,} tokens",
        "tokens, labels, positions and weights of whole samples", "".join(faults[:1]),
    )  # fmt: skip


def _isolated(measured: Sequence[Isolation]) -> Check:
    name, allowed = "attention_isolated", "a packed sample's logits are its own"
    if not measured:
        return Check(name, True, "no sequence holds two samples", allowed)
    worst = max(measured, key=lambda one: (not one.holds, one.max_difference))
    cause = ""
    if not worst.holds:
        cause = (
            f"samples in one sequence see each other: logits differ by {worst.max_difference:.2g} "
            f"from those of the same samples alone, and by {worst.max_leak:.2g} when a neighbour "
            f"changes (allowed: {worst.tolerance:.2g} and {worst.leak_tolerance:.2g}; attention "
            f"{worst.attention}, {worst.dtype}). This model's attention does not tell packed "
            "samples apart by their positions; flash attention does so only with micro_batch_size "
            "1. Where no attention does, set packing: false: a sequence then holds one sample"
        )
    return Check(
        name, worst.holds,
        f"{worst.max_difference:.2g} from unpacked, {worst.max_leak:.2g} from a neighbour; "
        f"{sum(one.n_samples for one in measured)} samples, {worst.attention}, {worst.dtype}",
        f"{worst.tolerance:.2g} and {worst.leak_tolerance:.2g}", cause,
    )  # fmt: skip
