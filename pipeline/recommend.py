"""Asking a release: recommendations, one movie's list, and titles as people type them. DuckDB only, no Spark."""

from pathlib import Path
from typing import NamedTuple

import duckdb

from pipeline import serving
from pipeline.config import PipelineError

SURE = 0.98  # match of a title that was typed in full, but for its article
CLEAR_LEAD = 0.05  # how far the best match must lead the next to be taken without asking
MAX_FAVOURITES = 50
BY_LISTS = """
    select movie_id, score, reasons from listed(?::int[][])
    where score > 0 order by score desc, movie_id limit ?::int
"""


class Because(NamedTuple):
    """A favourite that brought a recommendation, and its share of the score in (0, 1]."""

    movie_id: int
    title: str
    share: float


class Recommendation(NamedTuple):
    """One row of the recommend macro; pipeline/sql/recommend.sql says what each field means."""

    rank: int
    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    score: float
    because: list[Because]
    source: str


class Neighbour(NamedTuple):
    """One row of the similar macro."""

    rank: int
    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    similarity: float


class Match(NamedTuple):
    """One row of the search_movies macro."""

    rank: int
    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    n_ratings: int
    match: float


class AmbiguousTitleError(PipelineError):
    """A title that several movies answer to; candidates holds them, best first."""

    def __init__(self, text: str, candidates: list[Match]) -> None:
        self.text, self.candidates = text, candidates
        super().__init__(
            f"'{text}' could be several movies; name one with its year, or as id:MOVIE_ID"
            if candidates
            else f"no title like '{text}' in this catalogue; try `python -m pipeline search` with fewer words"
        )


class Recommender:
    """One release, opened for reading. Threads may share it: every call uses a cursor of its own.

    Planning takes most of the time of a small query, and DuckDB keeps no plan of a query that reads tables. So the
    quick way to a recommendation is two small queries in place of the recommend macro, and the macro for the rest.
    """

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """folder: a release's folder, see release.release_dir. connection: see serving; serving.duckdb by default.

        Raises PipelineError when the database cannot be opened.
        """
        self.release_id = folder.name
        self._connection = connection or serving.connect(folder)

    def close(self) -> None:
        """Close the database; the release's files are then free to go."""
        self._connection.close()

    def recommend(self, favourites: list[int], k: int = 10) -> list[Recommendation]:
        """Return at most k movies that go with the favourites, best first; without favourites the popular ones.

        favourites: movie ids; unknown ones are passed over, the favourites themselves never come back.
        Raises PipelineError for more than 50 favourites or a k outside 1 to 1000.
        """
        if len(favourites) > MAX_FAVOURITES:
            raise PipelineError(f"{len(favourites)} favourites are too many; name at most {MAX_FAVOURITES}")
        k = _checked_length(k)
        return self._by_lists(favourites, k) or self._with_fallbacks(favourites, k)

    def _by_lists(self, favourites: list[int], k: int) -> list[Recommendation]:
        """Return what the recommend macro does where the lists give k movies; nothing where it would fall back."""
        rows = self._rows(BY_LISTS, [[favourites], k + len(favourites)])
        rows = [row for row in rows if row[0] not in favourites][:k]
        if len(rows) < k or not any(reasons for *_, reasons in rows):
            return []
        titles = self._titles({movie for movie, *_ in rows}.union(favourites))
        found = []
        for rank, (movie_id, score, reasons) in enumerate(rows, 1):
            weights = {r["favourite_id"]: r["weight"] for r in reasons or [] if r["weight"] > 0}
            total = sum(weights.values())
            because = [
                Because(favourite, titles[favourite][0], weights[favourite] / total)
                for favourite in sorted(weights, key=lambda favourite: (-weights[favourite], favourite))
            ]
            title, year, genres = titles[movie_id]
            source = "neighbours" if because else "popularity"
            found.append(Recommendation(rank, movie_id, title, year, genres, score, because, source))
        return found

    def _with_fallbacks(self, favourites: list[int], k: int) -> list[Recommendation]:
        rows = self._rows("from recommend(?::int[], k := ?::int)", [favourites, k])
        return [
            Recommendation(*row, [Because(**reason) for reason in because], source) for *row, because, source in rows
        ]

    def _titles(self, movie_ids: set[int]) -> dict[int, list]:
        """Return title, year and genres of the movies that the catalogue knows."""
        query = "select movie_id, title, year, genres from movies where movie_id = any(?::int[])"
        return {movie_id: movie for movie_id, *movie in self._rows(query, [list(movie_ids)])}

    def similar(self, movie_id: int, k: int = 10) -> list[Neighbour]:
        """Return the first k neighbours on the movie's own list; empty when it has none."""
        rows = self._rows("from similar(?::int, k := ?::int)", [movie_id, _checked_length(k)])
        return [Neighbour(*row) for row in rows]

    def search(self, text: str, k: int = 10) -> list[Match]:
        """Return at most k movies whose title matches the text, best first; typos are forgiven."""
        rows = self._rows("from search_movies(?::varchar, k := ?::int)", [text[:200], _checked_length(k)])
        return [Match(*row) for row in rows]

    def resolve(self, text: str) -> Match:
        """Return the one movie that the text means: a title, a title with its year, or id:MOVIE_ID.

        Raises AmbiguousTitleError, with the candidates, where the text fits several movies about equally well.
        """
        if text.startswith("id:") and text[3:].isdigit():
            columns = "1, movie_id, title, year, genres, n_ratings, 1.0"
            rows = self._rows(f"select {columns} from movies where movie_id = try_cast(? as int)", [text[3:]])
            if not rows:
                raise PipelineError(f"no movie has the id {text[3:]} in this catalogue")
            return Match(*rows[0])
        matches = self.search(text)
        if matches:
            best, rest = matches[0], matches[1:]
            lead = best.match - rest[0].match if rest else 1.0
            if lead >= CLEAR_LEAD or (best.match >= SURE and lead > 0):
                return best
        raise AmbiguousTitleError(text, matches)

    def query(self, statement: str) -> tuple[list[str], list[tuple]]:
        """Run any SELECT of an analyst and return column names and rows. Raises PipelineError with DuckDB's words."""
        try:
            cursor = self._connection.cursor().execute(statement)
            return [column[0] for column in cursor.description or []], cursor.fetchall()
        except duckdb.Error as error:
            raise PipelineError(f"sql: {str(error).splitlines()[0]}") from error

    def _rows(self, statement: str, parameters: list) -> list[tuple]:
        return self._connection.cursor().execute(statement, parameters).fetchall()


def named(movie: Match) -> str:
    """Return a movie's title with its year, as people write it."""
    return f"{movie.title} ({movie.year})" if movie.year else movie.title


def _checked_length(k: int) -> int:
    if not 1 <= k <= 1000:
        raise PipelineError(f"k must lie between 1 and 1000, not {k}")
    return k
