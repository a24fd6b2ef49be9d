"""A small lake as the active one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.small_lake import make_small_lake

from resources.lake import Lake


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The lake of the profile `tiny`, filled with the small lake's rows."""
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    monkeypatch.setenv("DASD_HOME", str(tmp_path / "home"))
    lake = Lake(root=str(tmp_path / "home" / "lake"))
    make_small_lake(lake)
    return lake
