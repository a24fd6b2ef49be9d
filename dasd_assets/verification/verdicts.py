"""What judges have said in a step, kept until the step is done: nothing is paid for twice."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from resources.engines.journal import Journal
from resources.engines.openai_text import TextAnswer
from resources.engines.protocol import Completion


class Verdicts:
    """A request journal whose completions are texts: a token is a byte of UTF-8."""

    def __init__(self, path: Path | None) -> None:
        """Open the journal at `path`; None: kept in memory.

        Raises:
            JournalError: another process is writing it, or the file is something else.
        """
        self._journal = Journal(path) if path else None
        self._seen: dict[str, TextAnswer] = {}
        self._lock = threading.Lock()

    def find(self, key: str) -> TextAnswer | None:
        """What was said to a request."""
        with self._lock:
            if self._journal is None or key not in self._journal:
                return self._seen.get(key)
            (kept,) = self._journal.finished.read([key])
        text = kept.token_ids.astype(np.uint8).tobytes().decode("utf-8", "surrogatepass")
        return TextAnswer(text, kept.finish_reason)

    def keep(self, key: str, answer: TextAnswer) -> None:
        """Add what was said.

        Raises:
            OSError: the disk is full or broken.
        """
        with self._lock:
            if self._journal is None:
                self._seen[key] = answer
                return
            said = np.frombuffer(answer.text.encode("utf-8", "surrogatepass"), np.uint8)
            none = np.empty(0, np.float32)
            self._journal.append(Completion(key, said.astype(np.int32), none, answer.finish_reason))

    def close(self) -> None:
        """Close the journal; its file stays."""
        if self._journal is not None:
            self._journal.__exit__()
