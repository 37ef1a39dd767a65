"""Asking a release: recommendations, one movie's list, and titles as people type them. DuckDB only, no Spark."""

from pathlib import Path
from typing import NamedTuple

import duckdb

from pipeline import serving
from pipeline.config import PipelineError

SURE = 0.98  # match of a title that was typed in full, but for its article
CLEAR_LEAD = 0.05  # how far the best match must lead the next to be taken without asking
MAX_FAVOURITES = 50


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
    """One release, opened for reading. Threads may share it: every call uses a cursor of its own."""

    def __init__(self, folder: Path) -> None:
        """folder: a release's folder, see release.release_dir. Raises PipelineError when it cannot be opened."""
        self.release_id = folder.name
        self._connection = serving.connect(folder)

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
        rows = self._rows("from recommend(?::int[], k := ?::int)", [favourites, _checked_length(k)])
        return [
            Recommendation(*row, [Because(**reason) for reason in because], source) for *row, because, source in rows
        ]

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
