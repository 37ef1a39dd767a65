"""What a visitor has chosen, as the words behind the page's address: a link gives the same list again."""

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.serving.steering import MAX_FAVOURITES, MAX_GENRE, MAX_GENRES, Steering

SEPARATOR = "~"  # between genres; one of the characters that need no escaping in an address
MAX_VALUE = 4000  # characters of one value that are looked at


class Choice(NamedTuple):
    """The favourites, movie ids in the order they were picked, and the steering."""

    favourites: tuple[int, ...] = ()
    steering: Steering = Steering()


def to_address(choice: Choice) -> dict[str, str]:
    """Return the parameters that from_address reads back; what is as it was at the beginning is left out."""
    steering = choice.steering
    years = f"{_text(steering.from_year)}-{_text(steering.to_year)}"
    parameters = {
        "likes": ",".join(map(str, choice.favourites)),
        "not": ",".join(map(str, steering.dislikes)),
        "genres": SEPARATOR.join(steering.genres),
        "without": SEPARATOR.join(steering.without_genres),
        "years": "" if years == "-" else years,
        "hidden": f"{steering.hidden:g}" if steering.hidden else "",
        "variety": f"{steering.variety:g}" if steering.variety else "",
        "surprise": str(steering.surprise or ""),
    }
    return {name: value for name, value in parameters.items() if value}


def from_address(parameters: Mapping[str, str]) -> Choice:
    """Return the choice that an address holds. It may come from anybody: what is malformed or out of its range is
    passed over, what is too long is cut; nothing raises."""
    text = {name: str(value)[:MAX_VALUE].encode(errors="ignore").decode() for name, value in parameters.items()}
    favourites = _ids(text.get("likes", ""))
    from_year, _, to_year = text.get("years", "").partition("-")
    return Choice(
        favourites,
        Steering(
            dislikes=tuple(movie for movie in _ids(text.get("not", "")) if movie not in favourites),
            genres=_genres(text.get("genres", "")),
            without_genres=_genres(text.get("without", "")),
            from_year=_number(from_year, 0, 9999, None),
            to_year=_number(to_year, 0, 9999, None),
            hidden=_fraction(text.get("hidden", ""), -1.0, 1.0),
            variety=_fraction(text.get("variety", ""), 0.0, 1.0),
            surprise=_number(text.get("surprise", ""), 0, 2**31 - 1, None) or 0,
        ),
    )


def _ids(text: str) -> tuple[int, ...]:
    numbers = (_number(part, 0, 2**31 - 1, None) for part in text.split(","))
    return tuple(dict.fromkeys(number for number in numbers if number is not None))[:MAX_FAVOURITES]


def _genres(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(genre for genre in text.split(SEPARATOR) if 0 < len(genre) <= MAX_GENRE))[:MAX_GENRES]


def _number(text: str, low: int, high: int, default: int | None) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high:
        return int(text)
    return default


def _fraction(text: str, low: float, high: float) -> float:
    with contextlib.suppress(ValueError):
        if low <= float(text) <= high:
            return float(text)
    return 0.0


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
