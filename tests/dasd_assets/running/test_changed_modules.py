"""A run that is forked takes the project's code as it is then, not as it was imported."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fresh_python import printed

pytestmark = pytest.mark.slow

PROGRAM = """
import os, sys
from pathlib import Path
from dasd_assets.running.changed_modules import ModuleFiles

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
files = ModuleFiles(["shop"])
import shop.keeper, shop.stock
before = shop.stock.AMOUNT
{change}
files.forget_changed(but="shop.keeper")
import shop.stock as now, shop.keeper as kept
print(before, now.AMOUNT, kept is sys.modules["shop.keeper"] and kept.IS_KEPT)
"""
"""Imports a package, lets its files change, and tells what the package is then."""

REPLACED = """
new = folder / "new"
new.write_text("AMOUNT = 200\\n")
os.utime(new, (1_000_000_000, 1_000_000_000))  # of a release: older than the one in its place
new.replace(folder / "shop" / "stock.py")
"""
SAME_TIME = """
file = folder / "shop" / "stock.py"
time = file.stat().st_mtime_ns
file.write_text("AMOUNT = 1_000\\n")
os.utime(file, ns=(time, time))
"""
MOVED = """
file = folder / "shop" / "stock.py"
file.rename(folder / "elsewhere.py")
(folder / "shop" / "stock").mkdir()
(folder / "shop" / "stock" / "__init__.py").write_text("AMOUNT = 7\\n")
"""
FROM_A_FUTURE = """
file = folder / "shop" / "stock.py"
in_an_hour = file.stat().st_mtime + 3_600  # another machine's clock
os.utime(file, (in_an_hour, in_an_hour))
files = ModuleFiles(["shop"])
shop.stock.AMOUNT = 3  # stays if nothing is imported anew
"""


@pytest.mark.parametrize(
    ("change", "amounts"),
    [
        ("", "10 10"),
        (REPLACED, "10 200"),
        (SAME_TIME, "10 1000"),
        (MOVED, "10 7"),
        (FROM_A_FUTURE, "10 3"),
    ],
)
def test_modules_are_imported_anew_if_and_only_if_a_file_is_another(
    tmp_path: Path, change: str, amounts: str
) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "keeper.py").write_text("IS_KEPT = True\n", encoding="utf-8")
    (package / "stock.py").write_text("AMOUNT = 10\n", encoding="utf-8")
    assert printed(PROGRAM.format(change=change), str(tmp_path)) == f"{amounts} True"


@pytest.mark.parametrize(("change", "again"), [("", False), ("touch(graph)", True)])
def test_a_run_takes_modules_that_changed_as_they_are_now(change: str, again: bool) -> None:
    program = (
        "from pathlib import Path\n"
        "from dasd_assets import graph as before\n"
        "from dasd_assets.running import local_run\n"
        "def touch(module): local_run._modules._before[Path(module.__file__)] = (0, 0)\n"
        f"{change.replace('graph', 'before')}\n"
        "local_run._modules.forget_changed(but='dasd_assets.running.local_run')\n"
        "from dasd_assets import graph as now\n"
        "from dasd_assets.running import local_executor\n"
        "print(now is not before, now.BOXES[0] is not before.BOXES[0])\n"
        "print(local_executor.local_run is local_run)"  # it knows that the process is a run's
    )
    assert printed(program) == f"{again} {again}\nTrue"
