"""From rollouts to mixed-policy samples: what was lost at each step, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dasd_assets.reporting.funnel import FunnelStep
from dasd_assets.reporting.picture_data import Partition, in_partition

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FUNNEL: Final = "mixed policy"
"""What the funnel calls this way, beside those of the temperatures."""

_CUTS: Final = {"entropy": "at the student's boundary", "random": "at random"}
"""Kinds of cuts in words."""


def rollout_counts(warehouse: DuckDBPyConnection, where: Partition) -> dict[str, Any]:
    """Rollouts, those that were cut off, and those that cannot be used, by rule.

    Args:
        warehouse: from `open_warehouse`.
        where: partition columns and their keys; all partitions if empty.
    """
    (counts,) = warehouse.sql(
        f"""SELECT count(*), count(*) FILTER (is_usable),
                   count(*) FILTER (is_usable AND is_truncated)
            FROM (SELECT is_truncated, coalesce(len(broken_rules), 0) = 0 AS is_usable
                  FROM student_rollouts WHERE {in_partition(where)})""",
        params=dict(where),
    ).fetchall()
    rollouts, usable, truncated = counts
    return {
        "rollouts": rollouts,
        "usable": usable,
        "truncated": truncated,
        "cut_off_rate": truncated / usable if usable else 0.0,
        "rejected": _by_rule(warehouse, "student_rollouts", where),
    }


def cut_counts(
    warehouse: DuckDBPyConnection, where: Partition
) -> dict[str, dict[str, int | float]]:
    """How rollouts were cut: kind of cut -> continuations, and the mean share that was kept.

    Args:
        warehouse: from `open_warehouse`.
        where: partition columns and their keys; all partitions if empty.
    """
    rows = warehouse.sql(
        f"""SELECT cut_kind, count(*), avg(cut_fraction) FROM teacher_continuations
            WHERE {in_partition(where)} GROUP BY ALL ORDER BY ALL""",
        params=dict(where),
    ).fetchall()
    return {kind: {"n": n, "mean_cut_fraction": kept} for kind, n, kept in rows}


def mixed_policy_steps(warehouse: DuckDBPyConnection) -> list[FunnelStep]:
    """Steps from all rollouts to the mixed-policy samples; none where nothing was rolled out.

    Args:
        warehouse: from `open_warehouse`.
    """
    counts = rollout_counts(warehouse, {})
    if not counts["rollouts"]:
        return []
    usable, truncated = counts["usable"], counts["truncated"]
    (found,) = warehouse.sql(
        """SELECT (SELECT count(*) FROM teacher_continuations),
                  (SELECT count(*) FROM mixed_policy_sample WHERE policy = 'mixed_policy')"""
    ).fetchall()
    continued, kept = found
    broken = _by_rule(warehouse, "rejected_continuations", {})
    return [
        FunnelStep("student rollouts", FUNNEL, counts["rollouts"]),
        FunnelStep("usable rollouts", FUNNEL, usable, counts["rejected"]),
        FunnelStep(
            "cut off by the cap", FUNNEL, truncated, {"ended by itself": usable - truncated}
        ),
        FunnelStep("continued by the teacher", FUNNEL, continued, note=_how_cut(warehouse)),
        FunnelStep("mixed-policy samples", FUNNEL, kept, broken),
    ]


def _how_cut(warehouse: DuckDBPyConnection) -> str:
    counts = cut_counts(warehouse, {})
    found = [
        f"{_CUTS[kind]}: {of['n']:,} after {of['mean_cut_fraction']:.0%} on average"
        for kind, of in counts.items()
    ]
    return f"cut {', '.join(found)}" if found else ""


def _by_rule(warehouse: DuckDBPyConnection, table: str, where: Partition) -> dict[str, int]:
    """How many rows break each rule."""
    rows = warehouse.sql(
        f"""SELECT broken.rule, count(*) FROM (
                SELECT unnest(broken_rules) AS broken FROM {table} WHERE {in_partition(where)})
            GROUP BY ALL ORDER BY ALL""",
        params=dict(where),
    ).fetchall()
    return dict(rows)
