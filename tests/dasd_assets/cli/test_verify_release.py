"""`dasd verify-release`: nothing to say of a good release, the file's name of a tampered one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dasd_assets.cli.main import app
from dasd_assets.release.folder import publish_release


def verify(folder: Path) -> Result:
    return CliRunner().invoke(app, ["verify-release", str(folder)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def write(place: Path) -> None:
        (place / "config.json").write_text("{}")

    return publish_release(tmp_path, "model", write).folder


def test_a_good_release(folder: Path) -> None:
    result = verify(folder)
    assert result.exit_code == 0
    assert "every file is as SHA256SUMS says" in result.stdout.replace("\n", " ")


def test_a_tampered_file_is_named(folder: Path) -> None:
    (folder / "config.json").write_text("{ }")
    (folder / "modeling.py").write_text("")
    result = verify(folder)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "config.json: changed", "modeling.py: not listed in SHA256SUMS",
    ]  # fmt: skip


def test_another_folder_is_no_release(tmp_path: Path) -> None:
    result = verify(tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "SHA256SUMS: missing" in result.stderr
