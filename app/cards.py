"""Recommendations as cards: HTML of our own with everything from the catalogue escaped, drawn by cards.js.

One component for all ten: a widget for every button of every card would keep server and browser much busier.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from zlib import crc32

import streamlit as st

from pipeline.serving.recommender import Because, Match, Recommendation, named

COMPONENT_KEY = "cards"
component = st.components.v2.component(
    COMPONENT_KEY, js=Path(__file__).with_name("cards.js").read_text(encoding="utf-8"), isolate_styles=False
)

# The hue of a drawn poster, in degrees, by the first genre that is here; others have their own.
HUES = {
    "Animation": 28, "Children": 40, "Comedy": 48, "Musical": 320, "Romance": 340, "Drama": 222, "Western": 20,
    "Adventure": 150, "Fantasy": 280, "Sci-Fi": 190, "Action": 5, "War": 80, "Horror": 355, "Thriller": 250,
    "Crime": 235, "Mystery": 265, "Film-Noir": 210, "Documentary": 170, "IMAX": 200,
}  # fmt: skip
SMALL_WORDS = {
    "the", "a", "an", "of", "and", "in", "on", "to", "le", "la", "les", "de", "der", "die", "das", "el", "il",
}  # fmt: skip
WORDS = [(0.8, "excellent"), (0.6, "very good"), (0.4, "good"), (0.2, "fair"), (0.0, "distant")]


def cards(html: Sequence[str], clicks: Mapping[str, Callable[[], None]]) -> None:
    """Draw cards.

    clicks: by the name of a card's button, the function to call after a click, before the page is drawn again.
    The function learns the film from movie_clicked().
    """
    component(key=COMPONENT_KEY, data=list(html), **{f"on_{name}_change": call for name, call in clicks.items()})


def movie_clicked(name: str) -> int | None:
    """Return the movie id of the button of this name that was clicked; None for what no button sends."""
    movie_id = st.session_state.get(COMPONENT_KEY, {}).get(name)
    return movie_id if isinstance(movie_id, int) else None


def card(
    row: Recommendation,
    strength: float | None,
    poster: str | None,
    explore: str,
    best: float = 5.0,
    hardly_rated: Collection[int] = (),
    praise: bool = True,
    buttons: Sequence[str] = (),
) -> str:
    """Return a card's HTML. strength: see Recommender.strengths, None where the favourites have no lists. poster: an
    image as a data: address, None for a drawn one. explore: where the title's own list is. best: the most stars there
    are. hardly_rated: the favourites whose lists come from what the titles are, not from people. praise: whether the
    strength is also put in words. buttons: of the card, see button()."""
    year = f'<span class="year">{row.year}</span>' if row.year else ""
    return (
        f'<article class="film" aria-label="{escape(named(row))}">{poster_image(row, poster)}<div class="about">'
        f'<h3><span class="rank">{row.rank}</span> {escape(row.title)} {year}</h3>'
        f'<p class="genres">{" · ".join(map(escape, row.genres)) or "no genres listed"}</p>'
        f"{match_bar(strength, praise)}"
        f'<p class="because">{because_of(row, hardly_rated)}</p>'
        f'<p class="facts">{" · ".join(facts(row, best))}</p>'
        f'<p class="facts links">{" · ".join(links(row, explore))}</p>'
        f'</div><div class="buttons">{"".join(buttons)}</div></article>'
    )


def button(
    name: str,
    row: Recommendation,
    says: str,
    *,
    icon_alone: bool = False,
    tip: str = "",
    disabled: bool = False,
    pressed: bool | None = None,
) -> str:
    """Return a button of a card, as HTML.

    name: see cards(). says: what the button does; a screen reader says it with the film's name. pressed: the state of
    a button that stays pressed, None for any other.
    """
    more = f' title="{escape(tip)}"' if tip else ""
    if disabled:
        more += " disabled"
    if pressed is not None:
        more += f' aria-pressed="{str(pressed).lower()}"'
    label = escape(f"{says}: {named(row)}")
    shown = "" if icon_alone else escape(says)
    return f'<button class="{name}" name="{name}" value="{row.movie_id}" aria-label="{label}"{more}>{shown}</button>'


def poster_image(row: Recommendation, poster: str | None) -> str:
    """Return the poster, or one drawn from the title's first letters in the colour of its genre."""
    if poster:
        return f'<img class="poster" alt="" src="{escape(poster)}">'
    drawn = crc32(row.genres[0].encode(errors="replace")) % 360 if row.genres else 222
    hue = next((HUES[genre] for genre in row.genres if genre in HUES), drawn)
    words = [word for word in row.title.split() if word.lower() not in SMALL_WORDS and word[0].isalnum()]
    initials = "".join(word[0] for word in words[:2]).upper() or "·"
    return f'<div class="poster drawn" style="--hue:{hue}" aria-hidden="true"><span>{escape(initials)}</span></div>'


def by_what_it_is(row: Recommendation, hardly_rated: Collection[int]) -> bool:
    """Tell whether no ratings tie a movie to its favourites, but genres and year alone; hardly_rated: see card."""
    return row.source == "neighbours" and all(because.movie_id in hardly_rated for because in row.because)


def match_bar(strength: float | None, praise: bool = True) -> str:
    """Return the strength as a bar, a percentage and, with praise, a word; nothing without one."""
    if strength is None:
        return ""
    percent = max(1, round(100 * strength))
    word = next(f"{word} match" for least, word in WORDS if strength >= least) if praise else "match"
    return (
        f'<p class="match" title="in units of the best match in the whole catalogue">'
        f'<span class="bar" aria-hidden="true"><i style="width:{percent}%"></i></span> {percent}% · {word}</p>'
    )


def because_of(row: Recommendation, hardly_rated: Collection[int] = ()) -> str:
    """Return in words, as HTML, why a movie is recommended; hardly_rated: see card."""

    def said(because: Because) -> str:
        share = f"&nbsp;{because.share:.0%}" if len(row.because) > 1 else ""
        by_what = ", by its genres and year" if because.movie_id in hardly_rated and row.source == "neighbours" else ""
        return f"<b>{escape(because.title)}</b>{share}{by_what}"

    shares = " · ".join(map(said, row.because[:4]))
    if len(row.because) > 4:
        shares += f" · and {len(row.because) - 4} more"
    if row.source == "neighbours":
        return f"Because you liked {shares}"
    if row.source == "genre popularity":
        return f"Much liked in the genres of {shares}"
    if row.source == "filter":
        return "Fits your filter; not tied to your favourites"
    return "Much liked by everyone; not tied to your favourites" if row.because else "Much liked by everyone"


def facts(row: Recommendation, best: float = 5.0) -> list[str]:
    """Return what is known about the title, as HTML: its length, how well and how often it was rated."""
    said = [length(row.runtime_minutes)] if row.runtime_minutes else []
    return [*said, rated(row, best)]


def rated(row: Recommendation | Match, best: float = 5.0) -> str:
    """Return how well and how often the title was rated."""
    people = "1 person" if row.n_ratings == 1 else f"{row.n_ratings:,} people"
    if row.mean_rating is not None:
        return f"★ {row.mean_rating:.1f} of {best:g} by {people}"
    return f"chosen by {people}" if row.n_ratings else "not rated yet"  # events have no stars


def links(row: Recommendation, explore: str) -> list[str]:
    """Return links to what there is about the title, as HTML; explore: see card."""
    addresses = {"Explore": explore}
    if row.imdb_id:
        addresses["IMDb"] = f"https://www.imdb.com/title/{row.imdb_id}/"
    if row.tmdb_id:
        addresses["TMDB"] = f"https://www.themoviedb.org/movie/{row.tmdb_id}"
    return [
        f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer" '
        f'aria-label="{name}: {escape(row.title)}">{name}</a>'
        for name, address in addresses.items()
    ]


def length(minutes: int) -> str:
    """Return a runtime as people say it: 45 min, 1 h 21 min; nothing for 0."""
    hours, rest = divmod(minutes, 60)
    parts = ((hours, f"{hours:,} h"), (rest, f"{rest} min"))
    return " ".join(text for number, text in parts if number > 0)
