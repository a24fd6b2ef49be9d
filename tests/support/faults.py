"""A small pipeline that files are taken from and steps are killed in, and that is run again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from support.pipeline import new_pipeline

from dasd_assets.answering.earlier import SAMPLED
from dasd_assets.profile import PROJECT_ROOT
from resources.lake.manifest import FOOTER_END, MAGIC, chunk_range
from resources.lake.tables import TABLES

KINDS = ("delete", "truncate", "flip")
QUESTIONS_PER_DROP = 12
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
    """A pipeline in a folder; `home` is where what it made lies."""

    def __init__(self, folder: Path, n_drops: int = 1, is_checked: bool = False) -> None:
        folder.mkdir(parents=True)
        pipeline = new_pipeline(folder)
        settings = yaml.safe_load(pipeline.profile.read_text(encoding="utf-8"))
        settings["divergence_sampling"]["budget_samples"] = {"low": 8, "high": 8}
        settings["temperature_scheduled_learning"]["epochs"] = 1
        settings["mixed_policy_distillation"] |= {"rollout_questions": 24, "off_policy_samples": 4}
        pipeline.profile.write_text(yaml.safe_dump(settings), encoding="utf-8")
        for number in range(n_drops):
            pipeline.put_drop(f"drop-{number}", 600 * number, QUESTIONS_PER_DROP)
        self.home, self.lake_folder = pipeline.home, pipeline.home / "lake"
        self._notes = folder / "faults"
        for name in ("moments", "plan", "killed"):
            (self._notes / name).mkdir(parents=True)
        (self.home / "dagster").mkdir(parents=True)
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
        file = self._notes / "asked"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return Counter((step, kind) for step, kind in map(str.split, lines))

    def forget(self) -> None:
        """Begin the notes of what is asked, made and killed anew."""
        for name in ("asked", "begun"):
            (self._notes / name).unlink(missing_ok=True)
        for folder in ("moments", "killed"):
            for file in (self._notes / folder).iterdir():
                file.unlink()

    def begun(self) -> Counter[str]:
        """Attempts at steps."""
        return Counter(self._noted("begun"))

    def moments(self) -> dict[str, int]:
        """Step -> how many moments its newest attempt had."""
        return {
            file.name: len(file.read_text(encoding="utf-8").splitlines())
            for file in sorted((self._notes / "moments").iterdir())
        }

    def plan_kills(self, moments: Mapping[str, int]) -> None:
        """Have each step killed at a moment, the first being 1, once."""
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
        if name.startswith("checkpoints/"):
            key = json.loads((path / "current.json").read_text(encoding="utf-8"))["key"]
            path /= key
        if not path.is_dir():
            return path
        return max((f for f in path.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


class Undisturbed:
    """A pipeline after one `dasd run`, what it made, what it asked, and how long its steps were."""

    def __init__(self, folder: Path, n_drops: int = 1, is_checked: bool = False) -> None:
        self.pipeline = FaultyPipeline(folder, n_drops, is_checked)
        code, out, errors = self.pipeline.dasd("run")
        assert code == 0, out + errors
        self.state: State = self.pipeline.state()
        self.moments = self.pipeline.moments()
        self._asked = self.pipeline.asked()
        self._copy = folder / "undisturbed"
        shutil.copytree(self.pipeline.lake_folder, self._copy)

    def stored(self) -> list[tuple[str, str]]:
        """Each step with each thing that it has stored."""
        return [(step, name) for step, names in self.state.files.items() for name in names]

    def asked_by(self, step: str) -> Asked:
        """What one step asked of models."""
        return Counter({key: n for key, n in self._asked.items() if key[0] == step})

    def harm(self, step: str, name: str, kind: str, rng: random.Random) -> Asked:
        """Damage something that is stored; what making it again costs."""
        position = damage(self.pipeline.stored(name), kind, rng)
        asks = self.asked_by(step)
        columns = TABLES[table].schema.names if (table := name.split("/")[0]) in TABLES else []
        if (step, "generate") in asks and not answers_lost(
            self._copy / name, columns[0], kind, position
        ):
            del asks[step, "generate"]
        return asks

    def differences(self) -> list[str]:
        """What is not as it was, after a run; empty if all is, and every byte was written so."""
        state = self.pipeline.state()
        found = [
            f"{what}: {name}"
            for what in ("contents", "versions", "checks", "files")
            for name in differences(getattr(self.state, what), getattr(state, what))
        ]
        code, out, errors = self.pipeline.dasd("verify")
        return found if code == 0 else [*found, out + errors]


def damage(file: Path, kind: str, rng: random.Random) -> int:
    """Do a file harm; for a flip, the byte that it was in."""
    size = file.stat().st_size
    position = rng.randrange(size)
    if kind == "delete":
        file.unlink()
    elif kind == "truncate":
        os.truncate(file, position)
    else:
        with file.open("r+b") as opened:
            opened.seek(position)
            byte = opened.read(1)[0]
            opened.seek(position)
            opened.write(bytes([byte ^ 1 << rng.randrange(8)]))
    return position


def answers_lost(file: Path, id_column: str, kind: str, position: int) -> bool:
    """Whether damage that was done to a whole file of answers costs them, said of a copy.

    They are had from what is whole of it: the row groups, of which there is one in such a small
    file, whose id, tokens, logprobs and finish reason are.
    """
    if kind != "flip":
        return True
    footer = pq.read_metadata(file)
    group = footer.row_group(0)
    needed = [
        chunk_range(footer, 0, column)
        for column in range(footer.num_columns)
        if group.column(column).path_in_schema.split(".")[0] in (id_column, *SAMPLED)
    ]
    return (
        position < len(MAGIC)
        or position >= file.stat().st_size - FOOTER_END - footer.serialized_size
        or any(start <= position < start + length for start, length in needed)
    )


def explained(costs: Asked, begun: Counter[str], killed: Mapping[str, Mapping[str, int]]) -> Asked:
    """What is asked in all: a kill costs what was asked for and is kept nowhere.

    Answers are in a journal one by one, and once more in the partition; scores are with the
    partition alone, so that each attempt that comes so far asks for all of them.

    Args:
        costs: of one attempt at each step that is made again.
        killed: step -> requests whose answers it had no more when it was killed once.
    """
    found: Asked = Counter()
    for (step, kind), n in costs.items():
        told = killed.get(step, {})
        n_whole = begun[step] - (step in killed) if kind == "score" else 1
        found[step, kind] = n * n_whole + told.get(kind, 0)
    for step, told in killed.items():
        if (step, "generate") not in costs and told["generate"]:
            found[step, "generate"] = told["generate"]
    return found


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names that are in one of two alone, or with something else."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
