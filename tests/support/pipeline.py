"""A pipeline in a folder of its own, driven by its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dasd_assets.profile import PROJECT_ROOT
from resources.lake.lake import Lake

TINY_WORLD = PROJECT_ROOT / "tiny_world"
QUESTIONS_PER_DROP = 24
CAP_RATIO = 1.05
"""A tight cap, so that some of these few rollouts are cut off and can be continued."""


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
            capture_output=True, text=True, env=self.environment, timeout=1_100, check=False,
        )  # fmt: skip

    def put_drop(self, name: str, first_question: int, n: int = QUESTIONS_PER_DROP) -> None:
        """Put questions of the shipped world into the inbox as a drop."""
        shipped = "".join(
            file.read_text(encoding="utf-8") for file in sorted((TINY_WORLD / "inbox").iterdir())
        ).splitlines(keepends=True)
        lines = shipped[first_question : first_question + n]
        (self.inbox / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
