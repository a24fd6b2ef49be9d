"""Imports the libraries of runs and steps, in a process that does nothing else than be forked.

The garbage collector would look through all that they make, over and over: a third of the time. Set
aside afterwards, it is looked through in no fork either, and the forks share its memory.
"""

from __future__ import annotations

import atexit
import gc
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from dasd_assets.running.local_run import LIBRARIES

gc.disable()
for library in LIBRARIES:
    with suppress(ImportError):  # told by the step that needs it
        import_module(library)
with TemporaryDirectory() as home:
    Path(home, "dagster.yaml").touch()  # without one Dagster says that there is none
    with dg.DagsterInstance.local_temp(home):
        pass  # reads the revisions of the records' schema, which every run and step would read
gc.freeze()
gc.enable()
atexit.register(gc.unfreeze)  # else triton takes at the end what is frozen for leaked
