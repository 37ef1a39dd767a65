"""What changed between two releases: in one visitor's ten, and in all lists. DuckDB only, no Spark."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from pipeline import serving
from pipeline.config import PipelineError
from pipeline.recommend import Match, Recommendation, Recommender

SHOWN = 5  # titles of each kind that changes() names


class Change(NamedTuple):
    """A movie on one of two lists; rank, before: its place now and then, None where it is not on the list.

    what: 'new', 'gone', 'up', 'down' or 'same'; by: how many places it moved, 0 where it is on one list only.
    """

    movie_id: int
    title: str
    year: int | None
    rank: int | None
    before: int | None
    what: str
    by: int


class Comparison(NamedTuple):
    """Two answers to the same favourites. strangers: favourites that the other release does not know by that title."""

    favourites: list[Match]
    strangers: list[Match]
    now: list[Change]
    gone: list[Change]


def compare(now: Recommender, then: Recommender, favourites: list[int], k: int = 10) -> Comparison:
    """Return what two releases recommend for the favourites that both know: their first k, now and then.

    favourites: movie ids; ids that now does not know are passed over. A movie is the same where id and title are:
    ids of two data sets have nothing to do with each other. Raises PipelineError when a release cannot answer.
    """
    known = now.movies(favourites)
    titles_then = {movie.movie_id: movie.title for movie in then.movies(favourites)}
    shared = [movie for movie in known if titles_then.get(movie.movie_id) == movie.title]
    strangers = [movie for movie in known if movie not in shared]
    if not shared:
        return Comparison([], strangers, [], [])
    ids = [movie.movie_id for movie in shared]
    rows, rows_then = now.recommend(ids, k), then.recommend(ids, k)
    before = {(row.movie_id, row.title): row.rank for row in rows_then}
    here = {(row.movie_id, row.title) for row in rows}
    changes = [_change(row, row.rank, before.get((row.movie_id, row.title))) for row in rows]
    gone = [_change(row, None, row.rank) for row in rows_then if (row.movie_id, row.title) not in here]
    return Comparison(shared, strangers, changes, gone)


def changes(before: Path, after: Path) -> dict[str, Any]:
    """Return what changed in the lists from one release's folder to another's, ready for a manifest.

    since: the name of the first folder; n_lists: titles with a list in both; overlap: the mean share of the first ten
    of each that stayed, None without lists; n_new, n_gone: titles that came and went; and SHOWN at most of each: movers
    (movie_id, title, year, n_before, n_after: lists on whose first ten they stand, the greatest rise first), lists
    (overlap: those that changed the most), titles (what: 'new' or 'gone').
    Takes serving.BUILDER's memory. Raises PipelineError when a release cannot be read.
    """
    with (
        tempfile.TemporaryDirectory() as spill,
        duckdb.connect(config={**serving.BUILDER, "temp_directory": spill}) as connection,
    ):
        connection.execute("set enable_progress_bar = false")
        for name, folder in (("before", before), ("after", after)):
            try:
                database = serving.quoted(str(folder / serving.DATABASE))
                connection.execute(f"attach {database} as {name} (read_only)")
            except duckdb.Error as error:
                raise PipelineError(f"{folder}: cannot be compared ({str(error).splitlines()[0]})") from error

        def rows(name: str, **values: int) -> list[dict[str, Any]]:
            answer = connection.execute(serving.sql(f"changes/{name}"), values)
            columns = [column[0] for column in answer.description]
            return [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]

        connection.execute(serving.sql("changes/kept"))
        named_rows = {name: rows(name, n=SHOWN) for name in ("movers", "lists", "titles")}
        return {"since": before.name, **rows("summary")[0], **named_rows}


def changes_in_words(found: dict[str, Any]) -> str:
    """Return the figures of changes() in a line."""
    kept = "no lists in both" if found["overlap"] is None else f"{10 * found['overlap']:.1f} of 10 stay on a list"
    return f"{kept}, {found['n_new']:,} new titles, {found['n_gone']:,} gone, since {found['since']}"


def _change(row: Recommendation, rank: int | None, before: int | None) -> Change:
    if rank is None or before is None:
        return Change(row.movie_id, row.title, row.year, rank, before, "gone" if rank is None else "new", 0)
    what = "up" if rank < before else "down" if rank > before else "same"
    return Change(row.movie_id, row.title, row.year, rank, before, what, abs(rank - before))
