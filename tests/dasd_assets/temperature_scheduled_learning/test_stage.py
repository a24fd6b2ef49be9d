"""What a checkpoint is named by, and what its page shows of its batch certificate."""

from __future__ import annotations

from typing import Any

import pytest

from dasd_assets.profile import settings_version
from dasd_assets.temperature_scheduled_learning.stage import PROGRAM_VERSION, checkpoint_key
from dasd_assets.temperature_scheduled_learning.training_set import certificate_table
from formats.format_settings import AUTO
from training.settings import Training
from training.training_set import MadeOf, SampleFile


def test_the_certificate_is_a_table_with_its_warnings() -> None:
    check = {"name": "loss_mask", "found": "0 | 1", "allowed": "0 misplaced"}
    table = certificate_table({"checks": [check], "warnings": ["packing is loose"]})
    assert table.splitlines()[2] == "| loss_mask | 0 \\| 1 | 0 misplaced |"
    assert table.endswith("\nWarning: packing is loose")


@pytest.mark.parametrize(
    "other",
    [
        {"version": "2"},
        {"system_prompt": "Be long."},
        {"mask_student_prefix": True},
        {"sample_files": [SampleFile("rows.parquet", "dcba", 1)]},
    ],
)
def test_a_set_that_trains_otherwise_is_another_checkpoint(other: dict[str, Any]) -> None:
    made_of = MadeOf(
        version="1", tokenizer={}, format=AUTO, system_prompt="Be brief.", lengths_compared=True,
        mask_student_prefix=False, max_length=64, packing=True, multiple_of=1,
        sample_files=[SampleFile("rows.parquet", "abcd", 1)],
    )  # fmt: skip
    key, elsewhere = (
        checkpoint_key("0123", made_of.model_copy(update=update), Training())
        for update in ({}, {"sample_files": [SampleFile("moved.parquet", "abcd", 1)]})
    )
    assert key == elsewhere
    # As it was named before a set's version was part of it.
    assert key == settings_version(
        "0123", "abcd", Training().shaping(), "Be brief.", False, PROGRAM_VERSION
    )
    assert key != checkpoint_key("0123", made_of.model_copy(update=other), Training())
