"""What the terminal shows: a console as wide as its reader, and results as tables."""

import os

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.serving.recommender import Match, Recommendation

FILE_WIDTH = 140  # columns where the output goes to a file or a pipe


def console(*, stderr: bool = False, terminal: bool | None = None) -> Console:
    """Return a console; terminal tells what the process cannot see for itself when its output passes through a pipe."""
    wide = Console(stderr=stderr, force_terminal=terminal)
    if not wide.is_terminal and "COLUMNS" not in os.environ:
        wide = Console(stderr=stderr, force_terminal=False, width=FILE_WIDTH)
    return wide


def table(headings: list[str], rows: list[tuple], title: str | None = None) -> Table:
    """Return rows as a table: text as it stands, never markup; numbers to the right; nothing for null."""
    drawn = Table(title=title and escape(title), title_justify="left")
    for heading, *column in zip(headings, *rows, strict=True):
        number = any(isinstance(value, int | float) for value in column)
        drawn.add_column(escape(heading), justify="right" if number else "left")
    for row in rows:
        drawn.add_row(*("" if value is None else escape(str(value)) for value in row))
    return drawn


def recommendations_table(favourites: list[str], rows: list[Recommendation]) -> Table:
    """Return recommendations as a table, with the favourites that brought each."""
    headings = ["", "title", "year", "genres", "because"]
    lines = [(row.rank, row.title, row.year, ", ".join(row.genres), _reason(row)) for row in rows]
    return table(headings, lines, f"Because you liked {' and '.join(favourites)}")


def matches_table(matches: list[Match]) -> Table:
    """Return search results as a table."""
    headings = ["id", "title", "year", "genres", "people", "match"]
    return table(
        headings,
        [(m.item_id or m.movie_id, m.title, m.year, ", ".join(m.genres), m.n_ratings, float(m.match)) for m in matches],
    )


def _reason(row: Recommendation) -> str:
    because = ", ".join(f"{reason.title} {reason.share:.0%}" for reason in row.because[:3])
    return because if row.source == "neighbours" else f"{row.source}{': ' if because else ''}{because}"
