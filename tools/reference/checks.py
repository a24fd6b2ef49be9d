"""The page of all checks."""

from __future__ import annotations

from dasd_assets.profile.check_settings import Checks
from dasd_assets.profile.data_contracts import CONTRACTS
from formats.pages import markdown_table
from tools.reference.markdown import page

INTRODUCTION = """\
What is measured each time a partition is made, and what is allowed unless the profile's section
`checks` says otherwise. [Data contracts](../data-contracts.md) explains how a check is made, what
severity and blocking mean, and how limits are changed. `evaluation`, `evaluation_teacher_scores`
and `evaluation_provenance` stand for those of all checkpoints. Beside these,
`trained_on_current_sample` on `low_temperature_checkpoint` and `high_temperature_checkpoint`
proposes a training when its sample changed; it warns, and stops nothing."""


def checks_page() -> str:
    """Every check of every asset with its default limits, severity, and whether it blocks."""
    parts = [INTRODUCTION]
    for asset, contracts in CONTRACTS.items():
        settings = Checks().of(asset)
        rows = [
            (
                f"`{contract.name}`",
                contract.description,
                settings[contract.name].allowed,
                contract.severity,
                "yes" if contract.blocking else "no",
            )
            for contract in contracts
        ]
        header = ("check", "what is measured", "default limit", "severity", "blocking")
        parts += [f"## {asset}", markdown_table(header, rows)]
    return page("Checks", *parts)
