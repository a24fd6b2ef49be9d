"""Tables on a terminal, and plain ones where there is none (a pipe, a file, a log)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 160
NOTHING = "–"


def console() -> Console:
    """Standard output as wide as it is; without colours where it is no terminal."""
    from rich.console import Console

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(width=columns, highlight=False, markup=False, emoji=False)


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], left: Iterable[int] = (0,)
) -> None:
    """Print rows under headers; None is a dash.

    Args:
        left: columns that are text; the others are numbers and stand to the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    style: dict[str, Any] = {"box": box.SIMPLE_HEAD} if out.is_terminal else {"box": None}
    table = Table(pad_edge=False, padding=(0, 2, 0, 0), **style)
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index in left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(NOTHING if cell is None else str(cell)) for cell in row))
    out.print(table)
