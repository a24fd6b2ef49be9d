"""The batch certificate: what the trainer's own batches hold, proven before the first step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.checkpoint import CERTIFICATE
from training.dataset import NO_LOSS, Sample

MAX_SHOWN_SAMPLES = 3


class CertificateError(RuntimeError):
    """The batches are not what training needs; the message is the cause."""


def certify(
    samples: Sequence[Sample],
    sequences: Sequence[npt.NDArray[np.int64]],
    dataloader: Any,
    model: Any,
    tokenizer: Any,
    *,
    epochs: int,
    max_length: int,
    folder: Path | None,
) -> None:
    """Prove the batches that the trainer will see, before any step; every rank calls this.

    Args:
        sequences: for each packed sequence the indices of its samples.
        dataloader: the trainer's own, of this rank.
        folder: where rank 0 writes the certificate; None on other ranks.

    Raises:
        CertificateError: a sample is lost or doubled, or one does not end with its end token.
    """
    packed = np.concatenate(sequences)
    if sorted(packed.tolist()) != list(range(len(samples))):
        raise CertificateError(f"{len(samples)} samples went into packing, {len(packed)} came out")
    for index, sample in enumerate(samples):
        if sample.input_ids[-1] != tokenizer.eos_token_id or sample.labels[-1] == NO_LOSS:
            raise CertificateError(f"sample {index} does not end with a trained end token")
    if folder is None:
        return
    n_tokens = sum(map(len, samples))
    certificate = {
        "samples_in": len(samples),
        "samples_out": len(packed),
        "packed_sequences": len(sequences),
        "packing_efficiency": n_tokens / (len(sequences) * max_length),
        "tokens": n_tokens,
        "trained_tokens": int(sum((sample.labels != NO_LOSS).sum() for sample in samples)),
        "first_samples": [
            {
                "masked": tokenizer.decode(sample.input_ids[sample.labels == NO_LOSS]),
                "trained": tokenizer.decode(sample.input_ids[sample.labels != NO_LOSS]),
            }
            for sample in (samples[i] for i in sequences[0][:MAX_SHOWN_SAMPLES])
        ],
    }
    text = json.dumps(certificate, ensure_ascii=False, indent=1)
    (folder / CERTIFICATE).write_text(text, encoding="utf-8")
