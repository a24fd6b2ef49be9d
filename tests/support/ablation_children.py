"""What processes of the ablation's tests do: a module that a new process can import."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from dasd_assets.profile import load_profile
from tools.ablation.arms import ARMS
from tools.ablation.command import run_ablation
from tools.ablation.steps import Step

FEW_ARMS = [arm for arm in ARMS if arm.name in ("low", "low_to_high", "mixed_policy")]
SEEDS = [0, 1]


def note(folder: Path, step: Step) -> None:
    """Leave a file with the time of the start and of the end; `breaks` fails."""
    started = time.monotonic_ns()
    print(f"this is {step.name}")
    if step.name == "breaks":
        raise RuntimeError("on purpose")
    if step.name == "is killed":
        os.kill(os.getpid(), 9)
    time.sleep(0.05)
    text = f"{started} {time.monotonic_ns()}"
    (folder / f"{step.seed} {step.name}").write_text(text, encoding="ascii")


if __name__ == "__main__":
    run_ablation(load_profile(sys.argv[1]), Path(sys.argv[2]), SEEDS, 2, FEW_ARMS)
