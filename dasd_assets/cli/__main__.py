"""The program `dasd`, which is also `python -m dasd_assets.cli`."""

from __future__ import annotations

import gc

OBJECTS_UNTIL_COLLECTION = 1_000_000
"""A command that looks at something ends before. With Python's 700, a tenth of its time goes into
looking through what imports have made, which stays."""


def dasd() -> None:
    """Run one command."""
    gc.set_threshold(OBJECTS_UNTIL_COLLECTION)
    # After that, as all that is imported is in there.
    from dasd_assets.cli.main import app

    app()


if __name__ == "__main__":
    dasd()
