"""What a visitor asks the server to keep: a named session that a link opens again, and thumbs. See docs/privacy.md."""

import secrets
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from app.address import Choice, from_address, to_address
from app.shared import plain, settings
from pipeline.config import PipelineError
from pipeline.serving.sessions import MAX_NAME, TOKEN_BYTES, Sessions

PARAMETER = "session"  # of the address
ASKED_TO_KEEP = "asked_to_keep"  # in the visit's state: by a click that leaves the choice as it is


def store() -> Sessions | None:
    """Return where visitors' sessions are kept; None when the operator keeps none."""
    path = settings().sessions.path
    return Sessions(Path(path)) if path else None


def _store() -> Sessions:
    sessions = store()
    if sessions is None:
        raise PipelineError("nothing is kept here: sessions.path is empty; set it with --set sessions.path=FILE")
    return sessions


def opened() -> Choice | None:
    """Return the choice of the session whose link was opened; None when the address names none that exists."""
    token, sessions = st.query_params.get(PARAMETER), store()
    if not token or sessions is None:
        return None
    try:
        saved = sessions.load(token)
    except PipelineError as error:
        st.toast(plain(str(error)), icon=":material/error:")
        return None
    if saved is None:
        st.toast("There is no session behind this link any more.", icon=":material/info:")
        return None
    st.session_state.token, st.session_state.session_name = token, saved.name
    return from_address(dict(parse_qsl(saved.state)))


def is_open() -> bool:
    """Tell whether the visitor has a session that is saved."""
    return "session_name" in st.session_state


def keep(choice: Choice) -> None:
    """Draw the link to share and, where sessions are kept, what saves, names and deletes one."""
    name = st.session_state.get("session_name")
    title = "Share" if store() is None else f"Saved: {plain(name)}" if name else "Keep or share"
    with st.popover(title, icon=":material/bookmark:"):
        st.markdown("To share: this link shows the list to anyone, and nobody can change it by it.")
        st.code(link(to_address(choice)), language=None, wrap_lines=True)
        if store() is None:
            return
        if name:
            st.markdown("For yourself, to bookmark: anyone with this link can open, change and delete what you saved.")
            st.code(link({PARAMETER: st.session_state.token}), language=None, wrap_lines=True)
            st.button("Save it as it is now", icon=":material/save:", on_click=save, args=(name, choice))
            st.button("Delete it and my thumbs", icon=":material/delete:", on_click=delete)
        else:
            st.markdown("To come back to: save it under a name.")
            with st.form("save", border=False):  # Enter also saves
                st.text_input("A name for your list", key="new_name", max_chars=MAX_NAME, placeholder="Friday night")
                # the name is sent along, and the page has not been drawn with it yet
                st.form_submit_button(
                    "Save", icon=":material/save:", on_click=lambda: save(st.session_state.new_name, choice)
                )
            st.caption("No account: you get a link of your own that nobody can guess.")


def link(address: dict[str, str]) -> str:
    """Return the page's address with these parameters."""
    return f"{(st.context.url or '').split('?')[0].rstrip('/')}/?{urlencode(address, safe=',')}"


def save(name: str, choice: Choice) -> None:
    """Save the choice under this name, in the session that is open or in a new one."""
    state = st.session_state
    state[ASKED_TO_KEEP] = True
    try:
        state.token = _store().save(name, urlencode(to_address(choice)), state.get("token"))
    except PipelineError as error:
        st.toast(plain(str(error)), icon=":material/error:")
        return
    state.session_name = name.strip()
    st.toast(f"Saved as {plain(state.session_name)}.", icon=":material/bookmark_added:")


def delete() -> None:
    """Delete the session that is open, and the visitor's thumbs."""
    state = st.session_state
    state[ASKED_TO_KEEP] = True
    try:
        _store().delete(state.token)
    except PipelineError as error:
        st.toast(plain(str(error)), icon=":material/error:")
        return
    for name in ("token", "session_name", "thumbs"):
        state.pop(name, None)
    st.toast("Deleted.", icon=":material/delete:")


def thumbs() -> dict[int, int]:
    """Return the visit's thumbs by movie id: 1, -1, or 0 for one that was taken back."""
    return st.session_state.setdefault("thumbs", {})


def give(movie_id: int, thumb: int, release_id: str, favourites: list[int]) -> None:
    """Keep a thumb, 1 or -1, with the release that gave the tip, under the open session or, without one, under a number
    that only this visit knows; the same thumb once more is taken back."""
    state, given = st.session_state, thumbs()
    state[ASKED_TO_KEEP] = True
    visitor = state.setdefault("token", secrets.token_urlsafe(TOKEN_BYTES))
    now = 0 if given.get(movie_id) == thumb else thumb
    try:
        _store().give_feedback(visitor, release_id, movie_id, now, favourites)
    except PipelineError as error:
        st.toast(plain(str(error)), icon=":material/error:")
        return
    given[movie_id] = now
    said = "Thank you. Your thumb is noted." if now else "Your thumb is taken back."
    st.toast(said, icon=":material/thumbs_up_down:")
