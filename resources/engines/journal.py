"""The request journal: finished requests are durable as they finish.

A partition's answers are only visible when all are there; until then each finished request is
appended here. A retry of a killed or failed partition asks only for what the journal has not.
In memory are only the offsets of the records; completions are read back one at a time.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resources.durable import sync, told_when_full
from resources.engines.journal_copies import CopiedJournal
from resources.engines.journal_records import HEADER, JournalError, encode, read_record, scan
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    InferenceEngine,
    Progress,
    ProgressCallback,
)
from resources.file_locks import try_lock

SECONDS_BETWEEN_SYNCS = 1.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedRequests:
    """Completions that lie in a journal's file."""

    path: Path
    offsets: Mapping[bytes, int]
    """SHA-256 of the request -> byte where its record starts."""

    def read(self, keys: Iterable[str]) -> Iterator[Completion]:
        """Completions of the given requests in their order, one at a time.

        Raises:
            KeyError: a request is not finished.
            JournalError: a record was whole when the journal was opened and is not any more.
        """
        with self.path.open("rb") as file:
            for key in keys:
                completion = read_record(file, self.offsets[bytes.fromhex(key)])
                if completion is None:
                    raise JournalError(
                        f"{self.path}: the answer to request {key[:12]} was whole and is now "
                        "damaged; run the step again to ask for it anew"
                    )
                yield completion


class Journal:
    """Append-only file of completions with one writer.

    A record that cannot be read is passed over when it is opened, and stays where it is; a tail
    that cannot be read, as a kill leaves one, goes into a file beside it (see `damaged_file`).
    """

    def __init__(self, path: Path) -> None:
        """Open or create the journal at `path`.

        Raises:
            JournalError: another process is writing it, or the file is something else.
        """
        self._path = path
        self._file = path.open("a+b", buffering=0)
        try:
            self._lock()
            scanned = scan(self._file, path)
            self._offsets, self._end = scanned.offsets, scanned.end
            self.n_unreadable_bytes = sum(end - start for start, end in scanned.unreadable)
            if scanned.unreadable:
                _logger.warning(
                    "%s: %d answers are whole; %d bytes in %d place(s) are torn or damaged, their "
                    "answers are asked for again",
                    path, len(self._offsets), self.n_unreadable_bytes, len(scanned.unreadable),
                )  # fmt: skip
                self._put_tail_aside()
            if not self._end:
                self._write(HEADER)
                sync(path.parent)
            if isinstance(path, CopiedJournal):
                self._restore(path)
        except BaseException:
            self._file.close()
            raise
        self._synced = 0
        self._sync_error: OSError | None = None
        self._closing = threading.Event()
        self._threads: tuple[threading.Thread, ...] = (
            threading.Thread(target=self._keep_synced, daemon=True),
        )
        if isinstance(path, CopiedJournal):
            copier = threading.Thread(target=self._keep_copied, args=(path,), daemon=True)
            self._threads += (copier,)
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        try:
            self.sync()
            if isinstance(self._path, CopiedJournal):
                self._path.copy(self._end, now=True)
        finally:
            self._file.close()

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def finished(self) -> FinishedRequests:
        """What has finished; it can be read while the journal is open and after."""
        return FinishedRequests(self._path, self._offsets)

    def append(self, completion: Completion) -> None:
        """Add a finished request; it survives a killed process at once and a power cut within
        about a second.

        Raises:
            OSError: the disk is full (DiskFullError) or broken; the journal ends before the record.
        """
        if self._sync_error:
            raise self._sync_error
        start = self._end
        self._write(encode(completion))
        self._offsets[bytes.fromhex(completion.key)] = start

    def sync(self) -> None:
        """Make what was appended survive a power cut.

        Raises:
            OSError: the disk did not take it, now or in the background.
        """
        if self._sync_error:
            raise self._sync_error
        end = self._end
        if end > self._synced:
            os.fsync(self._file.fileno())
            self._synced = end

    def _keep_synced(self) -> None:
        """Sync about once a second beside the sampling, which does not wait for the disk."""
        while not self._closing.wait(SECONDS_BETWEEN_SYNCS):
            try:
                self.sync()
            except OSError as error:
                # A second fsync may report success for pages that the first one lost.
                self._sync_error = error
                return

    def _keep_copied(self, path: CopiedJournal) -> None:
        """Copy beside the sampling; neither it nor the disk waits for the store."""
        while not self._closing.wait(SECONDS_BETWEEN_SYNCS):
            path.copy(self._end)

    def _restore(self, path: CopiedJournal) -> None:
        """Take over what other machines have finished."""
        copied = set()
        n_here = len(self)
        for completion in path.restored():
            copied.add(bytes.fromhex(completion.key))
            if completion.key not in self:
                start = self._end
                self._write(encode(completion))
                self._offsets[bytes.fromhex(completion.key)] = start
        if len(self) > n_here:
            _logger.info("%s: %d answers from its copies", path, len(self) - n_here)
        # What lies here alone is copied anew, with all beside it: a second copy does no harm.
        path.copied = self._end if copied >= set(self._offsets) else len(HEADER)

    def _put_tail_aside(self) -> None:
        """Take what is behind the last whole record out of the file, but not from the disk."""
        n_bytes = os.fstat(self._file.fileno()).st_size - self._end
        if not n_bytes:
            return
        file = damaged_file(self._path)
        with told_when_full(file), file.open("ab") as aside:
            self._file.seek(self._end)
            shutil.copyfileobj(self._file, aside)
            aside.flush()
            os.fsync(aside.fileno())
        self._file.truncate(self._end)

    def _lock(self) -> None:
        if not try_lock(self._file):
            raise JournalError(
                f"{self._path}: another process is writing this journal. Wait until it is done or "
                "stop it, then run the step again"
            )

    def _write(self, content: bytes) -> None:
        todo = memoryview(content)
        try:
            with told_when_full(self._path):
                while todo:
                    todo = todo[self._file.write(todo) :]
        except BaseException:
            self._file.truncate(self._end)
            raise
        self._end += len(content)


def damaged_file(journal: Path) -> Path:
    """Where bytes of a journal are kept that could not be read at its end."""
    return Path(f"{journal}.damaged")


def finish_requests(
    engine: InferenceEngine,
    requests: Sequence[GenerationRequest],
    journal_path: Path,
    on_progress: ProgressCallback | None = None,
    known: Iterable[Completion] = (),
) -> FinishedRequests:
    """Ask the engine for every request that is neither in the journal nor among the known answers.

    Requests with the same key are asked once. Progress counts what there was already as done; its
    rate is the engine's alone.

    Args:
        known: answers from elsewhere; those to these requests go into the journal.

    Raises:
        JournalError: the journal cannot be used, or the engine left out requests.
    """
    wanted = {request.key(engine.identity): request for request in requests}
    with Journal(journal_path) as journal:
        for completion in known:
            if completion.key in wanted and completion.key not in journal:
                journal.append(completion)
        missing = [request for key, request in wanted.items() if key not in journal]
        n_kept = len(wanted) - len(missing)

        def report(progress: Progress) -> None:
            if on_progress:
                done = n_kept + progress.done
                on_progress(replace(progress, done=done, total=len(wanted), done_before=n_kept))

        for completion in engine.generate(missing, report) if missing else ():
            journal.append(completion)
        unanswered = [key for key in wanted if key not in journal]
        if unanswered:
            raise JournalError(
                f"{engine.identity.model} left {len(unanswered)} of {len(missing)} requests "
                f"unanswered, the first is {unanswered[0][:12]}. Run the step again: "
                f"{journal_path} keeps the others"
            )
        return journal.finished
