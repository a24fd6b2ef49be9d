"""A new drop, and `dasd run` killed twice on the way: nothing is lost, nothing is made twice."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.daemon import until
from support.finished_pipeline import Finished, with_own_inbox
from support.pipeline import Pipeline, materializations

pytestmark = [pytest.mark.slow, pytest.mark.deployment("kills")]


def kill_once_there_is_more_in(folder: Path, pipeline: Pipeline) -> None:
    """Start `dasd run` and kill all of its processes as soon as a file is new in a folder."""
    before = set(folder.rglob("*"))
    process = subprocess.Popen(
        pipeline.command("run"), env=pipeline.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: bool(set(folder.rglob("*")) - before), 900)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_new_drop_makes_only_what_it_changes_though_killed_while_sampling_and_training(
    finished: Finished, tmp_path: Path
) -> None:
    pipeline = with_own_inbox(finished[0], tmp_path / "own")
    before = materializations(pipeline)
    lake = pipeline.lake
    report = pipeline.home / "lake" / "stage_report.html"
    old_report = report.read_bytes()

    pipeline.put_drop("drop-03", 300)
    (pipeline.inbox / "bad|name.jsonl").write_text("{}\n", encoding="utf-8")
    for folder in ("_journals", "checkpoints"):
        kill_once_there_is_more_in(pipeline.home / "lake" / folder, pipeline)
        for table in ("teacher_responses", "filtered_responses"):
            for partition in lake.partitions(table):
                assert lake.read(table, partition).num_rows
        assert report.read_bytes() == old_report

    added = pipeline.dasd("run")
    assert added.returncode == 0, added.stdout + added.stderr
    assert "bad|name.jsonl" in added.stderr
    assert report.read_bytes() != old_report
    made = materializations(pipeline) - before
    sampled = {key for name, key in made if name in ("teacher_responses", "student_scores")}
    assert sampled == {"drop-03|low", "drop-03|high"}
    assert ("questions", "drop-01") not in made
    assert ("divergence_sample", "low") in made
    assert ("dasd_checkpoint", None) in made
    assert not [name for name, _ in made if name == "evaluation/base"]
