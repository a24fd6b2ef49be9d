"""The outcomes of filtering: every answer once in sampled, every broken rule counted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dasd_assets.response_filtering.outcomes import outcomes, outcomes_table
from resources.lake.tables.response_filtering import REJECTED_RESPONSES


def kept(*domains: str) -> pa.Table:
    return pa.table({"domain": pa.array(domains, pa.string())})


def rejected(*rows: tuple[str, list[str]]) -> pa.Table:
    fields = [REJECTED_RESPONSES.field("domain"), REJECTED_RESPONSES.field("broken_rules")]
    values: list[dict[str, Any]] = [
        {"domain": domain, "broken_rules": [{"rule": rule, "evidence": "x"} for rule in rules]}
        for domain, rules in rows
    ]
    return pa.Table.from_pylist(values, schema=pa.schema(fields))


COUNTED = outcomes(
    {
        "low": (
            kept("math", "code", "math"),
            rejected(("math", ["too_long", "tool_call"]), ("science", ["too_long"])),
        ),
        "high": (kept("math"), rejected(("math", ["tool_call"]), ("math", ["tool_call"]))),
    }
)


def test_counts_per_temperature_domain_and_rule() -> None:
    assert COUNTED == {
        "low": {
            "code": {"sampled": 1, "kept": 1},
            "math": {"sampled": 3, "kept": 2, "too_long": 1, "tool_call": 1},
            "science": {"sampled": 1, "kept": 0, "too_long": 1},
        },
        "high": {"math": {"sampled": 3, "kept": 1, "tool_call": 2}},
    }


def test_the_table_has_a_line_for_each_with_its_share() -> None:
    lines = outcomes_table(COUNTED).splitlines()
    assert lines[0] == "| domain | temperature | outcome | answers | share |"
    assert len(lines) == 2 + 2 + 4 + 3 + 3
    assert "| math | high | tool_call | 2 | 66.7% |" in lines
    assert lines.index("| math | low | kept | 2 | 66.7% |") < lines.index(
        "| math | high | kept | 1 | 33.3% |"
    )
    assert lines[-1] == "| science | low | too_long | 1 | 100.0% |"


def test_nothing_sampled() -> None:
    assert outcomes({"low": (kept(), rejected())}) == {"low": {}}
    assert len(outcomes_table({"low": {}}).splitlines()) == 2
