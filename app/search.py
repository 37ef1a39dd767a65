"""The search field of the pages: it answers while a visitor types, over the page, to the mouse and to the keys."""

import re
from collections.abc import Callable, Collection
from html import escape
from pathlib import Path

import streamlit as st

from app.shared import live_release, plain, settings, sorry
from pipeline.config import PipelineError
from pipeline.serving.recommender import named

SUGGESTIONS = 6
YEAR = re.compile(r"[12]\d{3}")
MAX_TYPED = 200  # characters that are looked at, and sent back
KEYS = f"<script>{Path(__file__).with_name('search.js').read_text(encoding='utf-8')}</script>"


def search(
    label: str,
    choose: Callable[[int], None],
    *,
    icon: str,
    taken: Collection[int] = (),
    full: str = "",
) -> None:
    """Draw the search field.

    choose: called with the movie id of the suggestion that the visitor takes. icon: of the suggestions. taken: movie
    ids not to suggest. full: why the field takes no more; empty where it does.
    """
    with st.container(key="search-area", gap=None):
        field(label, choose, icon, set(taken), full)
        st.html(KEYS, unsafe_allow_javascript=True)


@st.fragment
def field(label: str, choose: Callable[[int], None], icon: str, taken: Collection[int], full: str) -> None:
    """Draw the field and the suggestions, apart from the page: the page is drawn again only once one is taken."""
    if st.session_state.pop("was_taken", False):
        st.rerun()
    text = st.text_input(
        label,
        key="search",
        type="search",
        live="80ms",
        icon=":material/search:",
        placeholder=next(iter(settings().example.favourites), None),
        disabled=bool(full),
        help=full or None,
    )
    text = text[:MAX_TYPED]
    with st.container(key="suggestions" if text else None, gap="xsmall"):
        said = suggestions(text, choose, icon, taken) if text else ""
    # For screen readers; by the text, search.js knows what was looked for.
    st.html(f'<p class="found" role="status" data-text="{escape(text)}">{escape(said)}</p>')


def suggestions(text: str, choose: Callable[[int], None], icon: str, taken: Collection[int]) -> str:
    """Draw what the text finds, and return how much that is, in words."""
    try:  # the release that is live now: the page may have been drawn from one that is gone
        found = live_release().search(text, SUGGESTIONS + len(taken))
    except PipelineError as error:
        sorry(error)
        return ""
    matches = [match for match in found if match.movie_id not in taken][:SUGGESTIONS]
    for match in matches:
        genres = ", ".join(match.genres[:3])
        label = f"**{plain(named(match))}**" + (f" :small[{plain(genres)}]" if genres else "")
        st.button(
            label, key=f"pick-{match.movie_id}", on_click=take, args=(choose, match.movie_id), icon=icon,
            type="tertiary",
        )  # fmt: skip
    if matches:
        return f"{len(matches)} suggestions, Enter takes the first"
    if found:
        nothing = "You have that one already."
    elif YEAR.fullmatch(text.strip()):
        nothing = "No title like that. Add a word of the title to the year."
    else:
        nothing = "No title like that. Fewer letters find more."
    st.caption(nothing)
    return nothing


def take(choose: Callable[[int], None], movie_id: int) -> None:
    """Take a suggestion, clear the field, and have the whole page drawn, not the field alone."""
    choose(movie_id)
    st.session_state.search, st.session_state.was_taken = "", True
