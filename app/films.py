"""The page for visitors: search for titles, pick favourites, get ten with reasons, and steer."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import streamlit as st

from app import keep, steer
from app.address import Choice, from_address, to_address
from app.cards import button, by_what_it_is, card, cards, movie_clicked
from app.posters import posters
from app.search import SUGGESTIONS, search
from app.shared import NOTHING, live_release, plain, settings, word
from pipeline.config import PipelineError
from pipeline.release.manifest import read_manifest
from pipeline.serving.recommender import FilterChoices, Match, Recommendation, Recommender, named
from pipeline.serving.steering import MAX_FAVOURITES, UNSTEERED, Steering

DRAWN_AT_ONCE = 2
PATIENCE = 10  # seconds that a visitor waits for a turn before an error says so
LIST_LENGTH = 10
FULL = f"{MAX_FAVOURITES} are the limit: take one back first"
UNLIKE_A_THUMB = (
    "It goes from your list, and what is like it moves down. A thumb changes nothing on your list: it tells us whether "
    "the tip was good."
)
NAMES = f"<script>{Path(__file__).with_name('names.js').read_text(encoding='utf-8')}</script>"


def page() -> None:
    """Draw the page, when it is its turn."""
    if not turns().acquire(timeout=PATIENCE):
        st.info("Many people are here just now. Please try again in a moment.", icon=NOTHING)
        st.button("Try again")
        return
    try:
        draw()
    finally:
        turns().release()


@st.cache_resource(show_spinner=False)
def turns() -> threading.BoundedSemaphore:
    """Return what lets in a few visitors at a time. Python's threads share one processor: drawn all at once, fifty
    pages would all be ready with the last; in turn, half of them are in half of the time."""
    return threading.BoundedSemaphore(DRAWN_AT_ONCE)


@contextlib.contextmanager
def out_of_turn() -> Iterator[None]:
    """Let another visitor in for a while: who waits for posters needs no processor."""
    turns().release()
    try:
        yield
    finally:
        turns().acquire()


def draw() -> None:
    """Draw the page."""
    recommender = live_release()
    catalogue = catalogue_of(recommender, recommender.release_id)
    arrives = "address" not in st.session_state
    begin(recommender, catalogue)
    st.title(f"Ten {word().items} for you")
    favourites, dislikes = st.session_state.favourites, st.session_state.dislikes
    full = f"{MAX_FAVOURITES} favourites are the limit: take one off the list first"
    full = full if len(favourites) >= MAX_FAVOURITES else ""
    label, taken = f"{word().Items} you love", [*favourites, *dislikes]
    search(label, pick, icon=":material/add:", taken=taken, full=full)
    with st.container():  # however much is in it, what follows keeps its place, and stays open
        loved = picked(recommender)
    controls = "Steer: genres, years, hidden gems, variety"
    with st.expander(controls, icon=":material/tune:", expanded=st.session_state.steers):
        steer.controls(catalogue)
    choice = steer.chosen(catalogue)
    st.session_state.address = to_address(choice)
    # Where a link led here with this address, sent again it may reach a browser that is still on the other page.
    if not arrives or st.query_params.to_dict() != st.session_state.address:
        st.query_params.from_dict(st.session_state.address)
    films(recommender, choice, catalogue, loved)
    st.caption(f"Release {recommender.release_id}. {plain(settings().page.credit)}")
    st.html(NAMES, unsafe_allow_javascript=True)


@st.cache_data(max_entries=4, show_spinner=False)
def catalogue_of(_recommender: Recommender, release_id: str) -> FilterChoices:
    """Return what a release can be filtered by."""
    return _recommender.catalogue()


@st.cache_data(max_entries=4, show_spinner=False)
def starters_of(_recommender: Recommender, release_id: str) -> list[Match]:
    """Return a release's titles to begin with."""
    return _recommender.starters(SUGGESTIONS)


# Whoever comes without favourites gets the same list, and a thumb leaves it as it is.
@st.cache_data(max_entries=100, show_spinner=False)
def list_of(
    _recommender: Recommender, file: tuple[int, int] | None, favourites: tuple[int, ...], steering: Steering
) -> list[Recommendation]:
    """Return a release's films for these favourites. file: of its database, as a damaged one may be replaced."""
    return _recommender.recommend(list(favourites), LIST_LENGTH, steering)


@st.cache_data(max_entries=4, show_spinner=False)
def enough_ratings(folder: str) -> int:
    """Return how many ratings a title of a release needs for people to count in its list, as far as that is known."""
    with contextlib.suppress(PipelineError, KeyError, TypeError):
        return max(1, read_manifest(Path(folder))["config"]["neighbours"]["min_support"])
    return 1


def begin(recommender: Recommender, catalogue: FilterChoices) -> None:
    """On a first visit, and where a link or the browser's Back led here, take the choice from the address; under a new
    release take it along as far as it goes."""
    state, address = st.session_state, st.query_params.to_dict()
    # A browser that went back sends an address and no click. A click may be quicker than the address that the one
    # before it led to: what the browser then sends was left behind, and nothing is taken from it.
    clicked = state.pop(keep.ASKED_TO_KEEP, False)
    clicked = clicked or ("address" in state and to_address(steer.chosen(state.catalogue)) != state.address)
    led_here = "address" not in state or (address != state.address and not clicked)  # from another page, or back
    if "catalogue" not in state:
        choice = keep.opened() or from_address(address)
    elif led_here and keep.PARAMETER not in address:
        choice = from_address(address)
    elif state.release_id != recommender.release_id:
        choice = steer.chosen(state.catalogue)
    else:
        return
    known = {movie.movie_id for movie in recommender.movies([*choice.favourites, *choice.steering.dislikes])}
    if unknown := [movie for movie in choice.favourites if movie not in known]:
        are = "is" if len(unknown) == 1 else "are"
        st.toast(f"{len(unknown)} of your favourites {are} not in this catalogue.", icon=":material/info:")
    dislikes = tuple(movie for movie in choice.steering.dislikes if movie in known)
    favourites = tuple(movie for movie in choice.favourites if movie in known)
    steer.remember(Choice(favourites, dataclasses.replace(choice.steering, dislikes=dislikes)), catalogue)
    state.catalogue, state.release_id = catalogue, recommender.release_id
    state.steers = steered(choice)


def steered(choice: Choice) -> bool:
    """Tell whether the visitor steers by more than dislikes."""
    return dataclasses.replace(choice.steering, dislikes=()) != UNSTEERED


def pick(movie_id: int) -> None:
    """Make the movie a favourite."""
    favourites, dislikes = st.session_state.favourites, st.session_state.dislikes
    if movie_id not in favourites and len(favourites) < MAX_FAVOURITES:
        favourites.append(movie_id)
    if movie_id in dislikes:
        dislikes.remove(movie_id)


def clicked(name: str) -> Recommendation | None:
    """Return the film on whose card the button of this name was clicked; None where the visit shows no such card."""
    return st.session_state.shown.get(movie_clicked(name))


def more() -> None:
    """Make the film of a card a favourite, and say so: the favourites may be out of view."""
    if row := clicked("more"):
        pick(row.movie_id)
        st.toast(f"Added: {plain(named(row))}", icon=":material/add_circle:")


def dislike() -> None:
    """Count the list of a card's film against the films on it, and say so."""
    if row := clicked("less"):
        dislikes = st.session_state.dislikes
        if row.movie_id not in dislikes and len(dislikes) < MAX_FAVOURITES:
            dislikes.append(row.movie_id)
        st.toast(f"Gone: {plain(named(row))}", icon=":material/block:")


def picked(recommender: Recommender) -> list[Match]:
    """Draw the favourites and the dislikes as chips, a click takes one away; without any, titles to begin with. Return
    the favourites."""
    state = st.session_state
    movies = recommender.movies([*state.favourites, *state.dislikes])
    favourites = [movie for movie in movies if movie.movie_id in state.favourites]
    dislikes = [movie for movie in movies if movie.movie_id in state.dislikes]
    if favourites:
        with st.container(horizontal=True, key="favourites", gap="small"):
            for movie in favourites:
                st.button(
                    plain(named(movie)), key=f"drop-{movie.movie_id}", on_click=state.favourites.remove,
                    args=(movie.movie_id,), icon=":material/close:", help="Take it off your favourites",
                )  # fmt: skip
    else:
        st.markdown(f"Pick one or two {word().items} that you love, and get ten that go with them. For a start:")
        with st.container(horizontal=True, key="starters", gap="small"):
            for movie in starters_of(recommender, recommender.release_id):
                if movie.movie_id not in state.dislikes:
                    st.button(plain(named(movie)), key=f"start-{movie.movie_id}", on_click=pick,
                              args=(movie.movie_id,), icon=":material/add:")  # fmt: skip
            st.button("Show me an example", key="example", on_click=pick_example,
                      icon=":material/auto_awesome:")  # fmt: skip
    if dislikes:
        with st.container(horizontal=True, key="dislikes", gap="small", vertical_alignment="center"):
            st.caption("Not for you:", width="content")
            for movie in dislikes:
                st.button(
                    plain(named(movie)), key=f"forgive-{movie.movie_id}", on_click=state.dislikes.remove,
                    args=(movie.movie_id,), icon=":material/undo:", type="tertiary", help="Take it back",
                )  # fmt: skip
    return favourites


def pick_example() -> None:
    """Pick the configured example favourites."""
    with contextlib.suppress(PipelineError):  # the page that is drawn next says it
        for movie in live_release().example(settings().example.favourites):
            pick(movie.movie_id)


def films(recommender: Recommender, choice: Choice, catalogue: FilterChoices, loved: list[Match]) -> None:
    """Draw the ten, what a filter leaves, and the query behind them. loved: the favourites."""
    rows = list_of(recommender, recommender.file, choice.favourites, choice.steering)
    heading(choice, len(rows))
    hints(recommender, choice, catalogue, len(rows))
    drawn(recommender, choice, rows, loved)
    query(recommender.sql(list(choice.favourites), LIST_LENGTH, choice.steering))


def heading(choice: Choice, n_rows: int) -> None:
    """Draw what the list is, and the buttons for the list as a whole."""
    favourites = choice.favourites
    with st.container(key="heading", horizontal=True, vertical_alignment="bottom", gap="small"):
        ten = f"Ten {word().items}" if n_rows == LIST_LENGTH else word().Items
        goes = f"{ten} that go with {'it' if len(favourites) == 1 else 'them'}"
        liked = "what some people like much" if choice.steering.hidden > 0 else "what most people like"
        st.subheader(goes if favourites else f"Meanwhile: {liked}")
        if favourites:
            st.button("Surprise me", icon=":material/casino:", on_click=steer.surprise, help="Another mix of what fits")
        if choice.steering.surprise:
            st.button("Back to the best", icon=":material/undo:", on_click=steer.surprise_no_more)
        if favourites or keep.is_open():
            keep.keep(choice)


def hints(recommender: Recommender, choice: Choice, catalogue: FilterChoices, n_rows: int) -> None:
    """Draw what a filter leaves, and what would make a short list longer."""
    if choice.steering.filters():
        left = recommender.titles_left(choice.steering)
        st.caption(f"{left:,} of {catalogue.n_movies:,} titles fit your filter.")
    if choice.steering.hidden > 0 and not choice.favourites:
        st.caption("Hidden gems are looked for on your favourites' lists: pick one or two first.")
    if n_rows < LIST_LENGTH:
        few = f"No {word().item} fits" if not n_rows else f"Only {n_rows} {'fits' if n_rows == 1 else 'fit'}"
        st.info(f"{few}. {steer.wider(choice.steering)}", icon=":material/filter_alt:")


def drawn(recommender: Recommender, choice: Choice, rows: list[Recommendation], loved: list[Match]) -> None:
    """Draw the cards, and what their figures mean. loved: the favourites."""
    favourites = list(choice.favourites)
    enough = enough_ratings(str(recommender.folder))
    hardly_rated = [movie for movie in loved if movie.n_ratings < enough]
    cold = {movie.movie_id for movie in hardly_rated}
    strengths = recommender.strengths(favourites, rows, choice.steering) if favourites else {}
    matches = {row.movie_id: strengths.get(row.movie_id) for row in rows if not by_what_it_is(row, cold)}
    if strengths:
        st.caption(explanation(choice.steering, len(favourites), hardly_rated, any(matches.values())))
    images = posters([row.tmdb_id for row in rows], meanwhile=out_of_turn)
    best, praise = settings().data.max_rating, choice.steering.hidden <= 0  # gems are no distant ones
    thumbs, address = keep.store() is not None, to_address(choice)
    html = []
    for row in rows:
        # it opens beside this page, and takes the choice along
        explore = f"explore?{urlencode({'movie': row.movie_id, **address})}"
        image, strength = images.get(row.tmdb_id or 0), matches.get(row.movie_id)
        html.append(card(row, strength, image, explore, best, cold, praise, buttons(row, thumbs)))
    st.session_state.shown = {row.movie_id: row for row in rows}

    def give(name: str, thumb: int) -> None:
        if row := clicked(name):
            keep.give(row.movie_id, thumb, recommender.release_id, favourites)

    clicks = {"more": more, "less": dislike}
    if thumbs:
        clicks |= {"up": lambda: give("up", 1), "down": lambda: give("down", -1)}
    cards(html, clicks)


@st.fragment
def query(sql: str) -> None:
    """Draw the query behind the list, once it is asked for: what colours it is more than a megabyte of script."""
    with st.expander("Show me the SQL", icon=":material/database:", key="query", on_change="rerun") as shown:
        if shown.open:
            st.markdown("This list is one query. Ask it yourself: `python -m pipeline sql`, or any DuckDB that has the "
                        "release's `serving.duckdb` open.")  # fmt: skip
            st.code(sql, language="sql", wrap_lines=True)


def explanation(steering: Steering, n_favourites: int, hardly_rated: list[Match], matched: bool) -> str:
    """Return what the figures on the cards mean, and why their order may not be that of the matches; matched: whether
    any card has one."""
    words = "Match: 100% is what goes best with your favourites in the whole catalogue." if matched else ""
    if n_favourites > 1:
        words += " The % after a favourite is how much it counted."
    if hardly_rated:
        titles = " and ".join(plain(named(movie)) for movie in hardly_rated)
        words += f" Hardly anyone has rated {titles}: what goes with it is found by its genres and year."
    if steering.dislikes:
        words += " What resembles a title that is not for you moves down or goes."
    if said := steer.steered_by(steering):
        words += f" You steer: {', '.join(said)}."
    return words.strip()


def buttons(row: Recommendation, thumbs: bool) -> list[str]:
    """Return a card's buttons, as HTML. thumbs: whether they are kept."""
    full = len(st.session_state.favourites) >= MAX_FAVOURITES
    shown = [button("more", row, "More like this", disabled=full, tip=FULL if full else "")]
    full = len(st.session_state.dislikes) >= MAX_FAVOURITES
    shown.append(button("less", row, "Not for me", disabled=full, tip=FULL if full else UNLIKE_A_THUMB))
    if thumbs:
        given = keep.thumbs().get(row.movie_id)
        shown.append("<span>Good tip?</span>")
        shown.append(button("up", row, "Thumbs up", icon_alone=True, pressed=given == 1))
        shown.append(button("down", row, "Thumbs down", icon_alone=True, pressed=given == -1))
    return shown
