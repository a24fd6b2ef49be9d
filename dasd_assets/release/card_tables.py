"""The tables of the cards, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from dasd_assets.profile import Profile
from dasd_assets.release.facts import SetSize
from dasd_assets.release.lineage import Source, by_asset
from dasd_assets.reporting.funnel import FunnelStep, kept_share, largest_losses, previous
from dasd_assets.reporting.metrics import Estimate, PairedDifference, Score
from dasd_assets.reporting.stage_table import NOT_MEASURED, StageRow
from formats.pages import as_text, markdown_table
from training.settings import Training

STAGE_NAMES: Final = {
    "base": "base student",
    "low_temperature": "stage 1, low temperature",
    "high_temperature": "stage 2, high temperature",
    "dasd": "stage 3, mixed policy",
}


def evaluation_table(rows: Sequence[StageRow], released: StageRow) -> str:
    """avg@k of every stage on every evaluation set, with its interval, in per cent."""
    names = list(rows[0].scores)

    def title(row: StageRow) -> str:
        return STAGE_NAMES[row.checkpoint] + (" (this model)" if row is released else "")

    return markdown_table(
        ["", *(name.replace("_", " ") for name in names)],
        [[title(row), *(_score(row.scores[name]) for name in names)] for row in rows],
    )


def gains_table(row: StageRow) -> str:
    """What a model gained over the base student, on the questions that both answered."""
    gains = {name: gain for name, gain in row.total_gains.items() if gain is not None}
    return markdown_table(
        ["", "gain", "interval", "p", "questions"],
        [[name.replace("_", " "), *_gain(gain)] for name, gain in gains.items()],
    )


def answers_table(row: StageRow) -> str:
    """How a model answered each evaluation set."""
    scores = [score for score in row.scores.values() if score is not None]
    return markdown_table(
        ["", "questions", "k", "avg@k", "pass@k", "cut off", "mean tokens"],
        [
            [
                score.benchmark.replace("_", " "), f"{score.n_questions:,}", score.k,
                _estimate(score.avg_at_k), f"{100 * score.pass_at_k:.1f}",
                f"{score.truncated_share:.1%}", f"{score.mean_tokens:,.0f}",
            ]
            for score in scores
        ],
    )  # fmt: skip


def funnel_table(steps: list[FunnelStep]) -> str:
    """From the delivered rows to the training samples, with what was lost and why."""
    rows = []
    for step, before in zip(steps, previous(steps), strict=True):
        share = kept_share(step, before)
        losses = ", ".join(f"{reason} {n:,}" for reason, n in largest_losses(step))
        kept = "" if share is None else f"{share:.1%}"
        rows.append([step.name, step.temperature or "", f"{step.n:,}", kept, losses])
    return markdown_table(["step", "temperature", "rows", "of the step before", "lost"], rows)


def stages_table(profile: Profile, sets: Sequence[SetSize]) -> str:
    """What each stage starts from and is trained on, and how."""
    scheduled = profile.temperature_scheduled_learning
    mixed = [] if profile.no_mixed_policy else [profile.mixed_policy.training]
    trainings = [scheduled, scheduled, *mixed]
    starts = ["base student", "stage 1", "stage 2"]
    return markdown_table(
        ["stage", "starts from", "training set", "rows", "student tokens", "epochs",
         "learning rate", "batch", "precision"],
        [
            [number, start, f"`{size.name}`", f"{size.n_rows:,}", f"{size.n_tokens:,}",
             *_training(training)]
            for number, (start, size, training) in enumerate(
                zip(starts, sets, trainings, strict=False), 1
            )
        ],
    )  # fmt: skip


def domains_table(sets: Sequence[SetSize]) -> str:
    """Rows of each training set by domain."""
    domains = sorted({domain for size in sets for domain in size.by_domain})
    return markdown_table(
        ["training set", *(domain.replace("_", " ") for domain in domains), "all"],
        [
            [f"`{size.name}`", *(f"{size.by_domain.get(d, 0):,}" for d in domains),
             f"{size.n_rows:,}"]
            for size in sets
        ],
    )  # fmt: skip


def counts_table(header: str, counts: Mapping[str, int]) -> str:
    """Names, which somebody else chose, with counts."""
    rows = [[as_text(name), f"{n:,}"] for name, n in counts.items()]
    return markdown_table([header, "questions"], rows)


def sources_table(sources: Sequence[Source]) -> str:
    """Assets with their partitions and data versions."""
    rows = [(f"`{name}`", n, version) for name, n, version in by_asset(sources)]
    return markdown_table(["asset", "partitions", "data version"], rows)


def columns_table(schema: pa.Schema) -> str:
    """Columns with types and meaning, from the data contracts."""
    return markdown_table(
        ["column", "type", "meaning"],
        [
            [f"`{field.name}`", f"`{_type(field.type)}`",
             field.metadata[b"description"].decode().replace("<", "&lt;")]
            for field in schema
        ],
    )  # fmt: skip


def _type(kind: pa.DataType) -> str:
    """An Arrow type in words; the names inside lists say nothing."""
    if pa.types.is_list(kind):
        return f"list<{_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {_type(field.type)}' for field in kind)}>"
    return str(kind)


def _training(settings: Training) -> list[str]:
    lora = settings.lora
    adapters = f", merged LoRA of rank {lora.rank}, alpha {lora.alpha}" if lora else ""
    return [
        str(settings.epochs),
        f"{settings.learning_rate:g} → {settings.min_learning_rate:g}",
        f"{settings.global_batch_size} × {settings.max_length:,} tokens",
        settings.dtype + adapters,
    ]


def _score(score: Score | None) -> str:
    return NOT_MEASURED if score is None else _estimate(score.avg_at_k)


def _estimate(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _gain(gain: PairedDifference) -> list[str]:
    found = gain.difference
    interval = f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return [f"{100 * found.value:+.1f}", interval, f"{gain.p_value:.3g}", f"{gain.n_questions:,}"]
