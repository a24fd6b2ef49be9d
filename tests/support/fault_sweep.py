"""Faults over everything: `make fault-injection`; prints what each came to, and the counts.

- `damages`: each thing that is stored is deleted, truncated and has a bit flipped, one at a time
- `kills`: each step, checks included, is killed while its partition is made again, at a moment
  drawn at random
- `together`: everything is damaged at once, three times, so that each thing has all three; the
  last time each step is besides killed once

After each, `dasd run` has to bring back what an undisturbed run made, make nothing of another
partition, and ask models for what the fault explains. Ends with exit code 1 if something did not
hold.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from support.faults import KINDS, Recovery, Undisturbed
from support.scratch import memory_disk


class Fault(NamedTuple):
    """What was done, to which steps, and what came of it."""

    kind: str
    what: str
    hit: set[str]
    came: Recovery


def damages(made: Undisturbed, rng: random.Random, part: str) -> Iterator[Fault]:
    """Each thing that is stored whose name has `part`, in each way."""
    for step, name in made.stored():
        for kind in KINDS if re.search(part, name) else ():
            costs = made.harm(step, name, kind, rng)
            yield Fault(kind, name, {step}, made.recover({step}, costs, {}))


def kills(made: Undisturbed, rng: random.Random, part: str) -> Iterator[Fault]:
    """Each step whose name has `part`, while its partition is made again.

    What stores nothing, such as a temperature of the profile, is not made again.
    """
    stored = {_asset(step): (step, name) for step, name in reversed(made.stored())}
    for step, n_moments in made.moments.items():
        if _asset(step) in stored and re.search(part, step):
            asset, name = stored[_asset(step)]
            costs = made.harm(asset, name, "delete", rng)
            moment = rng.randint(1, n_moments)
            came = made.recover({asset}, costs, {step: moment})
            yield Fault("kill", f"{step} at {moment} of {n_moments}", {asset}, came)


def _asset(step: str) -> str:
    """What an asset's own step and the step that checks it have in common."""
    return step.replace("_checks[", "[").replace("__", "_")


def together(made: Undisturbed, rng: random.Random, part: str) -> Iterator[Fault]:
    """Everything at once."""
    hit = {step for step, _ in made.stored()}
    for turn in range(len(KINDS)):
        planned = made.moments if turn == len(KINDS) - 1 else {}
        costs = made.harm_all(turn, rng)
        kills = {step: rng.randint(1, n) for step, n in planned.items() if step in hit}
        came = made.recover(hit, costs, kills)
        yield Fault("together", f"{len(made.stored())} things, {len(kills)} kills", hit, came)


SWEEPS: dict[str, Callable[[Undisturbed, random.Random, str], Iterator[Fault]]] = {
    "damages": damages, "kills": kills, "together": together,
}  # fmt: skip


def main() -> int:
    """Make a pipeline for each sweep, do it harm, and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only", choices=SWEEPS, action="append", help="default: all three")
    arguments.add_argument("--part", default="", help="regular expression: only what matches it")
    chosen = arguments.parse_args()
    found: list[Fault] = []
    for name in chosen.only or SWEEPS:
        with tempfile.TemporaryDirectory(dir=memory_disk()) as folder:
            made = Undisturbed(Path(folder, "pipeline"), is_checked=name == "kills")
            for fault in SWEEPS[name](made, random.Random(chosen.seed), chosen.part):
                found.append(fault)
                print(_line(fault), flush=True)
            made.pipeline.close()
    for kind in dict.fromkeys(fault.kind for fault in found):
        print(_counts(kind, [fault for fault in found if fault.kind == kind]))
    return int(any(fault.came.wrong or fault.came.changed for fault in found))


def _line(fault: Fault) -> str:
    came = fault.came
    outcome = "; ".join([*came.wrong, *came.changed]) or "as it was"
    return (
        f"{fault.kind:9}{fault.what}: {came.n_runs} run(s), {came.begun.total()} step(s), "
        f"{came.asked.total()} requests, {outcome}"
    )


def _counts(kind: str, faults: list[Fault]) -> str:
    n_found = sum(fault.hit <= fault.came.begun.keys() for fault in faults)
    n_remade = sum(not fault.came.changed for fault in faults)
    n_wrong = sum(bool(fault.came.wrong) for fault in faults)
    asked: Counter[str] = Counter()
    for fault in faults:
        for (step, what), n in fault.came.asked.items():
            asked[f"{step.partition('[')[0]} {what}"] += n
    requests = ", ".join(f"{n} {name}" for name, n in sorted(asked.items())) or "none"
    return (
        f"{kind}: {len(faults)} faults, {n_found} found by `dasd run`, {n_remade} remade as it "
        f"was, {n_wrong} with more than they explain; requests: {requests}"
    )


if __name__ == "__main__":
    sys.exit(main())
