"""A user's folder under the name of one of ours is named at start, not met as an AttributeError."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dasd_assets.own_packages import NAMES, ROOT, require_own_packages
from dasd_assets.running.local_run import PACKAGES


def started(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """A process with a user's folder before ours on its path."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd="/", capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
    )  # fmt: skip


def test_every_package_with_a_plain_name_is_looked_after() -> None:
    assert {*NAMES, "dasd_assets"} == set(PACKAGES)
    require_own_packages()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}.py"])
def test_what_is_in_the_way_is_named(tmp_path: Path, name: str, file: str) -> None:
    mine = tmp_path / file.format(name)
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("ours = True\n")
    found = tmp_path / (name if file.startswith("{}/") else f"{name}.py")
    result = started(tmp_path, "import dasd_assets.cli")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: {found} is in the way: it would be imported in place of {ROOT / name}, which is "
        f"part of this program. Take {tmp_path} off PYTHONPATH, start in another folder, or give "
        f"{found.name} another name.\n"
    )


def test_a_folder_without_code_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "notes.txt").write_text("mine")
    assert started(tmp_path, "import dasd_assets.cli").stderr == ""


def test_definitions_say_it_before_anything_of_ours_is_imported(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "__init__.py").write_text("")
    # Dagster itself takes seconds to import and has no part in this.
    (tmp_path / "dagster.py").write_text("")
    result = started(tmp_path, "import dasd_assets.definitions")
    assert "ForeignPackageError: " in result.stderr.splitlines()[-1]
    assert f"{tmp_path / 'checks'} is in the way" in result.stderr
