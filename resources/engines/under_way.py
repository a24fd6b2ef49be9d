"""How far one call of an engine is, with the tokens of answers that are not finished."""

from __future__ import annotations

import time

from resources.engines.protocol import Progress, ProgressCallback


class Count:
    """Counts the answers and tokens of a call, and tells of each change; tokens never go back."""

    def __init__(self, total: int, on_progress: ProgressCallback | None) -> None:
        """Begin now.

        Args:
            total: requests of the call.
        """
        self.done = self.n_finished = 0
        self._total, self._on_progress = total, on_progress
        self._started = time.monotonic()
        self._n_known = 0

    def finished(self, n_tokens: int) -> None:
        """An answer is finished."""
        self.done += 1
        self.n_finished += n_tokens
        self._tell()

    def under_way(self, n_tokens: int, answers: int = 0) -> None:
        """So many tokens are sampled of answers that are not finished.

        Args:
            answers: how many these are, where their tokens may be unknown.
        """
        self._n_known = max(self._n_known, self.n_finished + n_tokens)
        if self.done < self._total:  # else the end was told already
            self._tell(answers)

    def _tell(self, answers: int = 0) -> None:
        if not self._on_progress:
            return
        known = self.n_finished
        if self.done < self._total:
            known = max(known, self._n_known)
        seconds = time.monotonic() - self._started
        under_way = known - self.n_finished
        self._on_progress(Progress(self.done, self._total, known, seconds, under_way, 0, answers))
