"""The controls that steer: each is a parameter of the recommend macro."""

import streamlit as st

from app.address import Choice, from_address
from app.shared import plain
from pipeline.serving.recommender import FilterChoices
from pipeline.serving.steering import Steering

HIDDEN = {-1.0: "Blockbusters", -0.5: "Well-known", 0.0: "Balanced", 0.5: "Lesser-known", 1.0: "Hidden gems"}
VARIETY = {0.0: "Closest", 0.25: "A little", 0.5: "Varied", 0.75: "Very varied"}
KEPT_IN_VISIT = {"persist_state": "session"}  # while the visitor looks at another page


def remember(choice: Choice, catalogue: FilterChoices) -> None:
    """Set favourites and controls to a choice, on a first visit or when a saved session is opened.

    What this catalogue does not know is left out; a value between two steps of a slider goes to the nearer one.
    """
    steering, state = choice.steering, st.session_state
    state.favourites, state.dislikes = list(choice.favourites), list(steering.dislikes)
    state.surprise = steering.surprise
    state.genres = [genre for genre in steering.genres if genre in catalogue.genres]
    free = set(catalogue.genres).difference(state.genres)  # none is wanted and left out
    state.without = [genre for genre in steering.without_genres if genre in free]
    first, last = catalogue.first_year, catalogue.last_year
    span = [year if year is not None else end for year, end in [(steering.from_year, first), (steering.to_year, last)]]
    low, high = (min(max(year, first), last) for year in span)
    state.years = (low, max(low, high))
    state.hidden = min(HIDDEN, key=lambda step: abs(step - steering.hidden))
    state.variety = min(VARIETY, key=lambda step: abs(step - steering.variety))


def chosen(catalogue: FilterChoices) -> Choice:
    """Return the present favourites and controls."""
    state = st.session_state
    low, high = state.years
    return Choice(
        tuple(state.favourites),
        Steering(
            dislikes=tuple(state.dislikes),
            genres=tuple(state.genres),
            without_genres=tuple(state.without),
            from_year=low if low > catalogue.first_year else None,
            to_year=high if high < catalogue.last_year else None,
            hidden=state.hidden,
            variety=state.variety,
            surprise=state.surprise,
        ),
    )


def current() -> Choice:
    """Return the visit's choice; before its first list, what the address brought along."""
    state = st.session_state
    return chosen(state.catalogue) if "catalogue" in state else from_address(st.query_params)


def controls(catalogue: FilterChoices) -> None:
    """Draw the controls."""
    # Pairs: on a phone, where columns are stacked, each pair stays together.
    left, right = st.columns(2, gap="medium")
    free = [genre for genre in catalogue.genres if genre not in st.session_state.without]
    left.multiselect("Genres", free, key="genres", placeholder="any", select_all=False, **KEPT_IN_VISIT)
    free = [genre for genre in catalogue.genres if genre not in st.session_state.genres]
    right.multiselect("Without", free, key="without", placeholder="nothing left out", select_all=False, **KEPT_IN_VISIT)
    left, right = st.columns(2, gap="medium")
    left.select_slider("Well-known or hidden", list(HIDDEN), format_func=HIDDEN.get, key="hidden", **KEPT_IN_VISIT)
    right.select_slider("Variety", list(VARIETY), format_func=VARIETY.get, key="variety", **KEPT_IN_VISIT)
    left, right = st.columns(2, gap="medium", vertical_alignment="bottom")
    if catalogue.first_year < catalogue.last_year:
        left.slider("Years", catalogue.first_year, catalogue.last_year, key="years", **KEPT_IN_VISIT)
    right.button(
        "Reset", icon=":material/restart_alt:", on_click=forget_steering, args=(catalogue,),
        help="Keep your favourites and what is not for you, forget the rest",
    )  # fmt: skip


def steered_by(steering: Steering) -> list[str]:
    """Return what is steered by, but for dislikes, as Markdown."""
    words = [plain(genre) for genre in steering.genres] + [f"no {plain(genre)}" for genre in steering.without_genres]
    if steering.from_year is not None or steering.to_year is not None:
        words.append(f"{steering.from_year or 'the first year'} to {steering.to_year or 'today'}")
    if steering.hidden:
        words.append(HIDDEN[steering.hidden].lower())
    if steering.variety:
        words.append(f"variety: {VARIETY[steering.variety].lower()}")
    if steering.surprise:
        words.append("a surprise")
    return words


def wider(steering: Steering) -> str:
    """Return what would let more titles through the filter, as Markdown; empty if nothing filters."""
    ways = []
    if steering.genres:
        ways.append("more genres")
    if steering.without_genres:
        ways.append("fewer to leave out")
    if steering.from_year is not None or steering.to_year is not None:
        ways.append("a wider span of years")
    return f"Choose {' or '.join(ways)}." if ways else ""


def surprise() -> None:
    """Draw another sample. Its number is in the address, so that a link gives the same surprise."""
    st.session_state.surprise = st.session_state.surprise % 999_983 + 1


def surprise_no_more() -> None:
    """Draw no sample, but the best."""
    st.session_state.surprise = 0


def forget_steering(catalogue: FilterChoices) -> None:
    """Keep the favourites and the dislikes, and forget all other steering."""
    state = st.session_state
    remember(Choice(tuple(state.favourites), Steering(dislikes=tuple(state.dislikes))), catalogue)
