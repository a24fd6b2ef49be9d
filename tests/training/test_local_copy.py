"""A machine's own copy of a training set: made once, whole, of the bytes that were made."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from training import local_copy as module
from training.local_copy import local_copy
from training.sft import SftConfig
from training.training_set import DESCRIPTION, TOKENS, TrainingSetError, open_training_set

pytestmark = pytest.mark.slow


def test_the_first_rank_of_a_machine_copies_and_the_others_map_that(
    config: SftConfig, tmp_path: Path
) -> None:
    told: list[str] = []
    made = Path(config.training_set)
    copies = [local_copy(made, str(tmp_path / "local"), told.append) for _ in range(2)]
    assert copies[0] == copies[1] != made
    assert len(told) == 1
    assert told[0].startswith("progress: copying the training set to ")
    assert open_training_set(copies[0]).description == open_training_set(made).description


def test_ranks_that_ask_at_once_do_not_wait_for_each_other(
    config: SftConfig, tmp_path: Path
) -> None:
    """Each in a process of its own, whose lock is not given up before it ends."""
    call = "import sys; from pathlib import Path; from training.local_copy import local_copy"
    call += "; sys.stdin.readline(); print(local_copy(Path(sys.argv[1]), sys.argv[2], print))"
    command = [sys.executable, "-c", call, config.training_set, str(tmp_path / "local")]
    pipe = subprocess.PIPE
    ranks = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for rank in ranks:
        assert rank.stdin
        rank.stdin.write("\n")
        rank.stdin.flush()
    told = [rank.communicate(timeout=60)[0].splitlines() for rank in ranks]
    assert len({lines[-1] for lines in told}) == 1
    assert sum(len(lines) for lines in told) == len(ranks) + 1, "one copied"


@pytest.mark.parametrize("lost", [TOKENS, DESCRIPTION])
def test_a_copy_that_lost_a_file_is_made_again(
    config: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr(module, "_mapped", [])  # as in a process that is started again
    made, local = Path(config.training_set), str(tmp_path / "local")
    copy = local_copy(made, local, lambda line: None)
    (copy / lost).unlink()
    module._mapped.clear()
    assert local_copy(made, local, lambda line: None) == copy
    open_training_set(copy)


def test_a_disk_that_cannot_hold_the_set_is_named_with_its_host_before_a_byte_is_copied(
    config: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))
    monkeypatch.setattr(module.socket, "gethostname", lambda: "node-1")
    local = tmp_path / "local"
    with pytest.raises(TrainingSetError, match=rf"^node-1: .* and {local} has 1 free\. Make room"):
        local_copy(Path(config.training_set), str(local), lambda line: None)
    assert [path.suffix for path in local.iterdir()] == [".lock"]


def test_bytes_that_are_not_those_that_were_made_are_refused(
    config: SftConfig, tmp_path: Path
) -> None:
    tokens = Path(config.training_set, TOKENS)
    tokens.write_bytes(tokens.read_bytes()[:-1] + b"?")
    with pytest.raises(TrainingSetError, match=r"tokens.npy was read with other bytes than were"):
        local_copy(Path(config.training_set), str(tmp_path / "local"), lambda line: None)


def test_copies_that_no_process_maps_are_deleted_when_another_is_made(
    config: SftConfig, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    for name in ("mapped", "unused", "unused.partial"):
        (local / name).mkdir(parents=True)
    for name in ("mapped", "unused"):
        (local / f"{name}.lock").touch()
    with (local / "mapped.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        made = local_copy(Path(config.training_set), str(local), lambda line: None)
    assert {path.name for path in local.iterdir() if path.is_dir()} == {"mapped", made.name}
