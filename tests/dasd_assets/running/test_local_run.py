"""What steps are forked from touches no GPU; a step ends with its run, however early that is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.fresh_python import printed

pytestmark = pytest.mark.slow

PROGRAM = """
import os, signal, sys, time
from dasd_assets.running import local_run
from resources.compute import parent_process

run = os.getpid()

def run_dies(*_):
    os.kill(run, signal.SIGKILL)
    while os.getppid() == run:
        time.sleep(0.001)

if sys.argv[1] == "before":
    os.register_at_fork(after_in_child=run_dies)  # called before the hook that is registered next
else:
    class Libc:
        prctl = run_dies
    parent_process._LIBC = Libc
local_run.end_steps_with_this_process()
if os.fork() == 0:
    print("the step goes on", flush=True)
    os._exit(0)
os.wait()
"""
"""A run that is killed just after it forked a step, before the kernel knows whose the step is."""


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_step_whose_run_is_gone_before_the_kernel_knows_of_it_ends(when: str) -> None:
    assert output_of(PROGRAM, when) == ""


GRANDCHILD = """
import os, signal, sys, threading, time
from dasd_assets.running import local_run

local_run.end_steps_with_this_process()
if os.fork() == 0:  # a step
    def start():
        global child
        child = os.fork()
        if child == 0:
            time.sleep(0.2)
            print("what the step forked goes on", flush=True)
            os._exit(0)
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()  # the thread that forked is gone
    os.waitpid(child, 0)
    os._exit(0)
os.wait()
"""


def test_what_a_step_forks_in_its_turn_is_left_to_it() -> None:
    assert output_of(GRANDCHILD) == "what the step forked goes on"


def output_of(program: str, *arguments: str) -> str:
    """What a program and all that it forks print, until the last of them has ended."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, text=True, check=False,
    ).stdout.strip()  # fmt: skip


def test_what_steps_are_forked_from_touches_no_gpu() -> None:
    """Else CUDA would have chosen its GPUs before the step says which ones it holds."""
    program = (
        "import importlib, torch\n"
        "asked = []\n"
        "for name in ('is_available', 'device_count', 'init', '_lazy_init'):\n"
        "    setattr(torch.cuda, name, lambda *a, name=name: asked.append(name) or 0)\n"
        "from dasd_assets.running.local_run import PRELOADED\n"
        "for module in ('dasd_assets.definitions', PRELOADED): importlib.import_module(module)\n"
        "print(asked)"
    )
    assert printed(program) == "[]"


def test_a_library_that_is_missing_leaves_the_others_and_the_garbage_collector() -> None:
    """Runs are forked from it: without a collector their memory would grow without a bound."""
    program = (
        "import gc, importlib, sys\n"
        "from dasd_assets.running import local_run\n"
        "local_run.LIBRARIES = ('no_such_library', 'wave')\n"
        "importlib.import_module(local_run.PRELOADED)\n"
        "print(gc.isenabled(), 'wave' in sys.modules)"
    )
    assert printed(program) == "True True"
