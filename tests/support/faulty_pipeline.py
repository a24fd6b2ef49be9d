"""A small pipeline whose requests and attempts at steps are noted; its steps can be killed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from support.pipeline import new_pipeline

from dasd_assets.profile import PROJECT_ROOT
from resources.lake.examination import KEYED

N_QUESTIONS = 12
Asked = Counter[tuple[str, str]]
"""(step, `generate` or `score`) -> requests to models."""


@dataclass(frozen=True)
class State:
    """What a pipeline has made.

    Attributes:
        contents: file of a table below the lake -> SHA-256.
        versions: partition -> data version.
        checks: partition -> checks that passed.
        files: partition -> what it has stored.
    """

    contents: dict[str, str]
    versions: dict[str, str]
    checks: dict[str, list[str]]
    files: dict[str, list[str]]


class FaultyPipeline:
    """A pipeline of one drop, which `dasd` is run over by one process (`fault_runs`)."""

    def __init__(self, folder: Path, is_checked: bool) -> None:
        """Put it into a folder that is not there yet.

        Args:
            is_checked: with the asset checks, which take as long as all the rest.
        """
        folder.mkdir(parents=True)
        pipeline = new_pipeline(folder)
        settings = yaml.safe_load(pipeline.profile.read_text(encoding="utf-8"))
        settings["divergence_sampling"]["budget_samples"] = {"low": 8, "high": 8}
        settings["temperature_scheduled_learning"]["epochs"] = 1
        settings["mixed_policy_distillation"] |= {"rollout_questions": 24, "off_policy_samples": 4}
        pipeline.profile.write_text(yaml.safe_dump(settings), encoding="utf-8")
        pipeline.put_drop("drop", 0, N_QUESTIONS)
        self.lake_folder = pipeline.home / "lake"
        self._notes = folder / "faults"
        for name in ("moments", "plan", "killed"):
            (self._notes / name).mkdir(parents=True)
        (pipeline.home / "dagster").mkdir(parents=True)
        path = os.pathsep.join([str(PROJECT_ROOT / "tests"), str(PROJECT_ROOT)])
        with (folder / "errors").open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "support.fault_runs"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1,
                env=pipeline.environment | {
                    "FAULTS": str(self._notes), "FAULTS_CHECKED": "1" if is_checked else "",
                    "PYTHONPATH": path,
                },
            )  # fmt: skip

    def close(self) -> None:
        """End the process that runs it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def dasd(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code of a command, what it printed, and what it printed as errors."""
        code, out, errors = self._answer(list(arguments))
        return code, out, errors

    def state(self) -> State:
        """What has been made, in the lake and in Dagster's records."""
        records: dict[str, dict[str, Any]] = self._answer([])
        tables = sorted(self.lake_folder.rglob("data.parquet"))
        return State(
            {str(f.relative_to(self.lake_folder)): _sha256(f) for f in tables},
            {name: one["version"] for name, one in records.items()},
            {name: one["checks"] for name, one in records.items()},
            {name: one["files"] for name, one in records.items() if one["files"]},
        )

    def _answer(self, asked: list[str]) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        return json.loads(self._process.stdout.readline())

    def asked(self) -> Asked:
        """Requests to models."""
        return Counter((step, kind) for step, kind in map(str.split, self._noted("asked")))

    def begun(self) -> Counter[str]:
        """Attempts at steps."""
        return Counter(self._noted("begun"))

    def _noted(self, name: str) -> list[str]:
        file = self._notes / name
        return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []

    def moments(self) -> dict[str, int]:
        """Step -> how many moments its newest attempt had."""
        return {
            file.name: len(file.read_text(encoding="utf-8").splitlines())
            for file in sorted((self._notes / "moments").iterdir())
        }

    def forget(self) -> None:
        """Begin the notes of what is asked, begun and killed anew."""
        for name in ("asked", "begun"):
            (self._notes / name).unlink(missing_ok=True)
        for file in (self._notes / "killed").iterdir():
            file.unlink()

    def plan_kills(self, moments: Mapping[str, int]) -> None:
        """Have each step killed once: at a moment, the first being 1, or at the end."""
        for step, moment in moments.items():
            (self._notes / "plan" / step).write_text(str(moment), encoding="ascii")

    def killed(self) -> dict[str, dict[str, Any]]:
        """Step -> at what it was killed, and what it had done by then."""
        return {
            file.name: json.loads(file.read_text(encoding="utf-8"))
            for file in sorted((self._notes / "killed").iterdir())
        }

    def stored(self, name: str) -> Path:
        """The file that stands for something stored: of a folder, its largest."""
        path = self.lake_folder / name
        if name.startswith(KEYED):
            key = json.loads((path / "current.json").read_text(encoding="utf-8"))["key"]
            path /= key
        if not path.is_dir():
            return path
        return max((f for f in path.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
