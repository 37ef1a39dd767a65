"""The page: search for titles, pick favourites, get ten recommendations with reasons. DuckDB only, no Spark."""

import streamlit as st

from app.shared import live_release, plain
from pipeline.recommend import MAX_FAVOURITES, Match, Recommendation, Recommender, named


def page() -> None:
    """Draw the page."""
    recommender = live_release()
    st.title("Ten films for you")
    st.session_state.setdefault("favourites", {})
    search(recommender)
    favourites = list(st.session_state.favourites.values())
    show_favourites(favourites)
    if not favourites:
        st.caption("Pick a film or two that you love. Meanwhile, this is what most people like:")
    for row in recommender.recommend([movie.movie_id for movie in favourites]):
        show(row)
    st.caption(f"Release {recommender.release_id}. Data: MovieLens, F. M. Harper and J. A. Konstan, 2015.")


def search(recommender: Recommender) -> None:
    """Draw the search field and its matches; a click on a match makes it a favourite."""
    text = st.text_input(
        "A film you love",
        key="search",
        type="search",
        live="300ms",
        placeholder="toy story, amelie, the matrix ...",
    )
    if not text:
        return
    matches = [match for match in recommender.search(text, k=6) if match.movie_id not in st.session_state.favourites]
    if not matches:
        st.caption("No other title like that. Fewer letters find more.")
    full = len(st.session_state.favourites) >= MAX_FAVOURITES
    for match in matches:
        st.button(
            named(match),
            key=f"pick-{match.movie_id}",
            on_click=pick,
            args=(match,),
            icon=":material/add:",
            disabled=full,
        )


def pick(movie: Match) -> None:
    """Make the movie a favourite and clear the search field."""
    st.session_state.favourites[movie.movie_id] = movie
    st.session_state.search = ""


def show_favourites(favourites: list[Match]) -> None:
    """Draw the favourites; a click takes one away."""
    if not favourites:
        return
    st.subheader("Because you like")
    with st.container(horizontal=True):
        for movie in favourites:
            st.button(
                named(movie),
                key=f"drop-{movie.movie_id}",
                on_click=st.session_state.favourites.pop,
                args=(movie.movie_id, None),
                icon=":material/close:",
                help="Take it off the list",
            )


def show(row: Recommendation) -> None:
    """Draw one recommendation: rank, title, year, genres, and what brought it."""
    year = f" ({row.year})" if row.year else ""
    genres = " · ".join(plain(genre) for genre in row.genres) or "no genres listed"
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{row.rank}. {plain(row.title)}**{year}")
        st.caption(f"{genres}  \n{plain(reason(row))}")


def reason(row: Recommendation) -> str:
    """Return in words why a movie is recommended."""
    shares = ", ".join(f"{because.title} ({because.share:.0%})" for because in row.because[:3])
    if row.source == "neighbours":
        return f"Because you like {shares}"
    if row.source == "genre popularity":
        return f"Much liked in the genres of {shares}"
    return "Much liked by everyone"
