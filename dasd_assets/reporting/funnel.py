"""From the rows of a drop to the training samples: what was lost at each step, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FunnelStep:
    """What a step let through.

    `rejected` counts what it did not by reason. An answer can break several rules, so the counts
    may add up to more than was lost. `temperature` is a partition name, None for questions.
    `note` says how it was done, where that is counted.
    """

    name: str
    temperature: str | None
    n: int
    rejected: dict[str, int] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class ResponseCounts:
    """Teacher responses of one temperature on their way into the training sample."""

    sampled: int
    filtered: int
    selected: int
    broken_rules: Mapping[str, int] = field(default_factory=dict)
    not_selected: Mapping[str, int] = field(default_factory=dict)


def funnel(
    *,
    raw_questions: int,
    quarantined: Mapping[str, int],
    questions: int,
    rejected_questions: Mapping[str, int],
    responses: Mapping[str, ResponseCounts],
) -> list[FunnelStep]:
    """Steps from the delivered rows to the divergence sample, questions first.

    Args:
        raw_questions: usable rows of all drops.
        quarantined: unusable rows by reason.
        questions: what is left after deduplication and decontamination.
        rejected_questions: questions left out, by reason.
        responses: temperature (partition name) -> counts.

    Raises:
        ValueError: a step lets through more than it got: counts of different runs were mixed.
    """
    steps = [
        FunnelStep("delivered rows", None, raw_questions + sum(quarantined.values())),
        FunnelStep("usable rows", None, raw_questions, dict(quarantined)),
        FunnelStep("questions", None, questions, dict(rejected_questions)),
    ]
    for key, counts in responses.items():
        steps += [
            FunnelStep("teacher responses", key, counts.sampled),
            FunnelStep("filtered responses", key, counts.filtered, dict(counts.broken_rules)),
            FunnelStep("divergence sample", key, counts.selected, dict(counts.not_selected)),
        ]
    for step, before in zip(steps, previous(steps), strict=True):
        if before is not None and step.n > before.n:
            raise ValueError(
                f"funnel: {step.n} {step.name} ({step.temperature or 'all'}) out of "
                f"{before.n} {before.name}"
            )
    return steps


def previous(steps: list[FunnelStep]) -> list[FunnelStep | None]:
    """For each step the one that it takes from; None at the start of a temperature."""
    return [
        before if before is not None and before.temperature == step.temperature else None
        for before, step in zip([None, *steps], steps, strict=False)
    ]


def kept_share(step: FunnelStep, before: FunnelStep | None) -> float | None:
    """Share of the step before that this one let through; None where there is none."""
    return step.n / before.n if before is not None and before.n else None


def largest_losses(step: FunnelStep) -> list[tuple[str, int]]:
    """Reasons and counts of what a step did not let through, largest first."""
    losses = [(reason, n) for reason, n in step.rejected.items() if n]
    return sorted(losses, key=lambda loss: (-loss[1], loss[0]))


def render_funnel(steps: list[FunnelStep]) -> str:
    """The funnel as aligned plain text: count, share of the step before, losses by reason."""
    name_width = max([len(step.name) for step in steps], default=0)
    temperature_width = max([len(step.temperature or "") for step in steps], default=0)
    count_width = max([len(f"{step.n:,}") for step in steps], default=0)
    lines: list[str] = []
    for step, before in zip(steps, previous(steps), strict=True):
        if before is None and lines:
            lines.append("")
        share = kept_share(step, before)
        cells = [
            step.name.ljust(name_width),
            (step.temperature or "").ljust(temperature_width),
            f"{step.n:,}".rjust(count_width),
            ("" if share is None else f"{share:.1%}").rjust(6),
        ]
        if losses := largest_losses(step):
            cells.append("lost: " + ", ".join(f"{reason} {n:,}" for reason, n in losses))
        if step.note:
            cells.append(step.note)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
