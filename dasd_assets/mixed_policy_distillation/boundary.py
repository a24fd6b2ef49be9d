"""Where a student starts to guess: the boundary at which MOTAB stops a rollout, approximated.

MOTAB (arXiv 2605.19433) stops a rollout where the student's entropy leaves its ordinary range, goes
back to the last safe state, and lets the teacher go on from there. Entropies are not kept with a
rollout; the logprob of each sampled token is. So this is an approximation:

- The surprisal -log p of a token that was sampled at temperature 1 has the entropy of its
  distribution as its mean. A mean over a window of tokens stands for the entropy there.
- What is ordinary is what this rollout had in the part that is kept in any case.
- A safe state is the end of a sentence or a line.

At another temperature the logprobs are still the model's own, and the surprisal is a cross-entropy:
the rule is the same, its reading is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dasd_assets.divergence_sampling.sentences import Segmenter, byte_ends, segmenter_named
from dasd_assets.profile import EntropyCut, Profile
from formats.answer_format import whole_characters
from formats.token_bytes import TokenBytes


@dataclass(frozen=True)
class Boundary:
    """Finds the last safe state before the first window of tokens that is beyond the ordinary."""

    settings: EntropyCut
    segmenter: Segmenter

    def position(
        self,
        token_ids: npt.NDArray[np.int32],
        logprobs: npt.NDArray[np.float32],
        token_bytes: TokenBytes,
        first: int,
    ) -> int | None:
        """Tokens to keep, at least `first`; None where no window is beyond the ordinary.

        A window counts from its first token on, if that is not among the first `first`. It is
        beyond the ordinary if its mean surprisal is above the quantile of all windows within the
        first `first` tokens. The cut is at the last end of a sentence before it; a window before
        the first such end counts for nothing, since the teacher would have to go on from the
        middle of a sentence.
        """
        windows = self._mean_surprisals(logprobs)
        ordinary = windows[: max(0, first - self.settings.window_tokens + 1)]
        if not len(ordinary):
            return None
        limit = np.quantile(ordinary, self.settings.quantile)
        beyond = first + np.flatnonzero(windows[first:] > limit)
        safe = _safe_positions(token_ids, token_bytes, self.segmenter)
        safe = safe[(safe >= first) & (safe < len(token_ids))]
        before = np.searchsorted(safe, beyond, side="right")
        found = before[before > 0]
        return int(safe[found[0] - 1]) if len(found) else None

    def _mean_surprisals(self, logprobs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Of the window that begins at each token."""
        sums = np.concatenate([[0.0], np.cumsum(-logprobs.astype(np.float64))])
        n = self.settings.window_tokens
        means: npt.NDArray[np.float64] = (sums[n:] - sums[:-n]) / n
        return means


def boundary_of(profile: Profile) -> Boundary | None:
    """What finds a rollout's cut; None if it is drawn at random."""
    cut = profile.mixed_policy.cut
    if not isinstance(cut, EntropyCut):
        return None
    return Boundary(cut, segmenter_named(profile.divergence_sampling.segmenter))


def _safe_positions(
    token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes, segmenter: Segmenter
) -> npt.NDArray[np.int64]:
    """Numbers of tokens that end with a sentence, ascending.

    A sentence ends between two tokens if all that is between them and its last character is white
    space: the space before the next word is mostly that word's.
    """
    text = whole_characters(token_bytes.decode(token_ids))
    ends = segmenter.ends(text)
    starts = [0, *ends][:-1]
    bare = [start + len(text[start:end].rstrip()) for start, end in zip(starts, ends, strict=True)]
    latest, earliest = (np.asarray(byte_ends(text, where), np.int64) for where in (ends, bare))
    edges = np.concatenate([[0], np.cumsum(token_bytes.n_bytes[token_ids], dtype=np.int64)])
    position = np.searchsorted(edges, latest, side="right") - 1
    return np.unique(position[edges[position] >= earliest])
