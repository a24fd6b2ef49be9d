"""Where a training program's progress goes: to Dagster through Pipes, or to the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str], None]


@contextmanager
def reporting() -> Iterator[Report]:
    """A function that reports one line; of several ranks only the first is heard.

    Launched by Dagster, lines go through the Pipes protocol into the run's log (`dagster_pipes`
    is the protocol's small client and brings no Dagster); by hand they are printed.
    """
    if os.environ.get("RANK", "0") != "0":
        yield lambda line: None
        return
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield lambda line: print(line, flush=True)
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        yield pipes.log.info
