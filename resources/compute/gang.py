"""A gang: the processes of a training over several machines, started all together or not at all.

Pure: what one asks for, whether a cluster's nodes have that, and what to say where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator

from resources.section import Section

GIB = 1024**3
AUTOSCALING = "DASD_RAY_AUTOSCALING"
"""Environment variable, where a Ray cluster adds nodes by itself: they are waited for."""
MAX_LISTED = 16
"""Nodes that a message names."""

Resources = Mapping[str, float]
"""Under Ray's names: GPU, CPU, and memory in bytes."""


class Gang(Section):
    """What a training over several machines asks for."""

    processes: int = Field(ge=1, description="of all machines together")
    machines: int = Field(1, ge=1, description="among which they are shared out evenly")
    gpus: int = Field(0, ge=0, description="of all machines together; one for each process, or 0")
    cpus: float = Field(1.0, gt=0.0, description="cores of each machine")
    memory_gib: float = Field(2.0, gt=0.0, description="main memory of each machine")
    restarts: int = Field(2, ge=0, description="restarts after lost processes or machines")
    wait_minutes: float = Field(
        10.0, ge=0.0, description="for a machine to take a lost one's place"
    )
    autoscaling: bool = Field(False, description="the cluster adds nodes: it is waited for them")

    @model_validator(mode="after")
    def _even(self) -> Gang:
        if self.processes % self.machines:
            raise ValueError(f"{self.processes} processes are not shared evenly by {self.machines}")
        return self

    @property
    def processes_here(self) -> int:
        """Processes of each machine."""
        return self.processes // self.machines

    @property
    def each(self) -> dict[str, float]:
        """What each process takes of its node."""
        return {
            "GPU": 1 if self.gpus else 0,
            "CPU": self.cpus / self.processes_here,
            "memory": int(self.memory_gib * GIB / self.processes_here),
        }


def fits(asked: Resources, node: Resources) -> bool:
    """Whether an empty node could hold what is asked."""
    return all(node.get(resource, 0) >= amount for resource, amount in asked.items())


def told(of: Resources) -> str:
    """Resources in words."""
    gib = of.get("memory", 0) / GIB
    return f"{of.get('GPU', 0):g} GPU(s), {of.get('CPU', 0):g} CPU core(s) and {gib:.1f} GiB"


def missing(gang: Gang, nodes: Mapping[str, Resources]) -> str:
    """Why the nodes of a cluster cannot hold a gang even when they are empty; "" where they can.

    Args:
        nodes: name of each node that is alive -> all that it has.
    """
    held = {name: _holds(gang.each, node) for name, node in nodes.items()}
    if sum(held.values()) >= gang.processes:
        return ""
    lacking = gang.processes - sum(held.values())
    lines = [f"{name} has {told(nodes[name])}, room for {held[name]}" for name in sorted(nodes)]
    more = f" (and {len(lines) - MAX_LISTED} more)" if len(lines) > MAX_LISTED else ""
    return (
        f"training asks for {gang.processes} process(es), {gang.processes_here} on each of "
        f"{gang.machines} machine(s), of {told(gang.each)} each. Missing is room for {lacking}: "
        f"{told({name: lacking * amount for name, amount in gang.each.items()})}. The cluster's "
        f"{len(nodes)} node(s): {'; '.join(lines[:MAX_LISTED])}{more}"
    )


def _holds(each: Resources, node: Resources) -> int:
    """Processes that an empty node could hold."""
    shares: Sequence[float] = [
        node.get(resource, 0) / amount for resource, amount in each.items() if amount
    ]
    return math.floor(min(shares) + 1e-9)
