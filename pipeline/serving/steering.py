"""How a visitor steers a list: dislikes, filters and controls."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from pipeline.config import PipelineError

MAX_FAVOURITES = 50
MAX_EXCLUDED = 10_000  # such as all that somebody has seen
FILTERS = ("genres", "without_genres", "from_year", "to_year")
MAX_GENRES = 100  # in a filter
MAX_GENRE = 100  # characters of a genre in a filter


@dataclasses.dataclass(frozen=True)
class Steering:
    """How a visitor steers; pipeline/sql/steered.sql says what each field does. The default steers nowhere.

    Raises PipelineError for more than 50 dislikes, more than MAX_EXCLUDED excluded movies or 100 genres, and a number
    out of its range.
    """

    dislikes: tuple[int, ...] = ()
    genres: tuple[str, ...] = ()
    without_genres: tuple[str, ...] = ()
    from_year: int | None = None
    to_year: int | None = None
    hidden: float = 0.0
    variety: float = 0.0
    surprise: int = 0
    exclude: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require_movie_ids(self.dislikes, "dislikes")
        require_movie_ids(self.exclude, "excluded movies", MAX_EXCLUDED)
        for name, genres in (("genres", self.genres), ("without_genres", self.without_genres)):
            texts = all(isinstance(genre, str) and len(genre) <= MAX_GENRE for genre in genres)
            if len(genres) > MAX_GENRES or not texts:
                raise PipelineError(f"{name}: at most {MAX_GENRES} genres of at most {MAX_GENRE} characters")
        _require_number("from_year", self.from_year, -9999, 9999, int)
        _require_number("to_year", self.to_year, -9999, 9999, int)
        _require_number("hidden", self.hidden, -1, 1, int | float)
        _require_number("variety", self.variety, 0, 1, int | float)
        _require_number("surprise", self.surprise, 0, 2**31 - 1, int)

    def changes(self) -> dict[str, Any]:
        """Return the fields that steer, by name, tuples as lists: the named arguments of the macro."""
        given = {name: value for name, value in vars(self).items() if value != getattr(type(self), name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    def filters(self) -> bool:
        """Tell whether titles are left out by their genres or years."""
        return any(name in FILTERS for name in self.changes())


def require_movie_ids(movie_ids: Sequence[int], what: str, most: int = MAX_FAVOURITES) -> None:
    """Raise PipelineError for more than so many movie ids, and for an id that is no 32-bit integer."""
    if len(movie_ids) > most:
        raise PipelineError(f"{len(movie_ids)} {what} are too many; name at most {most}")
    if not all(isinstance(movie_id, int) and abs(movie_id) < 2**31 for movie_id in movie_ids):
        raise PipelineError(f"{what} are movie ids, whole numbers below 2^31")


def _require_number(name: str, value: Any, low: int, high: int, kind: Any) -> None:
    if value is None and kind is int and name.endswith("year"):
        return
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        raise PipelineError(f"{name} must lie between {low} and {high}, not {value!r}"[:200])


UNSTEERED = Steering()
