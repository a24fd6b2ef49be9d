"""A whole pipeline on a few questions, with the shipped tiny models and the real executor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dasd_assets.profile import PROFILE_FOLDER, PROJECT_ROOT
from resources.lake import Lake

TINY_WORLD = PROJECT_ROOT / "tiny_world"
QUESTIONS_PER_DROP = 24


@dataclass(frozen=True)
class Pipeline:
    """Folders of one pipeline, and its command line."""

    folder: Path

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def lake(self) -> Lake:
        return Lake(root=str(self.home / "lake"))

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DASD_PROFILE": str(self.folder / "small.yaml"),
            "DASD_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"),
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "dasd_assets.cli", *arguments]

    def dasd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True, text=True, env=self.environment, timeout=500, check=False,
        )  # fmt: skip

    def put_drop(self, name: str, first_question: int, n: int = QUESTIONS_PER_DROP) -> None:
        """Put questions of the shipped world into the inbox as a drop."""
        shipped = "".join(
            file.read_text(encoding="utf-8") for file in sorted((TINY_WORLD / "inbox").iterdir())
        ).splitlines(keepends=True)
        lines = shipped[first_question : first_question + n]
        (self.inbox / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="session")
def new_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pipeline]:
    """Make a pipeline whose profile is the tiny one, made small."""

    def make(name: str) -> Pipeline:
        pipeline = Pipeline(tmp_path_factory.mktemp(name))
        pipeline.inbox.mkdir()
        settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
        settings["name"] = "small"
        settings["questions"]["inbox"] = str(pipeline.inbox)
        settings["divergence_sampling"]["budget_samples"] = {"low": 24, "high": 24}
        settings["temperature_scheduled_learning"]["epochs"] = 2
        settings["mixed_policy_distillation"] |= {"rollout_questions": 60, "off_policy_samples": 8}
        questions = (TINY_WORLD / "benchmarks" / "math.jsonl").read_text(encoding="utf-8")
        benchmark = pipeline.folder / "math.jsonl"
        benchmark.write_text("".join(questions.splitlines(keepends=True)[:8]), encoding="utf-8")
        settings["evaluation"] |= {
            "samples_per_question": 2,
            "benchmarks": {"math": {"path": str(benchmark), "max_tokens": 320}},
        }
        (pipeline.folder / "small.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        return pipeline

    return make


@pytest.fixture(scope="session")
def finished(
    new_pipeline: Callable[[str], Pipeline],
) -> tuple[Pipeline, subprocess.CompletedProcess[str]]:
    """A pipeline of two drops after one `dasd run`, and what that printed."""
    pipeline = new_pipeline("finished")
    pipeline.put_drop("drop-01", 0)
    pipeline.put_drop("drop-02", 600)
    return pipeline, pipeline.dasd("run")
