"""What the cards of a release say about its data, gathered from the lake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from dasd_assets.profile import SHIPPED, Profile, resolve_path
from dasd_assets.profile.release import SHIPPED_LICENCE
from dasd_assets.release.folder import ReleaseError
from dasd_assets.release.lineage import CheckResults, Source
from dasd_assets.release.training_sets import MIXED, STAGES
from dasd_assets.reporting.code_version import CodeVersion
from dasd_assets.reporting.collect import funnel_steps, shard_column
from dasd_assets.reporting.funnel import FunnelStep

if TYPE_CHECKING:
    from resources.lake.lake import Lake

NOT_NAMED = "(not named)"


@dataclass(frozen=True)
class SetSize:
    """How much a stage is trained on."""

    name: str
    n_rows: int
    n_tokens: int
    """Student tokens of the answers."""
    by_domain: dict[str, int]


@dataclass(frozen=True)
class Facts:
    """All that both cards tell."""

    profile: Profile
    code: CodeVersion
    sources: list[Source]
    checks: CheckResults
    funnel: list[FunnelStep]
    sets: list[SetSize]
    shards: list[str]
    question_sources: dict[str, int]
    """Where the questions are from, as delivered -> questions."""
    n_clean: int
    """Rows that were searched for evaluation questions; there were none."""
    licence: str
    """Its text."""


def gather(
    lake: Lake,
    profile: Profile,
    code: CodeVersion,
    sources: list[Source],
    checks: CheckResults,
    n_clean: int,
    n_stages: int,
    left_out: Collection[str] = (),
) -> Facts:
    """Count what is in the lake, and read the licence.

    Args:
        n_stages: whose training sets are meant, from the first on.
        left_out: question_shards of which nothing is released.

    Raises:
        ReleaseError: the profile's licence cannot be read.
    """
    places = [
        *((name, "divergence_sample", {"temperature": key}) for name, key in STAGES.items()),
        *([] if profile.no_mixed_policy else [(MIXED, "mixed_policy_sample", {})]),
    ]
    named = shard_column(lake, "questions", "source", left_out).fill_null(NOT_NAMED)
    shards = [keys["question_shard"] for keys in lake.partitions("questions")]
    counts = {row["values"]: row["counts"] for row in named.value_counts().to_pylist()}
    return Facts(
        profile=profile,
        code=code,
        sources=sources,
        checks=checks,
        funnel=funnel_steps(lake, profile, left_out),
        sets=[_size(lake, *place) for place in places[:n_stages]],
        shards=[shard for shard in shards if shard not in left_out],
        question_sources=dict(sorted(counts.items())),
        n_clean=n_clean,
        licence=licence_text(profile),
    )


def licence_text(profile: Profile) -> str:
    """The text of the profile's licence.

    Raises:
        ReleaseError: the file that the profile names cannot be read.
    """
    named = profile.release.license_file
    file = resolve_path(named) if named else SHIPPED / "LICENSE"
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        setting = f"release.license_file {named}" if named else f"the text of {SHIPPED_LICENCE}"
        raise ReleaseError(f"{setting} cannot be read: {error}") from None


def _size(lake: Lake, name: str, table: str, partition: dict[str, str]) -> SetSize:
    n_rows = n_tokens = 0
    domains: Counter[str] = Counter()
    for batch in lake.batches(table, partition, ["domain", "n_student_tokens"]):
        n_rows += batch.num_rows
        n_tokens += pc.sum(batch["n_student_tokens"]).as_py() or 0
        domains.update(batch["domain"].to_pylist())
    return SetSize(name, n_rows, n_tokens, dict(sorted(domains.items())))
