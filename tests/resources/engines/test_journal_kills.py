"""A generation that is killed again and again loses nothing and asks for nothing twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import sampling_children as children

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.journal import Journal
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

KILLS_WHILE_SAMPLING, KILLS_WHILE_WRITING = 22, 3
SEED = 2601_09088


class Runs:
    """Runs of one generation below a folder, each in a child that can be killed."""

    def __init__(self, root: Path) -> None:
        lake = Lake(root=str(root / "lake"))
        self.root = root
        self.partition = lake.path("teacher_responses", children.CELL)
        self.journal = lake.journal("teacher_responses", children.CELL)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.sampling_children", str(root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, "PYTHONPATH": f"{PROJECT_ROOT / 'tests'}{os.pathsep}{PROJECT_ROOT}"},
        )  # fmt: skip

    def run(self, is_time_to_kill: Callable[[], bool] | None = None, delay: float = 0.0) -> int:
        """Start a child, kill it `delay` seconds after a condition holds; its exit code."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        pid = int(self._process.stdout.readline())
        alive = Path("/proc", str(pid))
        while is_time_to_kill and alive.exists():
            if is_time_to_kill():
                time.sleep(delay)
                if alive.exists():
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.0002)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def is_journal_at(self, n_bytes: float) -> bool:
        return self.journal.exists() and self.journal.stat().st_size >= n_bytes

    def unfinished_partitions(self) -> list[Path]:
        return list(self.partition.parent.glob(".*.tmp"))

    def finished(self) -> tuple[set[str], int]:
        """Keys in the journal and bytes of its torn tail; the journal itself is not touched."""
        copy = self.root / "copy.journal"
        copy.unlink(missing_ok=True)
        if self.journal.exists():
            shutil.copyfile(self.journal, copy)
        with Journal(copy) as journal:
            return {key.hex() for key in journal.finished.offsets}, journal.n_unreadable_bytes

    def journaled(self) -> set[str]:
        """Keys whose append had returned, as the children noted."""
        return set((self.root / "durable").read_text(encoding="ascii").split("\n")[:-1])

    def asked(self) -> list[set[str]]:
        """What each child asked its engine, if it came so far."""
        return [
            set(note.read_text(encoding="ascii").split())
            for note in sorted((self.root / "asked").glob("*.txt"))
        ]


@dataclass
class Witness:
    """Looks at the runs after each kill, and holds what must hold."""

    runs: Runs
    all_keys: set[str]
    finished: set[str] = field(default_factory=set)
    n_seen = n_torn = n_asked_and_unfinished = 0

    def look(self) -> None:
        before, (self.finished, torn_bytes) = self.finished, self.runs.finished()
        self.n_torn += torn_bytes > 0
        assert before <= self.finished, "an answer that was in the journal is lost"
        assert self.runs.journaled() <= self.finished, "an answer that was appended is lost"
        asked = self.runs.asked()
        for keys in asked[self.n_seen :]:
            assert not keys & before, "a finished request was asked again"
            assert keys == self.all_keys - before, "a missing request was not asked"
        self.n_seen = len(asked)


def test_killed_at_random_moments_the_partition_is_that_of_an_uninterrupted_run(
    tmp_path: Path,
) -> None:
    whole = Runs(tmp_path / "whole")
    assert whole.run() == 0
    whole.close()
    all_keys, _ = whole.finished()
    assert len(all_keys) == children.N_REQUESTS >= 1_000

    rng = random.Random(SEED)
    runs = Runs(tmp_path / "killed")
    witness = Witness(runs, all_keys)
    n_bytes = whole.journal.stat().st_size
    shares = []
    for share in sorted(rng.uniform(0.0, 0.97) for _ in range(KILLS_WHILE_SAMPLING)):
        moment = share * n_bytes
        code = runs.run(lambda at=moment: runs.is_journal_at(at), rng.uniform(0.0, 0.003))
        assert code == -signal.SIGKILL
        witness.look()
        shares.append(f"{len(witness.finished) / len(all_keys):.0%}")
    assert len(witness.finished) < len(all_keys)
    n_kills_writing = 0
    for _ in range(KILLS_WHILE_WRITING):  # the first of them samples the rest
        code = runs.run(lambda: bool(runs.unfinished_partitions()), rng.uniform(0.0, 0.02))
        n_kills_writing += code == -signal.SIGKILL
        witness.look()
        for file in runs.unfinished_partitions():
            file.unlink()
    assert runs.run() == 0
    witness.look()
    runs.close()

    assert witness.finished == all_keys
    assert runs.journal.stat().st_size == n_bytes, "an answer is in the journal twice"
    assert runs.partition.read_bytes() == whole.partition.read_bytes()
    asked = runs.asked()
    print(
        f"\n{len(all_keys)} requests, {n_bytes:,} bytes of journal; "
        f"{KILLS_WHILE_SAMPLING} kills while sampling, {n_kills_writing} while writing the "
        f"partition; finished after each kill while sampling: {' '.join(shares)}; "
        f"torn tails: {witness.n_torn}; "
        f"asked: {sum(map(len, asked))} in {sum(map(bool, asked))} runs; finished requests lost: "
        "0, in the journal twice: 0, asked again: 0; partition byte-identical"
    )
