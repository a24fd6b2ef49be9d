"""A pipeline in a folder of its own, driven by its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import yaml

import dasd_assets
from dasd_assets.profile import PROFILE_FOLDER, PROJECT_ROOT
from resources.lake.lake import Lake

TINY_WORLD = PROJECT_ROOT / "tiny_world"
QUESTIONS_PER_DROP = 24
CAP_RATIO = 1.05
"""A tight cap, so that some of these few rollouts are cut off and can be continued."""


@dataclass(frozen=True)
class Pipeline:
    """Folders of one pipeline, and its command line."""

    folder: Path
    """Its profile, inbox and benchmark."""
    home: Path
    """What it made. Another home is another pipeline of the same profile."""

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def profile(self) -> Path:
        return self.folder / "small.yaml"

    @property
    def lake(self) -> Lake:
        return Lake(root=str(self.home / "lake"))

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DASD_PROFILE": str(self.profile),
            "DASD_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"),
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "dasd_assets.cli", *arguments]

    def dasd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True, text=True, env=self.environment, timeout=1_100, check=False,
        )  # fmt: skip

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that only looks, in this process: one of its own takes seconds to start."""
        from typer.testing import CliRunner

        from dasd_assets.cli.main import app

        variables, folder = dict(os.environ), Path.cwd()
        _forget_definitions()
        try:
            result = CliRunner().invoke(app, arguments, env=self.environment)
        finally:  # `dasd` sets both for the processes below it
            _forget_definitions()
            os.environ.clear()
            os.environ.update(variables)
            os.chdir(folder)
        return subprocess.CompletedProcess(
            self.command(*arguments), result.exit_code, result.stdout, result.stderr
        )

    def put_drop(self, name: str, first_question: int, n: int = QUESTIONS_PER_DROP) -> None:
        """Put questions of the shipped world into the inbox as a drop."""
        shipped = "".join(
            file.read_text(encoding="utf-8") for file in sorted((TINY_WORLD / "inbox").iterdir())
        ).splitlines(keepends=True)
        lines = shipped[first_question : first_question + n]
        (self.inbox / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def materializations(pipeline: Pipeline) -> Counter[tuple[str, str | None]]:
    """How often each partition of each asset has been materialized."""
    counts: Counter[tuple[str, str | None]] = Counter()
    with dg.DagsterInstance.from_config(str(pipeline.home / "dagster")) as instance:
        for key in instance.all_asset_keys():
            for record in instance.fetch_materializations(key, limit=1_000).records:
                assert record.asset_materialization is not None
                counts[key.to_user_string(), record.partition_key] += 1
    return counts


def new_pipeline(folder: Path) -> Pipeline:
    """A pipeline in an empty folder whose profile is the tiny one, made small."""
    pipeline = Pipeline(folder, folder / "home")
    pipeline.inbox.mkdir()
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
    settings["name"] = "small"
    settings["questions"]["inbox"] = str(pipeline.inbox)
    settings["teacher_responses"]["samples_per_question"] = {"low": 1, "high": 1}
    settings["divergence_sampling"]["budget_samples"] = {"low": 24, "high": 24}
    # As many as a student needs to go on as long as the teacher, beyond its cap at times.
    settings["temperature_scheduled_learning"]["epochs"] = 10
    settings["mixed_policy_distillation"] |= {
        "rollout_questions": 60, "off_policy_samples": 8, "cap_ratio": CAP_RATIO,
    }  # fmt: skip
    questions = (TINY_WORLD / "benchmarks" / "math.jsonl").read_text(encoding="utf-8")
    benchmark = folder / "math.jsonl"
    benchmark.write_text("".join(questions.splitlines(keepends=True)[:8]), encoding="utf-8")
    settings["evaluation"] |= {
        "samples_per_question": 2,
        "benchmarks": {"math": {"path": str(benchmark), "max_tokens": 320}},
    }
    pipeline.profile.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return pipeline


def _forget_definitions() -> None:
    """They are of the profile that was active when they were imported."""
    sys.modules.pop("dasd_assets.definitions", None)
    vars(dasd_assets).pop("definitions", None)
