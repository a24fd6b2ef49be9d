"""What filtering let through and why it did not, per temperature, domain and rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import pyarrow as pa

from formats.pages import markdown_table

SAMPLED, KEPT = "sampled", "kept"

Outcomes = dict[str, dict[str, dict[str, int]]]
"""Temperature (partition name) -> domain -> sampled, kept and rules -> answers. An answer can break
several rules, so that they may add up to more than what was lost."""


def outcomes(tables: Mapping[str, tuple[pa.Table, pa.Table]]) -> Outcomes:
    """Count the answers of each temperature.

    Args:
        tables: temperature -> kept and rejected answers (domain; domain and broken_rules are read).

    Returns:
        Domains by name; in each, after what was sampled and kept, the rules by how many broke them.
    """
    counted: Outcomes = {}
    for temperature, (kept, rejected) in tables.items():
        n_kept = Counter(kept["domain"].to_pylist())
        n_rejected = Counter(rejected["domain"].to_pylist())
        broken = Counter(
            (row["domain"], each["rule"])
            for row in rejected.select(["domain", "broken_rules"]).to_pylist()
            for each in row["broken_rules"]
        )
        counted[temperature] = {
            domain: {
                SAMPLED: n_kept[domain] + n_rejected[domain],
                KEPT: n_kept[domain],
                **{
                    rule: n
                    for (of, rule), n in sorted(broken.items(), key=lambda item: (-item[1], item))
                    if of == domain
                },
            }
            for domain in sorted(n_kept | n_rejected)
        }
    return counted


def outcomes_table(counted: Outcomes) -> str:
    """The outcomes as a Markdown table, one line per domain, temperature and outcome."""
    rows = []
    for domain in sorted({domain for domains in counted.values() for domain in domains}):
        for temperature, domains in counted.items():
            outcomes = domains.get(domain, {})
            rows += [
                (domain, temperature, outcome, f"{n:,}", f"{n / outcomes[SAMPLED]:.1%}")
                for outcome, n in outcomes.items()
            ]
    return markdown_table(["domain", "temperature", "outcome", "answers", "share"], rows)


FEWEST_TELLING: Final = 10
"""Questions; that all answers to fewer are rejected tells nothing of their cause."""


class AllRejectedError(ValueError):
    """Rules that nothing keeps: an empty table would fail where nobody looks for the cause."""


def all_rejected(
    rejected: Sequence[pa.RecordBatch], what: str, remedy: str, warn: Callable[[str], None]
) -> None:
    """Say of a partition that nothing was kept: how often each rule was broken, and one example.

    Where few questions were answered it is only said: a small drop is not to fail for ever.

    Args:
        rejected: at least one row, with an id in the first column, question_id and broken_rules.
        what: what was rejected, in the plural.
        remedy: what to do, besides loosening the rule.

    Raises:
        AllRejectedError: these were answers to FEWEST_TELLING questions or more.
    """
    said = _said(rejected, what, remedy)
    questions = {each for batch in rejected for each in batch["question_id"].to_pylist()}
    if len(questions) >= FEWEST_TELLING:
        raise AllRejectedError(said)
    warn(said)


def _said(rejected: Iterable[pa.RecordBatch], what: str, remedy: str) -> str:
    rows = [row for batch in rejected for row in batch.to_pylist()]
    broken = Counter(each["rule"] for row in rows for each in row["broken_rules"])
    counts = ", ".join(f"{rule} {n:,}" for rule, n in broken.most_common())
    commonest = broken.most_common(1)[0][0]
    shown = next(
        f"{next(iter(row.values()))}: {each['evidence']}"
        for row in rows
        for each in row["broken_rules"]
        if each["rule"] == commonest
    )
    return (
        f"100 % of {len(rows):,} {what} rejected: {counts} (one may break several rules). For "
        f"example {commonest} of {shown}. `dasd docs filters-and-verification` has the rules and "
        f"their settings; {remedy}"
    )
