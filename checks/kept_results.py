"""The last results of the checks, in the lake: `_checks/<asset>/<partition>/result.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from checks.expectations import Verdict
from resources.lake.lake import CHECK_RESULTS, Lake, Partition
from resources.lake.tables import tables_of

FILE = "result.json"


@dataclass(frozen=True)
class KeptResult:
    """What the checks on one partition of an asset found."""

    asset: str
    """Its key, with slashes."""
    partition: str
    checked_at: datetime
    measured: dict[str, dict[str, float]]
    """Check -> subject -> value; infinity if there was none to give."""
    passed: dict[str, bool]


def keep(
    lake: Lake, asset: str, partition: Partition, name: str, verdicts: Sequence[Verdict]
) -> Path:
    """Store what was found; returns the file.

    What other checks found of the same data stays, and of earlier data nothing does.

    Args:
        name: of the partition, for people.
    """
    dimensions = [f"{dimension}={key}" for dimension, key in partition.items()]
    place = Path(CHECK_RESULTS, asset, *dimensions, FILE)
    file = lake.file(str(place))
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    tables = [table for table in tables_of(asset.split("/")[0]) if lake.exists(table, partition)]
    of = {table: lake.version(table, partition) for table in tables}
    found = {
        verdict.measured.check: {
            "measured": {
                # JSON has no infinity.
                subject: value if math.isfinite(value) else str(value)
                for subject, value in verdict.measured.values.items()
            },
            "min": verdict.settings.min,
            "max": verdict.settings.max,
            "severity": verdict.settings.severity,
            "passed": verdict.passed,
            "examples": [*verdict.outside, *verdict.measured.examples],
        }
        for verdict in verdicts
    }
    kept = {
        "asset": asset,
        "partition": name,
        "checked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "of": of,
        "checks": {**(before["checks"] if before.get("of") == of else {}), **found},
    }
    return lake.publish_file(str(place), json.dumps(kept, indent=1).encode())


def kept_results(lake: Lake) -> Iterator[KeptResult]:
    """All that is kept, by asset and partition; of a bucket, what lies here of it."""
    for file in sorted(Path(lake.root, CHECK_RESULTS).rglob(FILE)):
        kept = json.loads(file.read_text(encoding="utf-8"))
        yield KeptResult(
            kept["asset"],
            kept["partition"],
            datetime.fromisoformat(kept["checked_at"]),
            {
                check: {subject: float(value) for subject, value in one["measured"].items()}
                for check, one in kept["checks"].items()
            },
            {check: one["passed"] for check, one in kept["checks"].items()},
        )
