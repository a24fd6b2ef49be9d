"""Which checkpoint is released, and when none is: a later stage can be worse than an earlier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dasd_assets.profile.release import BEST, FINAL
from dasd_assets.release.folder import ReleaseError
from dasd_assets.reporting.metrics import OVERALL, PairedDifference
from dasd_assets.reporting.stage_table import SIGNIFICANT, StageRow, best_row, render_stage_table
from resources.lake.tables.evaluation import CHECKPOINTS

STAGES: Final = CHECKPOINTS[1:]


def candidates(wanted: str, checkpoints: Sequence[str] = CHECKPOINTS) -> tuple[str, ...]:
    """The checkpoints of which one is released.

    Args:
        wanted: `release.checkpoint`.
        checkpoints: those that the profile makes, the base student first.
    """
    if wanted == BEST:
        return tuple(checkpoints[1:])
    return (checkpoints[-1] if wanted == FINAL else wanted,)


def released_row(rows: Sequence[StageRow], wanted: str) -> StageRow:
    """The checkpoint that is released, as its line of the stage table.

    One that is named is released as it is. `final` and `best` are released only if no earlier
    checkpoint, and not the base student either, is better by the paired sign-flip test over the
    questions of all evaluation sets: two-sided, at the level SIGNIFICANT, with no correction for
    the number of earlier checkpoints.

    Args:
        rows: the stage table, from `stage_rows`.
        wanted: `release.checkpoint`.

    Raises:
        ReleaseError: an evaluation that the choice rests on is missing, or an earlier checkpoint
            is better.
    """
    named = candidates(wanted, [row.checkpoint for row in rows])
    until = CHECKPOINTS.index(named[-1]) + 1
    needed = CHECKPOINTS[:until] if wanted in (FINAL, BEST) else (CHECKPOINTS[0], *named)
    _require_evaluated([row for row in rows if row.checkpoint in needed])
    among = [row for row in rows if row.checkpoint in named]
    row = best_row(among)
    assert row is not None  # they are evaluated
    better = _better(row) if wanted in (FINAL, BEST) else []
    if better:
        raise ReleaseError(_refusal(rows, row, better))
    return row


def _better(row: StageRow) -> list[PairedDifference]:
    """The gains over earlier checkpoints that are losses."""
    gains = [gains[OVERALL] for gains in row.differences.values()]
    return [
        gain
        for gain in gains
        if gain is not None and gain.difference.value < 0 and gain.p_value < SIGNIFICANT
    ]


def _refusal(rows: Sequence[StageRow], row: StageRow, better: Sequence[PairedDifference]) -> str:
    lost = "; ".join(
        f"{gain.before}: {100 * gain.difference.value:+.1f} points, interval "
        f"{100 * gain.difference.low:+.1f} to {100 * gain.difference.high:+.1f}, "
        f"p {gain.p_value:.3g}, {gain.n_questions:,} questions"
        for gain in better
    )
    best = best_row(rows)
    is_other = best is not None and best is not row
    return (
        f"{row.checkpoint} is worse than an earlier checkpoint on the same questions (paired "
        f"sign-flip test, two-sided, p < {SIGNIFICANT:g}): {lost}.\n\n{render_stage_table(rows)}"
        "\n\nThe stage report says what may have done it. "
        + (f"To release {best.checkpoint}: release.checkpoint: best. " if best and is_other else "")
        + f"To release {row.checkpoint} all the same: release.checkpoint: {row.checkpoint}."
    )


def _require_evaluated(rows: Sequence[StageRow]) -> None:
    missing = [
        f"evaluation/{row.checkpoint} [{benchmark}]"
        for row in rows
        for benchmark, score in row.scores.items()
        if score is None and benchmark != OVERALL
    ]
    if missing:
        raise ReleaseError(
            f"a model is not released without its evaluation, nor without those it is compared "
            f"with: {', '.join(missing)} not in the lake. Materialize them first."
        )
