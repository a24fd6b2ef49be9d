"""How many questions a shard should have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from dasd_assets.plan.answers import Candidates
from dasd_assets.plan.memory import Finding
from dasd_assets.plan.quantities import Quantities
from dasd_assets.plan.sizes import Sizes
from dasd_assets.profile import Profile

MAX_SHARDS = 99
"""Dagster's UI compares data versions across fewer than 100 parent partitions of one asset only."""
MANY_FILES = 50_000


def fitting_shard(
    profile: Profile, quantities: Quantities, questions: int, candidates: Mapping[str, Candidates]
) -> int | None:
    """Questions of a shard whose longest partition of the teacher takes `hours_per_partition`.

    At least so many that fewer than 100 shards hold all questions; two digits are kept.

    Args:
        candidates: temperature -> answers to these questions.

    Returns:
        None where no throughput is known.
    """
    gpus = max(1, profile.compute.teacher_inference.gpus)
    slowest = 0.0
    for temperature, answers in candidates.items():
        context = answers.asked.context(quantities.prompt_tokens())
        rate = quantities.rate("teacher", "teacher_responses", temperature, context)
        if rate is None:
            return None
        slowest = max(slowest, answers.asked.n_tokens / questions / (rate * gpus))
    by_time = profile.plan.hours_per_partition * 3600 / slowest
    size = max(1, int(by_time), math.ceil(questions / MAX_SHARDS))
    unit = 10 ** max(0, len(str(size)) - 2)
    return math.ceil(size / unit) * unit


def shard_findings(
    sizes: Sizes, fitting: int | None, n_shards: int, n_files: int
) -> Iterator[Finding]:
    """Shards that are too many or too large."""
    if fitting:
        yield Finding("hint", "questions", f"a shard of about {fitting:,} questions fits")
    for shard in sizes.shards:
        if fitting and shard.questions > 2 * fitting:
            yield Finding(
                "warning", "questions",
                f"question_shard {shard.name} has {shard.questions:,} questions: a killed run is "
                "resumed from its journal, but nothing below it begins before all are answered",
            )  # fmt: skip
    if n_shards > MAX_SHARDS:
        yield Finding(
            "hint", "questions",
            f"{n_shards} shards: over {MAX_SHARDS} the UI no longer shows that divergence_sample "
            "is stale; `dasd status`, `dasd run` and the jobs do see it",
        )  # fmt: skip
    if n_files > MANY_FILES:
        yield Finding("warning", "questions", f"{n_files:,} files in the lake: use larger shards")
