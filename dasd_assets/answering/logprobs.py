"""Whether the logprobs of an answer are there, one for each token."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDING = 1e-4
"""A logprob may be above 0 by as much: a sum of probabilities in bfloat16 is not exactly 1."""


def logprobs_problem(logprobs: npt.NDArray[np.float32], n_tokens: int) -> str | None:
    """What is wrong with logprobs: not one per token, not finite, or above 0; None if nothing."""
    if len(logprobs) != n_tokens:
        return f"{len(logprobs)} logprobs for {n_tokens} tokens"
    bad = np.flatnonzero(~np.isfinite(logprobs) | (logprobs > ROUNDING))
    return f"{logprobs[bad[0]]} at token {bad[0]}" if len(bad) else None


def first_known(logprobs: npt.NDArray[np.float32]) -> int:
    """The first token that has a logprob; servers of format `split` tell none of the reasoning."""
    return int(np.isfinite(logprobs).argmax()) if len(logprobs) else 0
