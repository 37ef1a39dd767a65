"""What the terminal shows: a console as wide as its reader, and results as tables."""

import os

from rich.console import Console
from rich.markup import escape
from rich.table import Table

FILE_WIDTH = 140  # columns where the output goes to a file or a pipe


def console(*, stderr: bool = False, terminal: bool | None = None) -> Console:
    """Return a console; terminal: whether the output ends in one, which a process cannot see through a pipe."""
    wide = Console(stderr=stderr, force_terminal=terminal)
    if not wide.is_terminal and "COLUMNS" not in os.environ:
        wide = Console(stderr=stderr, force_terminal=False, width=FILE_WIDTH)
    return wide


def table(headings: list[str], rows: list[tuple], title: str | None = None) -> Table:
    """Return rows as a table: text is never markup; numbers to the right; nothing for null."""
    drawn = Table(title=title and escape(title), title_justify="left")
    for heading, *column in zip(headings, *rows, strict=True):
        number = any(isinstance(value, int | float) for value in column)
        drawn.add_column(escape(heading), justify="right" if number else "left")
    for row in rows:
        drawn.add_row(*("" if value is None else escape(str(value)) for value in row))
    return drawn
