"""The web page: opens the live release, then draws the page that the visitor chose. DuckDB only, no Spark."""

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import films, steer
from app.address import to_address
from app.shared import live_release, settings, sorry
from pipeline.config import PipelineError

STYLE = Path(__file__).with_name("style.css")


def main() -> None:
    """Draw the page."""
    title = "Ten for you"
    with contextlib.suppress(PipelineError):
        title = f"Ten {settings().page.items} for you"
    st.set_page_config(page_title=title, page_icon="✨")
    st.html(STYLE)
    links = st.container(horizontal=True, gap="xxsmall", key="pages")
    try:
        words = settings().page.items
        pages = [
            st.Page(films.page, title=words[:1].upper() + words[1:], icon=":material/recommend:", default=True),
            st.Page(later("explore"), title="Explore", icon=":material/explore:", url_path="explore"),
            st.Page(later("releases"), title="Behind the curtain", icon=":material/theaters:", url_path="releases"),
        ]
        if settings().page.sql:
            pages.append(st.Page(later("sql"), title="SQL", icon=":material/database:", url_path="sql"))
        page = st.navigation(pages, position="hidden")
        live_release()
        if page is not pages[0]:
            st.session_state.pop("address", None)  # of the first page: now it is this one's
        page.run()
    except PipelineError as error:
        sorry(error)
        st.stop()
    # Streamlit's own links lose the choice, and lie in a drawer on a phone.
    choice = to_address(steer.current())
    with links:
        for each in pages:
            st.page_link(each, query_params=st.query_params if each is page else choice)


def later(name: str) -> Callable[[], None]:
    """Return the page app/<name>.py, loaded when it is first drawn: charts and tables would hold up the first visit."""
    return lambda: importlib.import_module(f"app.{name}").page()


if __name__ == "__main__":
    main()
