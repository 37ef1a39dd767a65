"""Asking a release: recommendations, one movie's list, and titles as people type them. DuckDB only, no Spark."""

import contextlib
import functools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import duckdb

from pipeline import sql
from pipeline.config import PipelineError
from pipeline.release import database
from pipeline.serving import shares
from pipeline.serving.batching import Batching
from pipeline.serving.shares import Row, Wanted
from pipeline.serving.steering import FILTERS, UNSTEERED, Steering, require_movie_ids
from pipeline.standings import Measure

SURE = 0.98  # match of a title that was typed in full, but for its article
CLEAR_LEAD = 0.05  # how far the best match must lead the next to be taken without asking
ARGUMENT_TYPES = {
    "dislikes": "int[]", "exclude": "int[]", "genres": "varchar[]", "without_genres": "varchar[]", "from_year": "int",
    "to_year": "int", "hidden": "double", "variety": "double", "surprise": "int",
}  # fmt: skip
REMEMBERED = 10_000  # movies that a Recommender remembers; each takes about a kilobyte
STRENGTHS = """
    select movie_id, score / max(score) over () as strength
    from listed([?::int[]])
    where movie_id != all(?::int[])
    qualify movie_id = any(?::int[]) and strength > 0 and reasons is not null
"""


class Titled(Protocol):
    """Whatever has a title and, perhaps, a year."""

    @property
    def title(self) -> str: ...

    @property
    def year(self) -> int | None: ...


class Because(NamedTuple):
    """A favourite that brought a recommendation, and its share of the score in (0, 1]."""

    movie_id: int
    title: str
    share: float


class Movie(NamedTuple):
    """What the movies table has about a title."""

    title: str
    year: int | None
    genres: list[str]
    n_ratings: int
    mean_rating: float | None
    imdb_id: str | None
    tmdb_id: int | None
    item_id: str
    runtime_minutes: int | None


Found = tuple[list[Row], dict[int, Movie]]


class Recommendation(NamedTuple):
    """One row of the recommend macro, where pipeline/sql/recommend.sql says what each field means, and what the
    movies table has about the title."""

    rank: int
    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    score: float
    because: list[Because]
    source: str
    n_ratings: int
    mean_rating: float | None
    imdb_id: str | None
    tmdb_id: int | None
    item_id: str | None = None
    runtime_minutes: int | None = None


class Neighbour(NamedTuple):
    """One row of the similar macro but for item_id; share: its similarity in units of the first one's, 0 to 1."""

    rank: int
    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    similarity: float
    share: float


class FilterChoices(NamedTuple):
    """What a visitor can filter by: genres, those with the most titles first, and the first and the last year."""

    genres: list[str]
    first_year: int
    last_year: int
    n_movies: int


class Match(NamedTuple):
    """One row of the search_movies macro."""

    rank: int
    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    n_ratings: int
    match: float
    item_id: str | None = None  # of releases that have it
    mean_rating: float | None = None  # from Recommender.movies alone


class MapPlace(NamedTuple):
    """One row of pipeline/sql/places.sql, which says what each field means."""

    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    n_ratings: int
    x: float
    y: float
    genre: str


class AmbiguousTitleError(PipelineError):
    """A title that several movies answer to; candidates holds them, best first."""

    def __init__(self, text: str, candidates: list[Match]) -> None:
        self.text, self.candidates = text, candidates
        super().__init__(
            f"'{text}' could be several titles; name one with its year, or as id:ID"
            if candidates
            else f"no title like '{text}' in this catalogue; try `python -m pipeline search` with fewer words"
        )


class Recommender:
    """One release, opened for reading. Threads may share it: every call uses a cursor of its own.

    Planning takes most of the time of a small query, and DuckDB keeps no plan of a query that reads tables. So the
    quick way to a recommendation is two small queries in place of the recommend macro, and the macro for the rest; and
    one query answers what threads ask at the same time.
    """

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """folder: of a release, see store.release_dir(). connection: of its serving.duckdb, opened by default.

        Raises PipelineError when the database cannot be opened.
        """
        self.release_id = folder.name
        self.folder = folder
        self.file = self._database()  # see there
        self._connection = connection or database.connect(folder)
        self._known: dict[int, Movie] = {}
        self._quick: Batching[Wanted, Found] = Batching()

    def close(self) -> None:
        """Close the database; the release's files are then free to go."""
        self._connection.close()

    def replaced(self) -> bool:
        """Tell whether serving.duckdb is another file by now, or was written to, since it was opened."""
        return self._database() not in (self.file, None)

    def _database(self) -> tuple[int, int] | None:
        """Return which file serving.duckdb is, by its inode and the time of its last change; None without one."""
        with contextlib.suppress(OSError):
            found = (self.folder / database.DATABASE).stat()
            return found.st_ino, found.st_mtime_ns
        return None

    def recommend(self, favourites: list[int], k: int = 10, steering: Steering = UNSTEERED) -> list[Recommendation]:
        """Return at most k movies that go with the favourites, best first; without favourites the popular ones.

        favourites: movie ids; unknown ones are passed over, the favourites themselves never come back.
        Raises PipelineError for more than 50 favourites or dislikes, a k outside 1 to 1000, a steering that is out of
        its ranges, and movies to exclude from a release that is older than the exclusion.
        """
        require_movie_ids(favourites, "favourites")
        k = _checked_length(k)
        arguments = steering.changes()
        rows, movies = ([], {}) if arguments else self._quick.ask((favourites, k), self._by_lists)
        if not rows:
            rows = self._by_macro(favourites, k, arguments)
            movies = self._movies(_named_in(rows))
        found = []
        for rank, (movie_id, score, reasons, source) in enumerate(rows, 1):
            because = [Because(favourite, movies[favourite].title, share) for favourite, share in reasons]
            movie = movies[movie_id]
            found.append(
                Recommendation(
                    rank=rank,
                    movie_id=movie_id,
                    score=score,
                    because=because,
                    source=source,
                    **movie._asdict(),
                )
            )
        return found

    def _by_lists(self, asked: Sequence[Wanted]) -> list[Found]:
        """Return for each of these favourites and k what the recommend macro does where the lists give k movies, and
        no rows where it would fall back; and the movies that are in any of the rows."""
        found = shares.first_rows(self._rows, asked)
        movies = self._movies(set().union(*map(_named_in, found)))
        return [(rows, movies) for rows in found]

    def _by_macro(self, favourites: list[int], k: int, arguments: dict[str, Any]) -> list[Row]:
        call = ", ".join(["recommend(?::int[]", "k := ?::int", *_placeholders(arguments)])
        statement = f"select movie_id, score, because, source from {call}) order by rank"
        rows = self._rows(statement, [favourites, k, *arguments.values()])
        return [
            (movie_id, score, [(reason["movie_id"], reason["share"]) for reason in because], source)
            for movie_id, score, because, source in rows
        ]

    def _movies(self, movie_ids: Collection[int]) -> dict[int, Movie]:
        """Return what the catalogue has about these movies, without those that it does not know."""
        found = {movie_id: movie for movie_id in movie_ids if (movie := self._known.get(movie_id))}
        if asked := [movie_id for movie_id in movie_ids if movie_id not in found]:
            columns = "movie_id, title, year, genres, n_ratings, mean_rating, imdb_id, tmdb_id"
            columns += f", {self._newer['item_id']}, {self._newer['runtime_minutes']}"
            query = f"select {columns} from movies where movie_id = any(?::int[])"
            read = {movie_id: Movie._make(movie) for movie_id, *movie in self._rows(query, [asked])}
            if len(self._known) > REMEMBERED:
                self._known.clear()
            self._known.update(read)
            found |= read
        return found

    def sql(self, favourites: list[int], k: int = 10, steering: Steering = UNSTEERED) -> str:
        """Return the query that recommend() answers, ready to paste where this release's serving.duckdb is open."""
        require_movie_ids(favourites, "favourites")
        given = [f"k := {_checked_length(k)}"]
        given += [f"{name} := {_literal(value)}" for name, value in steering.changes().items()]
        return f"from recommend({_literal(favourites)}, {', '.join(given)});"

    def strengths(
        self, favourites: list[int], rows: Sequence[Recommendation], steering: Steering = UNSTEERED
    ) -> dict[int, float]:
        """Return for each of these recommendations how well it goes with the favourites, in units of the title of the
        whole catalogue that goes with them best: 0 to 1. Movies that are on no favourite's list are left out."""
        if steering == UNSTEERED:  # the first is the best
            return {row.movie_id: row.score / rows[0].score for row in rows if row.source == "neighbours"}
        return dict(self._rows(STRENGTHS, [favourites, favourites, [row.movie_id for row in rows]]))

    def titles_left(self, steering: Steering) -> int:
        """Return how many movies of the catalogue the steering's filter leaves. Raises as recommend does."""
        filters = {name: value for name, value in steering.changes().items() if name in FILTERS}
        statement = f"select count(*) from eligible({', '.join(_placeholders(filters))})"
        return self._rows(statement, list(filters.values()))[0][0]

    def movies(self, movie_ids: list[int]) -> list[Match]:
        """Return these movies in the order given; ids that the catalogue does not know are passed over."""
        known = self._movies(movie_ids)
        rows = [(movie_id, known[movie_id]) for movie_id in movie_ids if movie_id in known]
        return [
            Match(
                rank=rank,
                movie_id=movie_id,
                title=movie.title,
                year=movie.year,
                genres=movie.genres,
                n_ratings=movie.n_ratings,
                match=1.0,
                item_id=movie.item_id,
                mean_rating=movie.mean_rating,
            )
            for rank, (movie_id, movie) in enumerate(rows, 1)
        ]

    def example(self, titles: list[str]) -> list[Match]:
        """Return the movies of these titles, or, in another catalogue than they were chosen for, its two best known."""
        with contextlib.suppress(AmbiguousTitleError):
            return [self.resolve(title) for title in titles]
        return self.movies([row.movie_id for row in self.recommend([], k=2)])

    def starters(self, k: int = 6) -> list[Match]:
        """Return k well-known titles that have little in common, to begin with."""
        rows = self.recommend([], k, Steering(variety=0.7))
        return self.movies([row.movie_id for row in rows])

    def catalogue(self) -> FilterChoices:
        """Return what the movies can be filtered by; years are 1900 to 2100 where no title has one."""
        each = "select unnest(genres) as genre from movies"
        genres = self._rows(f"select genre from ({each}) group by genre order by count(*) desc, genre", [])
        years = "select coalesce(min(year), 1900), coalesce(max(year), 2100), count(*) from movies"
        return FilterChoices([genre for (genre,) in genres], *self._rows(years, [])[0])

    def similar(self, movie_id: int, k: int = 10) -> list[Neighbour]:
        """Return the first k neighbours on the movie's own list; empty when it has none."""
        columns = "rank, movie_id, title, year, genres, similarity"
        rows = self._rows(f"select {columns} from similar(?::int, k := ?::int)", [movie_id, _checked_length(k)])
        best = max((similarity for *_, similarity in rows), default=0.0)
        return [
            Neighbour(rank, other, title, year, genres, similarity, max(similarity / best, 0.0) if best > 0 else 0.0)
            for rank, other, title, year, genres, similarity in rows
        ]

    def search(self, text: str, k: int = 10) -> list[Match]:
        """Return at most k movies whose title matches the text, best first; typos are forgiven."""
        rows = self._rows("from search_movies(?::varchar, k := ?::int)", [text[:200], _checked_length(k)])
        return [Match(*row) for row in rows]

    def resolve(self, text: str) -> Match:
        """Return the one movie that the text means: a title, a title with its year, or id: and its item_id.

        Raises AmbiguousTitleError, with the candidates, where the text fits several movies about equally well.
        """
        if text.startswith("id:"):
            query = f"select movie_id from movies where {self._newer['item_id']} = ?::varchar"
            found = self._rows(query, [text[3:].strip().encode(errors="replace").decode()])
            if not found:
                raise PipelineError(f"nothing in this catalogue has the id {text[3:]}"[:200])
            return self.movies([found[0][0]])[0]
        matches = self.search(text)
        if matches:
            best, rest = matches[0], matches[1:]
            lead = best.match - rest[0].match if rest else 1.0
            if lead >= CLEAR_LEAD or (best.match >= SURE and lead > 0):
                return best
        raise AmbiguousTitleError(text, matches)

    def places(self, genres: int = 8) -> list[MapPlace]:
        """Return the map of the catalogue, better-known titles first; empty when the release has none.

        genres: so many get a colour of their own.
        """
        # there are releases from before there were maps
        return [MapPlace(*row) for row in self._rows(sql.statement("places"), [genres], missing_ok=True)]

    def measures(self) -> list[Measure]:
        """Return the rows of the metrics table; empty when the release was not evaluated."""
        return [Measure(*row) for row in self._rows("from metrics", [], missing_ok=True)]

    def item_ids(self, movie_ids: list[int]) -> dict[int, str]:
        """Return movie_id -> item_id of those movies that the catalogue knows."""
        return {movie_id: movie.item_id for movie_id, movie in self._movies(movie_ids).items()}

    @functools.cached_property
    def _newer(self) -> dict[str, str]:
        """How to read those columns of movies that releases from before there were some do not have."""
        names = "select column_name from duckdb_columns() where table_name = 'movies'"
        known = {name for (name,) in self._rows(names, [])}
        otherwise = {"item_id": "movie_id::varchar", "runtime_minutes": "null"}
        return {name: name if name in known else other for name, other in otherwise.items()}

    def _rows(self, statement: str, parameters: list, *, missing_ok: bool = False) -> list[tuple]:
        """Return the statement's rows. missing_ok: none where the release has no such table."""
        try:
            return self._connection.cursor().execute(statement, parameters).fetchall()
        except duckdb.Error as error:
            if missing_ok and isinstance(error, duckdb.CatalogException):
                return []
            if isinstance(error, duckdb.ConnectionException):
                raise PipelineError(f"{self.release_id}: this release has been closed; ask again") from error
            raise PipelineError(
                f"{self.release_id}: this release cannot answer ({str(error).splitlines()[0]}); it is damaged or "
                "was made by another version: go back with `python -m pipeline rollback`, or run ./spark-submit.sh"
            ) from error


def named(movie: Titled) -> str:
    """Return a movie's title with its year, as people write it."""
    return f"{movie.title} ({movie.year})" if movie.year else movie.title


def _named_in(rows: list[Row]) -> set[int]:
    """Return the movies that these rows recommend, and the favourites that brought them."""
    return {movie_id for movie_id, *_ in rows}.union(favourite for row in rows for favourite, _ in row[2])


def _placeholders(arguments: dict[str, Any]) -> list[str]:
    """Return a macro's named arguments with a place for each value."""
    return [f"{name} := ?::{ARGUMENT_TYPES[name]}" for name in arguments]


def _literal(value: Any) -> str:
    """Return a value as DuckDB's SQL writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def _checked_length(k: int) -> int:
    if not isinstance(k, int) or not 1 <= k <= 1000:
        raise PipelineError(f"k must lie between 1 and 1000, not {k!r}"[:200])
    return int(k)  # True is 1 to Python, and no number to SQL
