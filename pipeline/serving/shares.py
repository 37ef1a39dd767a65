"""The quick way to recommendations: the rows and shares of recommend.sql, by a query without its fallback.

DuckDB plans a query at each call, and planning is most of a small query. This is the one exception to the rule that
a list has one definition, in pipeline/sql. tests/serving/test_recommender.py holds the two equal.
"""

from collections.abc import Callable, Sequence

Row = tuple[int, float, list[tuple[int, float]], str]  # movie_id, score, (favourite, share), source
Wanted = tuple[list[int], int]  # favourites, k
LISTED = "select request, movie_id, score, reasons from listed(?::int[][]) where score > 0"
FIRST_OF_ONE = f"{LISTED} order by score desc, movie_id limit ?::int"
FIRST_OF_EACH = f"""
    {LISTED}
    qualify row_number() over (partition by request order by score desc, movie_id) <= ?::int
    order by request, score desc, movie_id
"""


def first_rows(query: Callable[[str, list], list[tuple]], asked: Sequence[Wanted]) -> list[list[Row]]:
    """Return for each of these favourites and k the rows of the recommend macro, best first.

    query: runs a statement with parameters. A list without k movies, or without a favourite that has a list, comes
    back empty: the macro then falls back on popular movies.
    """
    longest = max(len(favourites) + k for favourites, k in asked)
    statement = FIRST_OF_ONE if len(asked) == 1 else FIRST_OF_EACH
    first: list[list[tuple]] = [[] for _ in asked]
    for request, *row in query(statement, [[favourites for favourites, _ in asked], longest]):
        first[request - 1].append(tuple(row))
    return [_best(rows, favourites, k) for rows, (favourites, k) in zip(first, asked, strict=True)]


def _best(rows: list[tuple], favourites: list[int], k: int) -> list[Row]:
    """Return the best k of what the listed macro has for these favourites, best first; nothing where they are fewer, or
    no favourite brought any."""
    rows = [row for row in rows if row[0] not in favourites][:k]
    if len(rows) < k or not any(reasons for *_, reasons in rows):
        return []
    found = []
    for movie_id, score, reasons in rows:
        weights = {r["favourite_id"]: r["weight"] for r in reasons or [] if r["weight"] > 0}
        total = sum(weights.values())
        order = sorted(weights, key=lambda favourite: (-weights[favourite], favourite))
        shares = [(favourite, weights[favourite] / total) for favourite in order]
        found.append((movie_id, score, shares, "neighbours" if shares else "popularity"))
    return found
