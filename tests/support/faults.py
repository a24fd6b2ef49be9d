"""Files are damaged and steps are killed; is all as it was after `dasd run`?"""

from __future__ import annotations

import math
import os
import random
import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from support.faulty_pipeline import Asked, FaultyPipeline, State

from dasd_assets.answering.earlier import SAMPLED
from resources.lake.manifest import FOOTER_END, MAGIC, chunk_range
from resources.lake.tables import TABLES

KINDS = ("delete", "truncate", "flip")
ROUNDING = 1e-5
"""Of a float32 logprob, between batches of another shape."""


NAMES_RUNS = {"stage_report[]"}
"""Whose content names the runs that made what it shows: another version each time."""


@dataclass(frozen=True)
class Recovery:
    """What came of `dasd run` after faults.

    Attributes:
        n_runs: times that it was given until it ended well.
        begun: attempts at steps.
        asked: requests to models.
        changed: what is not as it was.
        wrong: what else did not hold.
    """

    n_runs: int
    begun: Counter[str]
    asked: Asked
    changed: list[str]
    wrong: list[str]


class Undisturbed:
    """A pipeline after one `dasd run`, what it made, what it asked, and how long its steps were."""

    def __init__(self, folder: Path, selection: str = "", is_checked: bool = False) -> None:
        """Make it, or what a selection selects of it."""
        self._run = ("run", *(("--select", selection) if selection else ()))
        self.pipeline = FaultyPipeline(folder, is_checked)
        code, out, errors = self.pipeline.dasd(*self._run)
        assert code == 0, out + errors
        self._state: State = self.pipeline.state()
        self.moments = self.pipeline.moments()
        self._asked = self.pipeline.asked()
        self._cut = set[str]()
        self._copy = folder / "undisturbed"
        shutil.copytree(self.pipeline.lake_folder, self._copy)

    def stored(self) -> list[tuple[str, str]]:
        """Each step with each thing that it has stored."""
        return [(step, name) for step, names in self._state.files.items() for name in names]

    def harm(self, step: str, name: str, kind: str, rng: random.Random) -> Asked:
        """Damage something that is stored; what making it again costs."""
        position = damage(self.pipeline.stored(name), kind, rng)
        asks = Counter({key: n for key, n in self._asked.items() if key[0] == step})
        columns = TABLES[table].schema.names if (table := name.split("/")[0]) in TABLES else []
        if (step, "generate") in asks and not answers_lost(
            self._copy / name, columns[0], kind, position
        ):
            del asks[step, "generate"]
        return asks

    def harm_all(self, turn: int, rng: random.Random) -> Asked:
        """Damage everything, each in one of the three ways; over three turns each gets all three.

        Of a step that stored several things, only one of which are answers, the dearest counts.
        """
        costs: Asked = Counter()
        for number, (step, name) in enumerate(self.stored()):
            costs |= self.harm(step, name, KINDS[(number + turn) % len(KINDS)], rng)
        return costs

    def recover(self, hit: Collection[str], costs: Asked, kills: Mapping[str, int]) -> Recovery:
        """Give `dasd run` as often as something is killed, and once more.

        Args:
            hit: steps whose data was damaged.
            costs: what making that again costs.
            kills: step -> the moment at which it is to be killed.
        """
        pipeline, wrong = self.pipeline, []
        pipeline.forget()
        pipeline.plan_kills(kills)
        n_runs, code = 0, 1
        while code and n_runs <= len(kills):
            code, out, errors = pipeline.dasd(*self._run)
            n_runs += 1
            if code and "was killed by signal 9" not in errors:
                wrong.append(out + errors)
        killed, begun, asked = pipeline.killed(), pipeline.begun(), pipeline.asked()
        if killed.keys() != kills.keys():
            wrong.append(f"killed {sorted(killed)}, where {sorted(kills)} were to be")
        state = self.pipeline.state()
        is_cut = any((step, "generate") in self._asked for step in killed)
        rounded = self._rounded(state, is_cut)
        partitions = {_partition(step) for step in hit}
        besides = {step for step in begun if _partition(step) not in partitions}
        if besides and not rounded:
            wrong.append(f"made besides: {sorted(besides)}")
        along = begun.keys() - hit - besides
        expected = explained(costs | self._scores_along(along), begun, killed)
        due = Counter({key: n for key, n in asked.items() if key[0] not in besides})
        if due != +expected:
            wrong.append(f"asked {dict(due)}, where the faults explain {dict(expected)}")
        changed = self._differences(state, rounded, begun.keys() if rounded else set())
        self._cut |= rounded
        if rounded:
            self._state = state
            for name in rounded:
                shutil.copyfile(pipeline.lake_folder / name, self._copy / name)
        return Recovery(n_runs, begun, asked, changed, wrong)

    def _scores_along(self, steps: Collection[str]) -> Asked:
        """What is below in the same run is made along: it has its answers, but not its scores."""
        return Counter(
            {key: n for key, n in self._asked.items() if key[0] in steps and key[1] == "score"}
        )

    def _rounded(self, state: State, is_cut: bool) -> set[str]:
        """Files that differ by rounding alone, and have a reason to.

        Requests of a batch that was cut off are asked for again with other neighbours, so their
        logprobs differ by rounding. That is another version, and what is below is made anew. Made
        again without being cut off, the file is again as it was at first.
        """
        differ = _differences(self._state.contents, state.contents)
        return {name for name in differ if (is_cut or name in self._cut) and self._is_rounded(name)}

    def _differences(
        self, state: State, rounded: Collection[str], anew: Collection[str]
    ) -> list[str]:
        """What is not as it was, but for rounded files and the versions of what was made anew."""
        contents = _differences(self._state.contents, state.contents)
        others = {step for step, names in state.files.items() if set(names).intersection(rounded)}
        found = [f"contents: {name}" for name in contents if name not in rounded]
        for what in ("versions", "checks", "files"):
            differ = _differences(getattr(self._state, what), getattr(state, what))
            ignored = {*others, *anew, *NAMES_RUNS} if what == "versions" else set()
            found += [f"{what}: {name}" for name in differ if name not in ignored]
        code, out, errors = self.pipeline.dasd("verify")
        return found if code == 0 else [*found, out + errors]

    def _is_rounded(self, name: str) -> bool:
        files = (self._copy / name, self.pipeline.lake_folder / name)
        if not all(file.is_file() for file in files):
            return False
        one, other = (pq.read_table(file, partitioning=None) for file in files)
        return one.schema == other.schema and is_close(one.to_pylist(), other.to_pylist())


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


def explained(costs: Asked, begun: Counter[str], killed: Mapping[str, Mapping[str, Any]]) -> Asked:
    """What is asked in all: a kill costs what was asked for and is kept nowhere.

    Answers are in a journal one by one, and once more in the partition; scores are with the
    partition alone, so that each attempt that comes so far asks for all of them.

    Args:
        costs: of one attempt at each step that is made again.
        killed: step -> requests whose answers it had no more when it was killed once.
    """
    found: Asked = Counter()
    for (step, kind), n in costs.items():
        n_whole = begun[step] - (step in killed) if kind == "score" else 1
        found[step, kind] = n * n_whole
    for step, told in killed.items():
        for kind in ("generate", "score"):
            found[step, kind] += told[kind]
    return found


def is_close(one: Any, other: Any) -> bool:
    """Whether two values, or what they hold, are the same but for the rounding of floats."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, abs_tol=ROUNDING) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_close, one, other))
    return bool(one == other)


def _partition(step: str) -> str:
    return step.partition("[")[2]


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names that are in one of two alone, or with something else."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
