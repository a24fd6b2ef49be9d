"""Two seeds and three arms through the real trainer, killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from support import ablation_children
from support.ablation_children import FEW_ARMS, SEEDS
from support.finished_pipeline import Finished

from dasd_assets.profile import load_profile
from tools.ablation.arms import BASE
from tools.ablation.command import run_ablation
from tools.ablation.page import HAND_WRITTEN, write_page
from tools.ablation.steps import MIXED_SAMPLES, checkpoint_folder

pytestmark = pytest.mark.slow

NAMES = [BASE, "low", "low_to_high", MIXED_SAMPLES, "mixed_policy"]


def records(folder: Path) -> dict[Path, int]:
    """Finished steps and when they were finished."""
    files = (folder / "ablation" / "records").glob("*/*.json")
    return {file: file.stat().st_mtime_ns for file in files}


def test_what_a_kill_left_is_kept_and_the_rest_is_done(
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipeline, _ = finished
    (tmp_path / "lake").symlink_to(pipeline.home / "lake")
    profile = pipeline.environment["DASD_PROFILE"]
    command = [sys.executable, ablation_children.__file__, profile, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = subprocess.Popen(command, env=environment)
    while len(records(tmp_path)) < 3:
        assert killed.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    at_kill = records(tmp_path)
    assert len(at_kill) < len(SEEDS) * len(NAMES)

    # Steps that were under way finish by themselves or are done again, but not both.
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert {file: records(tmp_path)[file] for file in at_kill} == at_kill
    assert len(records(tmp_path)) == len(SEEDS) * len(NAMES)

    # Everything is there: nothing is done, whatever is asked of it.
    before = records(tmp_path)
    store, steps = run_ablation(load_profile(profile), tmp_path, SEEDS, 2, FEW_ARMS)
    assert f"{len(steps)} steps, {len(steps)} done already" in capsys.readouterr().out
    assert records(tmp_path) == before
    assert [step.name for step in steps] == NAMES * len(SEEDS)
    for step in steps:
        if step.arm:
            folder = checkpoint_folder(store, step.seed, step.name, step.key)
            assert (folder / "config.json").is_file()

    out = tmp_path / "docs" / "results.md"
    out.parent.mkdir()
    lines = write_page(out, store, load_profile(profile), steps, FEW_ARMS)
    text = out.read_text(encoding="utf-8")
    assert any("the second stage adds to the first" in line for line in lines)
    assert "2 seeds, 8 questions" in text and HAND_WRITTEN in text
    for name, temperature in product(("arms", "differences", "stages"), ("0.6", "1")):
        picture = out.parent / "images" / f"results-{name}-{temperature}.png"
        assert picture.stat().st_size > 1_000
