"""Recommendations and search results as tables for the terminal."""

from rich.table import Table

from pipeline.serving.recommender import Match, Recommendation
from pipeline.terminal import table


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
