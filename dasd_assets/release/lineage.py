"""Where released data comes from, as plain rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from dasd_assets.reporting.code_version import CodeVersion

LINEAGE = "lineage.json"


@dataclass(frozen=True, order=True)
class Source:
    """One partition of an asset that a release was made from."""

    asset: str
    partition: str
    """Empty if the asset has none."""
    data_version: str
    """Hash of its content."""
    code_version: str
    """Version of its code, and hash of the settings that shape it."""


@dataclass(frozen=True)
class CheckResults:
    """How the data checks of all sources ended last."""

    n_passed: int = 0
    """Of those that block."""
    warnings: Counter[str] = field(default_factory=Counter)
    """`asset: check` -> partitions in which it only warned."""


def lineage_file(sources: Sequence[Source], code: CodeVersion) -> str:
    """All sources and the code that made the release, as JSON."""
    content = {"code": asdict(code), "sources": [asdict(source) for source in sorted(sources)]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def by_asset(sources: Sequence[Source]) -> list[tuple[str, int, str]]:
    """Asset, its number of partitions, and its data version if it has but one."""
    names = dict.fromkeys(source.asset for source in sorted(sources))
    rows = []
    for name in names:
        of_asset = [source for source in sources if source.asset == name]
        version = of_asset[0].data_version if len(of_asset) == 1 else f"in `{LINEAGE}`"
        rows.append((name, len(of_asset), version))
    return rows
