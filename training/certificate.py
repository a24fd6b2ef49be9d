"""The batch certificate: what the trainer's own batches hold, proven before the first step.

Written as JSON (read by the asset check `certificate_holds`) and as a page for people. One that
does not hold stops training before its first step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from formats.checkpoint_folder import CERTIFICATE
from formats.model_format import ModelFormat
from training.batch_checks import (
    Check,
    Sequences,
    batch_fault,
    end_token_trained,
    every_sample_once,
    loss_mask,
    nothing_cut,
    order_fault,
)
from training.certificate_page import render, shown_sample
from training.dataset import Samples
from training.errors import TrainingError
from training.isolation import Autocast, Isolation, measure_isolation, measured_rows
from training.text_check import text_as_in_table

PAGE = "certificate.html"
PACKING_GOAL = 0.98
COMPARED_TEXTS = 256
SHOWN_SAMPLES = 6
CHECKED_TOKENS = 200_000_000
"""Tokens of batches that each rank compares at most; what is beyond is covered by the counts over
all samples and by the order in which sequences are drawn."""


class CertificateError(TrainingError):
    """The batches are not what training needs; the message is the cause."""


@dataclass(frozen=True)
class _Seen:
    """What one rank found in its own batches."""

    orders: list[list[int]]
    """For each epoch the packed sequences in the order in which this rank draws them."""
    n_batches: int
    n_checked: int
    n_tokens: int
    fault: str
    isolation: Isolation | None


def certify(
    samples: Samples,
    sequences: Sequences,
    dataloader: Any,
    model: Any,
    student: ModelFormat,
    *,
    autocast: Autocast,
    system_prompt: str,
    mask_student_prefix: bool,
    epochs: int,
    max_length: int,
    folder: Path | None,
) -> None:
    """Prove the batches that the trainer will see, before any step; every rank calls this.

    Batches are made as the data loader makes them (its batch sampler, data set and collator), but
    without drawing from it: no random number is used up.

    Args:
        sequences: for each packed sequence the indices of its samples.
        student: how the student writes.
        dataloader: the trainer's own, of this rank.
        autocast: the trainer's own; it computes with `model` in this precision.
        folder: where rank 0 writes the certificate; None on other ranks.

    Raises:
        CertificateError: something does not hold; the message names the sample. The certificate
            is written nevertheless.
    """
    tokenizer = student.tokenizer
    seen = _gathered(_see(samples, sequences, dataloader, model, autocast, epochs))
    drawn = seen[0].orders[0]
    shown = [int(sample) for row in drawn[:SHOWN_SAMPLES] for sample in sequences[row]]
    spread = np.linspace(0, len(samples) - 1, COMPARED_TEXTS, dtype=np.int64).tolist()
    checks = [
        every_sample_once(samples, sequences),
        nothing_cut(samples),
        end_token_trained(samples, tokenizer.eos_token_id),
        loss_mask(samples, tokenizer, mask_student_prefix),
        text_as_in_table(samples, [*shown, *spread], student, system_prompt, mask_student_prefix),
        _drawn_once(seen, len(sequences)),
        _batches_as_packed(seen),
        _isolated([rank.isolation for rank in seen if rank.isolation]),
    ]
    failed = next((check for check in checks if not check.passed), None)
    if folder is not None:
        certificate = _certificate(samples, sequences, max_length, checks, seen)
        certificate["first_samples"] = [
            shown_sample(samples, index, tokenizer) for index in shown[:SHOWN_SAMPLES]
        ]
        text = json.dumps(certificate, ensure_ascii=False, indent=1)
        (folder / CERTIFICATE).write_text(text, encoding="utf-8")
        (folder / PAGE).write_text(render(certificate), encoding="utf-8")
    if failed:
        raise CertificateError(
            f"the batch certificate does not hold ({failed.name}): {failed.cause}. Nothing was "
            "trained."
        )


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
        if fault or n_tokens >= CHECKED_TOKENS:
            break
    packed = next((rows for rows in orders[0] if any(len(sequences[r]) > 1 for r in rows)), None)
    isolation = None
    if packed and not fault:
        # A row of several samples first, so that it is among the measured ones.
        rows = sorted(packed, key=lambda row: -len(sequences[row]))
        heads = measured_rows(samples, sequences, rows)
        isolation = measure_isolation(model, heads, dataloader.collate_fn, autocast)
    return _Seen(
        orders=[[row for rows in order for row in rows] for order in orders],
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


def _gathered(seen: _Seen) -> list[_Seen]:
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
        if (fault := order_fault(orders, n_sequences))
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
        "batches_hold_whole_samples", not faults,
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


def _certificate(
    samples: Samples,
    sequences: Sequences,
    max_length: int,
    checks: Sequence[Check],
    seen: Sequence[_Seen],
) -> dict[str, Any]:
    n_tokens = len(samples.token_ids)
    efficiency = n_tokens / (len(sequences) * max_length)
    warnings = []
    if efficiency < PACKING_GOAL:
        warnings.append(
            f"packing efficiency {efficiency:.1%} is below {PACKING_GOAL:.0%}: the sequences are "
            "longer than the samples fill"
        )
    if not (samples.n_response >= 0).any():
        warnings.append(
            "the tables state no lengths (n_student_tokens) of this tokenizer to compare with"
        )
    return {
        "holds": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "warnings": warnings,
        "samples_in": len(samples),
        "samples_out": int(sum(map(len, sequences))),
        "tokens": n_tokens,
        "trained_tokens": int((samples.lengths - samples.n_masked).sum()),
        "masked_prefix_tokens": int((samples.n_masked - samples.n_prompt).sum()),
        "weights": {
            name: float(getattr(samples.weights, name)()) for name in ("min", "mean", "max")
        },
        "packed_sequences": len(sequences),
        "max_length": max_length,
        "packing_efficiency": efficiency,
        "isolation": [asdict(rank.isolation) for rank in seen if rank.isolation],
    }
