"""What fits on the machine's cores goes side by side, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dasd_assets.running import cores
from dasd_assets.running.cores import has_room, usable_cores


@pytest.mark.parametrize(
    ("quota", "usable"), [(None, 8.0), ("max 100000", 8.0), ("150000 100000", 1.5)]
)
def test_a_container_has_the_cores_of_its_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, usable: float
) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: set(range(8)))
    file = tmp_path / "cpu.max"
    if quota:
        file.write_text(f"{quota}\n", encoding="ascii")
    assert usable_cores(file) == usable


@pytest.mark.parametrize(
    ("running", "wanted", "fits"),
    [([], 64.0, True), ([1.0], 1.0, True), ([1.0], 1.5, False), ([2.0], 0.5, False)],
)
def test_two_cores(running: list[float], wanted: float, fits: bool) -> None:
    assert has_room(running, wanted, cores=2.0) == fits
