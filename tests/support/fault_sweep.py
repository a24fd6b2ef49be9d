"""One fault at a time, over everything: `make fault-injection`; prints what each came to.

Each thing that is stored is deleted, truncated and has a bit flipped; each step, checks included,
is killed while its partition is made again, at a moment drawn at random. After each fault `dasd
run` has to bring back what an undisturbed run made, make nothing else again, and ask models for
what the fault explains. Ends with exit code 1 if something did not hold.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support.faults import KINDS, Asked, Undisturbed, explained

MOST_RUNS = 4
CHECKS = "_checks["
"""In the name of a step behind its asset's."""


class Fault(NamedTuple):
    """What was done, what it cost, and what did not hold.

    Attributes:
        n_asked: requests to models.
        n_runs: times that `dasd run` was given until it ended well.
    """

    kind: str
    what: str
    n_asked: int
    n_runs: int
    wrong: list[str]


def damages(made: Undisturbed, rng: random.Random, part: str) -> Iterator[Fault]:
    """Each thing that is stored and has `part` in its name, in each way."""
    for step, name in made.stored():
        for kind in KINDS if part in name else ():
            costs = made.harm(step, name, kind, rng)
            yield _recovered(made, kind, name, step, costs)


def kills(made: Undisturbed, rng: random.Random, part: str) -> Iterator[Fault]:
    """Each step with `part` in its name, while its partition is made again."""
    stored = dict(reversed(made.stored()))
    for step, n_moments in made.moments.items():
        asset = step.replace(CHECKS, "[")
        if asset in stored and part in step:
            costs = made.harm(asset, stored[asset], "delete", rng)
            moment = rng.randint(1, n_moments)
            made.pipeline.plan_kills({step: moment})
            yield _recovered(made, "kill", f"{step} at {moment} of {n_moments}", asset, costs)


def _recovered(made: Undisturbed, kind: str, what: str, hit: str, costs: Asked) -> Fault:
    """Run until all is well again."""
    pipeline, wrong = made.pipeline, []
    pipeline.forget()
    n_runs, code, errors = 0, 1, ""
    while code and n_runs < MOST_RUNS:
        code, _, errors = pipeline.dasd("run")
        n_runs += 1
        if code and "was killed by signal 9" not in errors:
            wrong.append(errors)
    killed, begun, asked = pipeline.killed(), pipeline.begun(), pipeline.asked()
    if +asked != +(expected := explained(costs, begun, killed)):
        wrong.append(f"asked {dict(asked)}, where the fault explains {dict(expected)}")
    if bool(killed) != (kind == "kill"):
        wrong.append(f"killed: {killed}")
    if more := (begun.keys() & made.state.versions.keys()) - {hit}:
        wrong.append(f"made besides: {sorted(more)}")
    return Fault(kind, what, asked.total(), n_runs, [*wrong, *made.differences()])


def main() -> int:
    """Make a pipeline, do it harm, print what came of each fault and the counts."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only", choices=("damages", "kills"))
    arguments.add_argument("--part", default="", help="only what has this in its name")
    chosen = arguments.parse_args()
    found: list[Fault] = []
    with tempfile.TemporaryDirectory() as folder:
        made = Undisturbed(Path(folder, "pipeline"), n_drops=2, is_checked=True)
        for sweep in (damages, kills):
            if chosen.only not in (None, sweep.__name__):
                continue
            for fault in sweep(made, random.Random(chosen.seed), chosen.part):
                found.append(fault)
                outcome = "; ".join(fault.wrong) or "as it was"
                print(
                    f"{fault.kind:9}{fault.what}: {fault.n_runs} run(s), {fault.n_asked} requests, "
                    f"{outcome}", flush=True,
                )  # fmt: skip
        made.pipeline.close()
    for kind in (*KINDS, "kill"):
        of_kind = [fault for fault in found if fault.kind == kind]
        n_wrong = sum(bool(fault.wrong) for fault in of_kind)
        n_asked = sum(fault.n_asked for fault in of_kind)
        print(f"{kind}: {len(of_kind)} faults, {n_wrong} not mended, {n_asked} requests explained")
    return int(any(fault.wrong for fault in found))


if __name__ == "__main__":
    sys.exit(main())
