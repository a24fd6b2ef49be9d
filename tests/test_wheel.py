"""The wheel alone, in a fresh environment outside the checkout: what commands need is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from dasd_assets.profile import PROJECT_ROOT

pytestmark = pytest.mark.slow

NOT_BUILT = (".*", "*.egg-info", "__pycache__", "build", "dist", "tests")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"

Dasd = Callable[..., str]


@pytest.fixture(scope="module")
def dasd(tmp_path_factory: pytest.TempPathFactory) -> Dasd:
    """Gives a command to the installed wheel, in a folder that has nothing of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    # Elsewhere, as building leaves files behind.
    source = folder / "source"
    shutil.copytree(PROJECT_ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*NOT_BUILT))
    ran([sys.executable, "-c", BUILD, str(folder)], source)
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "environment")
    packages = folder / "environment" / "lib" / f"python{sysconfig.get_python_version()}"
    # What it depends on is the present environment's, after its own.
    beside = packages / "site-packages" / "present_environment.pth"
    beside.write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    python = folder / "environment" / "bin" / "python"
    pip = ("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    ran([sys.executable, *pip], folder)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return lambda *arguments, profile="tiny": ran(
        [python.with_name("dasd"), *arguments], elsewhere, DASD_PROFILE=profile
    )


def ran(command: list[str | Path], folder: Path, **variables: str) -> str:
    """What a command prints that succeeds, given without this checkout and its settings."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DA", "PIP_")) and key != "PYTHONPATH"
    }
    result = subprocess.run(
        command, cwd=folder, env=clean | variables,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_commands_of_a_shipped_profile_use_the_folder_they_are_given_in(dasd: Dasd) -> None:
    assert dasd("--version").startswith("dasd-dagster 0.")
    assert dasd("docs", "plan").startswith("# ")
    doctor = json.loads(dasd("doctor", "--json"))
    assert [one for one in doctor if one["level"] == "problem"] == []
    (home,) = (one["found"] for one in doctor if one["about"] == "write access")
    assert home.endswith("/elsewhere/.dasd/tiny")
    assert json.loads(dasd("plan", "--json"))["questions"] == 530


def test_a_new_project_runs(dasd: Dasd) -> None:
    dasd("init", "mine")
    status = json.loads(dasd("status", "--json", profile="mine/profile.yaml"))
    assert status["drops_not_registered"] == ["example"]
    selected = ("run", "--select", "key:base_student or key:raw_questions")
    made = dasd(*selected, profile="mine/profile.yaml")
    for asset in ("base_student", "raw_questions [example]"):
        assert f"{asset}: done" in made
