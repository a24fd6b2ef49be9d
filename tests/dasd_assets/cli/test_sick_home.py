"""A disk that is really full, a home that is really read-only, records that are really damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from support.pipeline import new_pipeline

from dasd_assets.profile import PROJECT_ROOT

pytestmark = pytest.mark.slow

DISK_BYTES = 16 * 1024**2
Told = list[tuple[str, int, str]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Sickness -> command, exit code and what it said."""
    folder = tmp_path_factory.mktemp("sick")
    pipeline = new_pipeline(folder)
    pipeline.put_drop("drop-01", 0, n=2)
    assert pipeline.ask("status").returncode == 0
    for kind in ("readonly", "corrupt", "full"):
        shutil.copytree(pipeline.home, folder / kind / "home")
    path = os.pathsep.join([str(PROJECT_ROOT / "tests"), str(PROJECT_ROOT)])
    child = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", "--size", str(DISK_BYTES),
         "--tmpfs", str(folder / "full"), "--ro-bind", *[str(folder / "readonly")] * 2,
         "--", sys.executable, "-W", "ignore", "-m", "support.sick_home_child", str(folder)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert "Traceback" not in child.stderr
    found: dict[str, Told] = json.loads(child.stdout)
    return found


def assert_one_line(place: str, code: int, said: str, *words: str) -> None:
    assert code == 1, place
    assert said.startswith("error: /") and said.count("\n") == 1, f"{place}: {said}"
    assert "kept" in said or "not touched" in said, place
    for word in words:
        assert word in said, f"{place}: {said}"


def test_a_full_disk_is_a_path_and_a_remedy_and_with_room_it_goes_on(told: dict[str, Told]) -> None:
    new, configured, *full, (_, code, said) = told["full"]
    assert_one_line(*new, "full/new/dagster/dagster.yaml: the disk is full (0 MiB free)")
    assert configured[1] == 0, "half a dagster.yaml would be taken for a whole one"
    assert [place for place, *_ in full] == [
        "status, 0 bytes left", "ui, 0 bytes left", "run, 0 bytes left", "run, 262144 bytes left",
    ]  # fmt: skip
    for each in full:
        assert_one_line(*each, "full/home/dagster: the disk is full", "Make room (`df -h /")
    assert code == 0, said


def test_a_home_that_cannot_be_written_is_a_path_and_a_remedy(told: dict[str, Told]) -> None:
    assert len(told["readonly"]) == 6
    for each in told["readonly"]:
        assert_one_line(*each, "/readonly/home", "cannot be used (", "set DASD_HOME to another one")


def test_a_damaged_database_is_named_by_each_command(told: dict[str, Told]) -> None:
    *damaged, (_, code, said) = told["corrupt"]
    assert len(damaged) == 9
    for place, *ended in damaged:
        file = place.partition(": ")[0]
        assert_one_line(place, *ended, f"/corrupt/home/dagster/{file}: ", "move it away")
    assert code == 0, said
