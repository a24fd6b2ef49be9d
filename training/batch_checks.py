"""What must hold of the samples, the packed sequences and the trainer's batches.

Over all samples the checks work on the flat arrays of `Samples`; batches are compared with what
the samples say they should hold, which is put together here a second time and without the code
that makes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from formats.student_tokens import encode_prompt
from training.dataset import TOKEN_WEIGHTS
from training.samples import NO_LOSS, Samples

Sequences = Sequence[npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Check:
    """One thing that must hold: what was found, what is allowed, and the cause if it does not."""

    name: str
    passed: bool
    found: str
    allowed: str
    cause: str = ""


def every_sample_once(samples: Samples, sequences: Sequences) -> Check:
    """Every sample is in exactly one packed sequence."""
    packed = np.concatenate(sequences)
    counts = np.bincount(packed, minlength=len(samples))
    cause = ""
    for index in np.flatnonzero(counts[: len(samples)] != 1)[:1]:
        cause = f"{samples.name(int(index))}: packed {counts[index]} times"
    cause = cause or ("a packed sample does not exist" if len(counts) > len(samples) else "")
    return Check(
        "every_sample_once", not cause,
        f"{len(samples):,} samples in, {len(packed):,} out", "each once", cause,
    )  # fmt: skip


def nothing_cut(samples: Samples) -> Check:
    """Each response has as many tokens as its table says."""
    n_found = samples.lengths - samples.n_prompt
    stated = samples.n_response >= 0
    cut = np.flatnonzero(stated & (n_found != samples.n_response))
    cause = "".join(
        f"{samples.name(int(i))}: {n_found[i]} response tokens, the table says "
        f"{samples.n_response[i]}: cut, or made for another tokenizer"
        for i in cut[:1]
    )
    found = f"{len(cut):,} differ of {int(stated.sum()):,} whose table states a length"
    return Check("nothing_cut", not cause, found, "0 differ", cause)


def end_token_trained(samples: Samples, end_token: int) -> Check:
    """Each sample ends with the end token, has it once behind its prompt, and trains it."""
    last, n_ends = np.zeros((2, len(samples)), np.int64)
    for run in samples.runs():
        starts, after = samples.starts[:-1][run], samples.starts[1:][run]
        token_ids = samples.token_ids[starts[0] : after[-1]]
        last[run] = token_ids[after - 1 - starts[0]]
        ends = np.flatnonzero(token_ids == end_token) + starts[0]
        n_ends[run] = np.searchsorted(ends, after)
        n_ends[run] -= np.searchsorted(ends, starts + samples.n_prompt[run])
    is_trained = samples.n_masked < samples.lengths
    bad = np.flatnonzero((last != end_token) | (n_ends != 1) | ~is_trained)
    cause = "".join(
        f"{samples.name(int(i))}: does not end with one trained end token: {n_ends[i]} in the "
        f"response, token {last[i]} is the last"
        for i in bad[:1]
    )
    found = f"{len(samples) - len(bad):,} of {len(samples):,}"
    return Check("end_token_trained", not cause, found, "every sample", cause)


def loss_mask(samples: Samples, tokenizer: Any, mask_student_prefix: bool) -> Check:
    """The mask ends where the template's generation prompt does; beyond it only if asked."""
    marker = np.asarray(_prompt_end(tokenizer), np.int32)
    prompt_ends = samples.starts[:-1] + samples.n_prompt
    is_prompt = samples.n_prompt >= len(marker)
    for run in samples.runs():
        at = prompt_ends[run, None] - np.arange(len(marker), 0, -1)[None]
        is_prompt[run] &= (samples.token_ids[np.maximum(at, 0)] == marker).all(axis=1)
    n_prefix = samples.n_masked - samples.n_prompt
    is_asked = (n_prefix >= 0) if mask_student_prefix else (n_prefix == 0)
    bad = np.flatnonzero(~is_prompt | ~is_asked)
    cause = "".join(
        f"{samples.name(int(i))}: the loss mask covers {samples.n_masked[i]} tokens, "
        + (
            f"{n_prefix[i]} beyond the prompt"
            if is_prompt[i]
            else f"but the prompt of {samples.n_prompt[i]} does not end with "
            f"{tokenizer.decode(marker)!r}"
        )
        for i in bad[:1]
    )
    masked = int(np.count_nonzero(n_prefix > 0))
    return Check(
        "loss_mask", not cause,
        f"{len(bad):,} masks misplaced; {masked:,} student prefixes masked",
        "0 misplaced, prefixes as asked" if mask_student_prefix else "0 misplaced, no prefix",
        cause,
    )  # fmt: skip


def batch_fault(
    batch: dict[str, torch.Tensor], rows: Sequence[int], samples: Samples, sequences: Sequences
) -> str:
    """What is wrong with one batch: the first difference from what its samples say; else ""."""
    tensors = {name: tensor.numpy() for name, tensor in batch.items()}
    if len(tensors["input_ids"]) != len(rows):
        return f"{len(rows)} sequences went into a batch, {len(tensors['input_ids'])} came out"
    if samples.is_weighted and TOKEN_WEIGHTS not in batch:
        return f"the samples are weighted, but the batch has no {TOKEN_WEIGHTS}"
    for place, row in enumerate(rows):
        for name, values in _expected(samples, sequences[row]).items():
            at = _first_difference(tensors[name][place], values, _PADDING.get(name))
            if at is None:
                continue
            ends = np.cumsum(samples.lengths_of(sequences[row]))
            part = min(int(np.searchsorted(ends, at, side="right")), len(ends) - 1)
            return (
                f"{samples.name(int(sequences[row][part]))}: {name} of packed sequence {row} is "
                f"{_at(tensors[name][place], at)} at token {at}, not {_at(values, at)}"
            )
    return ""


def order_fault(orders: Sequence[Sequence[int]], n_sequences: int) -> str:
    """Whether the ranks together draw each packed sequence once in an epoch; else the first."""
    counts = Counter(row for order in orders for row in order)
    for row in range(n_sequences):
        if counts[row] != 1:
            return f"packed sequence {row} is drawn {counts[row]} times in an epoch"
    extra = sorted(set(counts) - set(range(n_sequences)))
    return f"packed sequence {extra[0]} does not exist" if extra else ""


_PADDING = {"labels": NO_LOSS, "position_ids": 0, TOKEN_WEIGHTS: 0}


def _first_difference(found: np.ndarray, wanted: np.ndarray, padding: int | None) -> int | None:
    """The first token that is not as wanted; behind the wanted ones stands padding, if any."""
    n = min(len(found), len(wanted))
    if not np.array_equal(found[:n], wanted[:n]):
        return int(np.flatnonzero(found[:n] != wanted[:n])[0])
    if len(found) < len(wanted):
        return n
    if padding is None or np.all(found[n:] == padding):
        return None
    return n + int(np.flatnonzero(found[n:] != padding)[0])


def _at(values: np.ndarray, index: int) -> str:
    return str(values[index]) if index < len(values) else "nothing"


def _expected(samples: Samples, sequence: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    lengths = samples.lengths_of(sequence)
    positions = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    bounds = zip(samples.starts[sequence], samples.starts[sequence + 1], strict=True)
    ids = np.concatenate([samples.token_ids[start:end] for start, end in bounds])
    has_loss = positions >= np.repeat(samples.n_masked[sequence], lengths)
    expected = {
        "input_ids": ids,
        "position_ids": positions,
        "labels": np.where(has_loss, ids, NO_LOSS),
    }
    if samples.is_weighted:
        expected[TOKEN_WEIGHTS] = np.repeat(samples.weights[sequence], lengths)
    return expected


def _prompt_end(tokenizer: Any) -> list[int]:
    """The tokens that every prompt ends with: what two different prompts share at their end."""
    one, other = encode_prompt(tokenizer, "a", "b"), encode_prompt(tokenizer, "What?", "Be brief.")
    n_shared = 0
    while n_shared < min(len(one), len(other)) and one[-n_shared - 1] == other[-n_shared - 1]:
        n_shared += 1
    return one[len(one) - n_shared :]
