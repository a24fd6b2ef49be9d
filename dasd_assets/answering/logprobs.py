"""Whether the logprobs of an answer are there, one for each token."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resources.engines.protocol import ROUNDING, UNKNOWN_TOKEN

HALF_PRECISION = 2.0**-11
"""Relative rounding to a float16, to which the likeliest tokens' logprobs are kept."""
NOISE = 1e-3
"""Between the logprobs of an emitted token and of the same among the likeliest, in nats."""


def logprobs_problem(logprobs: npt.NDArray[np.float32], n_tokens: int) -> str | None:
    """What is wrong with logprobs: not one per token, not finite, or above 0; None if nothing."""
    if len(logprobs) != n_tokens:
        return f"{len(logprobs)} logprobs for {n_tokens} tokens"
    bad = np.flatnonzero(~np.isfinite(logprobs) | (logprobs > ROUNDING))
    return f"{logprobs[bad[0]]} at token {bad[0]}" if len(bad) else None


def first_known(logprobs: npt.NDArray[np.float32]) -> int:
    """The first token that has a logprob; servers of format `split` tell none of the reasoning."""
    return int(np.isfinite(logprobs).argmax()) if len(logprobs) else 0


def top_breaks(
    token_ids: npt.NDArray[np.int32],
    logprobs: npt.NDArray[np.float32],
    top_ids: npt.NDArray[np.int32],
    top: npt.NDArray[np.float32],
) -> dict[str, npt.NDArray[np.int64]]:
    """Positions at which the likeliest tokens cannot be what they are said to be, by reason.

    Args:
        token_ids, logprobs: of the emitted tokens (n,), NaN where one has none.
        top_ids, top: of the k likeliest at the same positions (n, k).
    """
    margin = NOISE + HALF_PRECISION * np.abs(np.nan_to_num(top))
    own = np.where(np.isfinite(logprobs), logprobs, np.nan)[:, None]
    is_own = top_ids == token_ids[:, None]
    is_known = (top_ids != UNKNOWN_TOKEN).all(axis=1)
    # Comparisons with NaN are false: what is not told breaks the first rule alone.
    broken = {
        "not finite": ~np.isfinite(top).all(axis=1) & np.isfinite(logprobs),
        "above 0": (top > ROUNDING).any(axis=1),
        "not the likeliest first": (np.diff(top, axis=1) > 0).any(axis=1),
        "more than 1 in all": np.exp(top.astype(np.float64)).sum(axis=1) > 1 + top.shape[1] * NOISE,
        "not the emitted token's logprob": (is_own & (np.abs(top - own) > margin)).any(axis=1),
        "less likely than the emitted token, which is not among them": is_known
        & ~is_own.any(axis=1)
        & (own[:, 0] > top[:, -1] + margin[:, -1]),
    }
    return {reason: np.flatnonzero(is_broken) for reason, is_broken in broken.items()}
