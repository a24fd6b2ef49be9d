"""A small lake as the active one, and a project as a new user has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.small_lake import make_small_lake
from typer.testing import CliRunner

from dasd_assets.cli.main import app
from resources.lake.lake import Lake


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The lake of the profile `tiny`, filled with the small lake's rows."""
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    monkeypatch.setenv("DASD_HOME", str(tmp_path / "home"))
    lake = Lake(root=str(tmp_path / "home" / "lake"))
    make_small_lake(lake)
    return lake


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that `dasd init` has just made, as the active one."""
    folder = tmp_path / "my-project"
    made = CliRunner().invoke(app, ["init", str(folder)])
    assert made.exit_code == 0, made.output
    monkeypatch.setenv("DASD_PROFILE", str(folder / "profile.yaml"))
    # Commands set these for the processes below them.
    monkeypatch.setenv("DASD_HOME", str(folder / ".dasd" / "my-project"))
    for variable in ("DAGSTER_HOME", "PYTHONWARNINGS", "TOKENIZERS_PARALLELISM", "DASD_DEBUG"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))
    monkeypatch.chdir(tmp_path)
    return folder
