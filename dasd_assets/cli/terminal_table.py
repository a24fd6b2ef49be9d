"""Tables on a terminal, and plain ones where there is none (a pipe, a file, a log)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH_WITHOUT_TERMINAL = 160
NOTHING = "–"


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Any]],
    left: Iterable[int] = (0,),
    folded: Iterable[int] = (),
    least: int = 80,
) -> None:
    """Print rows under headers; None is a dash, and a column without any value is left out.

    Args:
        left: columns that are text; the others are numbers and stand to the right.
        folded: columns of long text, which may take several lines.
        least: columns that the table needs, however narrow the terminal is.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    out = Console(width=max(columns, least), highlight=False, markup=False, emoji=False)
    style: dict[str, Any] = {"box": box.SIMPLE_HEAD} if out.is_terminal else {"box": None}
    cells = [[NOTHING if cell is None else str(cell) for cell in row] for row in rows]
    shown = [index for index in range(len(headers)) if any(row[index] for row in cells)]
    table = Table(pad_edge=False, padding=(0, 2, 0, 0), **style)
    for index in shown:
        table.add_column(
            headers[index],
            justify="left" if index in left else "right",
            overflow="fold",
            no_wrap=index not in folded,
        )
    for row in cells:
        table.add_row(*(Text(row[index]) for index in shown))
    out.print(table)
