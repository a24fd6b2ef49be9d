"""Training on two ranks of this machine, without the imports of a launcher and of each rank.

    python -m support.forked_ranks CONFIG...

Trains one configuration after the other, each on ranks forked from this process, which has all
imports done, with what a launcher tells its ranks. Restart points are left there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import deepspeed  # noqa: F401  what a rank would import besides
import torch
from support.ports import free_port

from training import sft

RANKS = 2


def train_on_ranks(config_file: Path) -> None:
    """Return when all ranks are done; this program ends with them if one fails."""
    port = free_port()
    ranks = [_forked(config_file, rank, port) for rank in range(RANKS)]
    for rank in ranks:
        if code := os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]):
            sys.exit(f"{config_file.name}: a rank ended with exit code {code}")


def _forked(config_file: Path, rank: int, port: int) -> int:
    if child := os.fork():
        return child
    told = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    os.environ |= {name: str(value) for name, value in told.items()}
    torch.set_num_threads(1)
    sft.forget_restart_points = lambda output_dir: None  # type: ignore[assignment]
    sys.argv[1:] = ["--config", str(config_file)]
    sft.main()
    sys.exit()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        train_on_ranks(Path(name))
