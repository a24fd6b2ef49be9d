"""The blocking check on a checkpoint reads its batch certificate."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from checks import temperature_scheduled_learning
from checks.checked_partition import CheckedPartition
from checks.expectations import Measurement
from dasd_assets.profile.data_contracts import CONTRACTS
from resources.lake.lake import Lake

SOUND = {"name": "loss_mask", "passed": True, "cause": ""}
BROKEN = {"name": "end_token_trained", "passed": False, "cause": "sample.parquet, row 3: no end"}


def measured(tmp_path: Path, certificate: dict[str, Any] | None) -> dict[str, Measurement]:
    lake = Lake(root=str(tmp_path / "lake"))
    folder = lake.checkpoint_folder("dasd", "key")
    folder.mkdir(parents=True)
    if certificate is not None:
        (folder / "certificate.json").write_text(json.dumps(certificate))
    (folder / "training_log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    lake.publish_checkpoint("dasd", "key")
    with CheckedPartition(lake, {}) as data:
        found = temperature_scheduled_learning._checkpoint("dasd", True)(data)
        return {one.check: one for one in found if isinstance(one, Measurement)}


@pytest.mark.parametrize(
    ("certificate", "n_broken", "lost"),
    [
        ({"checks": [SOUND, SOUND], "samples_in": 5, "samples_out": 5}, 0, 0),
        ({"checks": [SOUND, BROKEN], "samples_in": 5, "samples_out": 5}, 1, 0),
        ({"samples_in": 5, "samples_out": 5}, 1, 0),
        (None, 1, math.inf),
    ],
)
def test_what_does_not_hold_is_counted(
    tmp_path: Path, certificate: dict[str, Any] | None, n_broken: int, lost: float
) -> None:
    found = measured(tmp_path, certificate)
    assert found["certificate_holds"].values == {"dasd": n_broken}
    assert found["nothing_cut"].values == {"dasd": lost}


def test_the_cause_is_shown(tmp_path: Path) -> None:
    certificate = {"checks": [BROKEN], "samples_in": 1, "samples_out": 1}
    (example,) = measured(tmp_path, certificate)["certificate_holds"].examples
    assert example == "end_token_trained: sample.parquet, row 3: no end"


def test_it_blocks_what_is_made_of_the_checkpoint() -> None:
    for checkpoint in ("low_temperature", "high_temperature", "dasd"):
        contracts = {contract.name: contract for contract in CONTRACTS[f"{checkpoint}_checkpoint"]}
        assert contracts["certificate_holds"].blocking
