"""What runs and steps are forked from: a process with the libraries imported, no GPU touched."""

from __future__ import annotations

import pytest
from support.fresh_python import printed


@pytest.mark.parametrize(("imported_at", "again"), [("time.time()", False), ("0", True)])
def test_a_run_takes_modules_that_changed_as_they_are_now(imported_at: str, again: bool) -> None:
    program = (
        "import time\n"
        "from dasd_assets import graph as before; from dasd_assets.running import local_run\n"
        f"local_run._imported_at = {imported_at}\n"
        "local_run.forget_changed_modules()\n"
        "from dasd_assets import graph as now; from dasd_assets.running import local_executor\n"
        "print(now is not before, now.BOXES[0] is not before.BOXES[0])\n"
        "print(local_executor.local_run is local_run)"  # it knows that the process is a run's
    )
    assert printed(program) == f"{again} {again}\nTrue"


def test_what_steps_are_forked_from_touches_no_gpu() -> None:
    """Else CUDA would have chosen its GPUs before the step says which ones it holds."""
    program = (
        "import importlib, torch\n"
        "asked = []\n"
        "for name in ('is_available', 'device_count', 'init', '_lazy_init'):\n"
        "    setattr(torch.cuda, name, lambda *a, name=name: asked.append(name) or 0)\n"
        "from dasd_assets.running.local_run import LIBRARIES\n"
        "for module in ('dasd_assets.definitions', *LIBRARIES): importlib.import_module(module)\n"
        "print(asked)"
    )
    assert printed(program) == "[]"
