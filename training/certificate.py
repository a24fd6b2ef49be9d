"""The certificate of a training set: what its batches hold, proven once when the set is made.

Written as JSON (read by the asset check `certificate_holds`) and as a page for people. A set whose
certificate does not hold is not made. `training.start_check` adds what only the model and the
ranks show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

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
)
from training.certificate_page import render, shown_sample
from training.dataset import PackedDataset, collate
from training.errors import TrainingError
from training.samples import Samples
from training.text_check import text_as_in_table

PAGE = "certificate.html"
PACKING_GOAL = 0.98
COMPARED_TEXTS = 256
SHOWN_SAMPLES = 6


class CertificateError(TrainingError):
    """The batches are not what training needs; the message is the cause."""


def certify_set(
    samples: Samples,
    sequences: Sequences,
    student: ModelFormat,
    *,
    system_prompt: str,
    mask_student_prefix: bool,
    max_length: int,
    folder: Path,
) -> None:
    """Prove the batches that a training set makes.

    Args:
        sequences: for each packed sequence the indices of its samples.
        student: how the student writes.
        folder: where the certificate is written.

    Raises:
        CertificateError: something does not hold; the message names the sample. The certificate
            is written nevertheless.
    """
    tokenizer = student.tokenizer
    shown = [int(sample) for sequence in sequences[:SHOWN_SAMPLES] for sample in sequence]
    spread = np.linspace(0, len(samples) - 1, COMPARED_TEXTS, dtype=np.int64).tolist()
    checks = [
        every_sample_once(samples, sequences),
        nothing_cut(samples),
        end_token_trained(samples, tokenizer.eos_token_id),
        loss_mask(samples, tokenizer, mask_student_prefix),
        text_as_in_table(
            samples, [*shown[:COMPARED_TEXTS], *spread], student, system_prompt, mask_student_prefix
        ),
        _batches_as_packed(samples, sequences, tokenizer.eos_token_id),
    ]
    certificate = _certificate(samples, sequences, max_length, checks)
    certificate["first_samples"] = [
        shown_sample(samples, index, tokenizer) for index in shown[:SHOWN_SAMPLES]
    ]
    write_certificate(certificate, folder)
    require(checks, "The training set was not made.")


def require(checks: Sequence[Check], otherwise: str) -> None:
    """Stop at the first check that does not hold.

    Raises:
        CertificateError: with its cause, and what was left undone.
    """
    failed = next((check for check in checks if not check.passed), None)
    if failed:
        raise CertificateError(
            f"the batch certificate does not hold ({failed.name}): {failed.cause}. {otherwise}"
        )


def write_certificate(certificate: Mapping[str, Any], folder: Path) -> None:
    """Write a certificate, as JSON and as a page."""
    text = json.dumps(certificate, ensure_ascii=False, indent=1)
    (folder / CERTIFICATE).write_text(text, encoding="utf-8")
    (folder / PAGE).write_text(render(certificate), encoding="utf-8")


def _batches_as_packed(samples: Samples, sequences: Sequences, pad_id: int) -> Check:
    """Every sequence as the trainer's data set and collator make it."""
    dataset = PackedDataset(samples, sequences, is_weighted=samples.is_weighted)
    fault, n_tokens, n_checked = "", 0, 0
    for row in range(len(sequences)):
        batch = collate([dataset[row]], pad_id)
        fault = batch_fault(batch, [row], samples, sequences)
        n_tokens += batch["input_ids"].numel()
        n_checked += 1
        if fault:
            break
    return Check(
        "batches_hold_whole_samples", not fault,
        f"{n_checked:,} of {len(sequences):,} sequences compared, {n_tokens:,} tokens",
        "tokens, labels, positions and weights of whole samples", fault,
    )  # fmt: skip


def _certificate(
    samples: Samples,
    sequences: Sequences,
    max_length: int,
    checks: Sequence[Check],
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
    }
