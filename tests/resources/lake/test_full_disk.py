"""A disk that is really full: what was finished is kept, the same again does what is missing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.full_disk_child import N_REQUESTS

from dasd_assets.profile import PROJECT_ROOT

pytestmark = pytest.mark.slow

DISK_BYTES = 24 * 1024**2


def test_journal_and_lake_on_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    child = PROJECT_ROOT / "tests" / "support" / "full_disk_child.py"
    path = os.pathsep.join([str(PROJECT_ROOT / "tests"), str(PROJECT_ROOT)])
    result = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", "--size", str(DISK_BYTES), "--tmpfs", str(disk),
         "--", sys.executable, str(child), str(disk)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    for what, file in (
        ("journal", "teacher_responses__s1.journal"),
        ("partition", "data.parquet"),
        ("page", "stage_report.html"),
    ):
        number, said = seen[what].split(" ", 1)
        assert int(number) == errno.ENOSPC
        assert f"{file}: the disk is full (0 MiB free), so this could not be written" in said
        assert "What was finished is kept: make room, then run the same again" in said
    assert (seen["rows_meanwhile"], seen["left_over"]) == (1, [])
    assert 0 < seen["kept"] < N_REQUESTS
    assert seen["answers"] == N_REQUESTS
    assert seen["asked_again"] == N_REQUESTS - seen["kept"]
    assert seen["rows_after"] == 100
