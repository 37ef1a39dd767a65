"""Compare what two releases recommend to one visitor. DuckDB only, no Spark."""

from typing import NamedTuple

from pipeline.serving.recommender import Match, Recommendation, Recommender


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


def _change(row: Recommendation, rank: int | None, before: int | None) -> Change:
    if rank is None or before is None:
        return Change(row.movie_id, row.title, row.year, rank, before, "gone" if rank is None else "new", 0)
    what = "up" if rank < before else "down" if rank > before else "same"
    return Change(row.movie_id, row.title, row.year, rank, before, what, abs(rank - before))
