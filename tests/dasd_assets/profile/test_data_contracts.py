"""docs/data-contracts.md says what the code checks."""

from __future__ import annotations

from dasd_assets.profile import PROJECT_ROOT
from dasd_assets.profile.check_settings import Checks
from dasd_assets.profile.data_contracts import CONTRACTS


def table() -> str:
    """The table of the document; print it to renew it."""
    lines = [
        "| asset | check | what is measured | default limit | severity | blocking |",
        "|---|---|---|---|---|---|",
    ]
    for asset, contracts in CONTRACTS.items():
        settings = Checks().of(asset)
        for contract in contracts:
            lines.append(
                f"| `{asset}` | `{contract.name}` | {contract.description} | "
                f"{settings[contract.name].allowed} | {contract.severity} | "
                f"{'yes' if contract.blocking else 'no'} |"
            )
    return "\n".join(lines)


def test_the_document_has_every_check_with_its_defaults() -> None:
    document = (PROJECT_ROOT / "docs" / "data-contracts.md").read_text(encoding="utf-8")
    assert table() in document
