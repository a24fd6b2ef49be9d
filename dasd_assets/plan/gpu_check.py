"""What `make gpu-check` measured of a GPU, as a plan reckons with it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dasd_assets.profile.plan import Work

SHAPE: Final = "qwen3-4b"
"""The shape whose figures are those of a model; a small one is for trying the command."""
RECOMPUTED: Final = 4 / 3
"""Passes with gradient checkpointing, as that check trains, to those that its MFU counts."""


class GpuCheckError(ValueError):
    """A file that a plan cannot reckon with; the message says why."""


@dataclass(frozen=True)
class GpuFigures:
    """A GPU's speed.

    Attributes:
        name: of the machine.
        matmul_flops_per_second: of large matrix products, in the type computed in.
        shares: work -> share of that rate, what is computed again counted; the least of the lengths
            that were measured.
    """

    name: str
    matmul_flops_per_second: float
    shares: Mapping[Work, float]


def read(file: Path) -> GpuFigures:
    """The figures of `gpu-check.json`.

    Sampling is not taken: what is measured there is not the engine that a large profile samples
    with.

    Raises:
        GpuCheckError: no such file, another one, of a small shape, or without any speed.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        options, parts = found["options"], found["parts"]
        machine, shape = parts["machine"], options["shape"]
        if reason := machine.get("not_run"):
            raise GpuCheckError(f"{file}: the machine was not measured: {reason}")
        name, matmul = str(machine["name"]), float(machine["matmul_flops_per_second"])
        shares = dict(_shares(parts))
    except OSError as error:
        raise GpuCheckError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, GpuCheckError):
            raise
        raise GpuCheckError(
            f"{file}: not what `make gpu-check` writes as gpu-check.json ({error!r})"
        ) from None
    if shape != SHAPE:
        raise GpuCheckError(f"{file}: measured with --shape {shape}, not with {SHAPE}'s shape")
    bad = [work for work, share in shares.items() if not 0 < share <= 1]
    if not shares or bad or not 0 < matmul < math.inf:
        raise GpuCheckError(f"{file}: no speed of {', '.join(bad) or 'scoring or training'} in it")
    return GpuFigures(name, matmul, shares)


def _shares(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Work, float]]:
    scoring = [
        float(part["share_of_matmul"]) for part in parts.values() if "share_of_matmul" in part
    ]
    training = [float(part["mfu"]) for part in parts.values() if "mfu" in part]
    if scoring:
        yield "scoring", min(scoring)
    if training:
        yield "training", min(training) * RECOMPUTED
