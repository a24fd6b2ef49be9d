"""A journal of which copies are kept away from this machine, for a retry on another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PosixPath

from resources.engines.protocol import Completion


class CopiedJournal(PosixPath):
    """Path of a journal; `Journal` calls it as the file grows.

    Deleting the file deletes its copies.
    """

    copied: int
    """Bytes of the file that need no copy any more."""

    def restored(self) -> Iterator[Completion]:
        """Finished requests in the copies; one may come more than once."""
        raise NotImplementedError

    def copy(self, end: int, now: bool = False) -> None:
        """Copy what the file has gained, if that is worth a copy yet.

        Args:
            end: byte after the last whole record.
            now: copy it, however little it is.
        """
        raise NotImplementedError
