"""A kept engine for a step: the one that is there, or one that the step starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from resources.compute.gpu_lease import note_wait, wanted
from resources.engines.kept.place import KeptModel, Place, Running
from resources.engines.protocol import EngineUnavailableError

KEEPER = "resources.engines.kept.keeper"
SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_NOTICE = 30.0
"""Within which a keeper has noticed that a server is gone, and ended the others."""

Log = Callable[[str], None]


@dataclass
class Borrowed:
    """An engine that does not end for want of use before it is given back."""

    place: Place
    running: Running
    use: int

    def has_ended(self) -> bool:
        """Whether the engine is gone; waits until that is known of one that fails."""
        until = time.monotonic() + SECONDS_TO_NOTICE
        while self.place.is_alive():
            if time.monotonic() > until:
                return False
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return True

    def give_back(self) -> None:
        """Use it no more."""
        if self.use >= 0:
            os.close(self.use)
            self.use = -1


def borrow(place: Place, model: KeptModel, log: Log) -> Borrowed:
    """The engine of a place, started if it is not there.

    Of two steps that want the same one at once, one starts it and the other waits. Who comes later
    than a step that waits for its GPUs gets behind it.

    Raises:
        EngineUnavailableError: it did not start; the message has the end of its log.
    """

    def waiting() -> None:
        log(f"progress: waiting for another step that starts vLLM with {model.name}")

    with place.looking(waiting):
        return _join(place, model, log) or _start(place, model, log)


def _join(place: Place, model: KeptModel, log: Log) -> Borrowed | None:
    """The engine that is there; None as soon as there is none."""
    told = False
    while place.is_alive():
        running = place.running()
        is_wanted = running is not None and wanted(running.gpus)
        if running and not is_wanted and (use := place.use()) is not None:
            log(f"progress: vLLM runs with {model.name} already (process {running.pid})")
            return Borrowed(place, running, use)
        if is_wanted and not told:
            log("progress: waiting behind another step for free GPUs")
            told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return None


def _start(place: Place, model: KeptModel, log: Log) -> Borrowed:
    place.begin(model)
    log(f"progress: starting vLLM with {model.name}; {place.log(0)} has what it prints")
    while (use := place.use()) is None:  # the keeper of a step that was killed ends just now
        time.sleep(SECONDS_BETWEEN_LOOKS)
    try:
        with place.log("keeper").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", KEEPER, str(place.folder)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True, text=True,
            )  # fmt: skip
        with process:
            assert process.stdout
            for line in process.stdout:
                said, _, rest = line.rstrip("\n").partition(" ")
                if said == "waiting":
                    log(rest)
                elif said == "gpus":
                    began, seconds = map(float, rest.split())
                    note_wait(began, seconds)
        running = place.running()
        if running is None:
            raise EngineUnavailableError(
                f"vLLM did not start with {model.name} ({model.folder}). The end of its log "
                f"({place.folder}):\n{place.last_lines()}"
            )
        return Borrowed(place, running, use)
    except BaseException:
        os.close(use)
        raise
