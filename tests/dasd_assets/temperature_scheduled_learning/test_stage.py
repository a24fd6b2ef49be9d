"""What a checkpoint's page shows of its batch certificate."""

from __future__ import annotations

from dasd_assets.temperature_scheduled_learning.training_set import certificate_table


def test_the_certificate_is_a_table_with_its_warnings() -> None:
    check = {"name": "loss_mask", "found": "0 | 1", "allowed": "0 misplaced"}
    table = certificate_table({"checks": [check], "warnings": ["packing is loose"]})
    assert table.splitlines()[2] == "| loss_mask | 0 \\| 1 | 0 misplaced |"
    assert table.endswith("\nWarning: packing is loose")
