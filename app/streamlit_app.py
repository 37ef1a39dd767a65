"""The page: search for titles, pick favourites, get ten recommendations with reasons. DuckDB only, no Spark."""

import argparse
import sys
from pathlib import Path

import streamlit as st

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # `streamlit run` puts only this folder there

from pipeline import config as configuration
from pipeline import release
from pipeline.config import PipelineError
from pipeline.recommend import MAX_FAVOURITES, Match, Recommendation, Recommender, named


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Ten films for you", page_icon="🎬")
    st.title("Ten films for you")
    try:
        recommender = open_release(str(release.release_dir(warehouse())))
    except PipelineError as error:
        st.info(f"There is nothing to recommend from yet. {error}", icon="🎞️")
        st.stop()
    st.session_state.setdefault("favourites", {})
    search(recommender)
    favourites = list(st.session_state.favourites.values())
    show_favourites(favourites)
    if not favourites:
        st.caption("Pick a film or two that you love. Meanwhile, this is what most people like:")
    for row in recommender.recommend([movie.movie_id for movie in favourites]):
        show(row)
    st.caption(f"Release {recommender.release_id}. Data: MovieLens, F. M. Harper and J. A. Konstan, 2015.")


@st.cache_resource
def warehouse() -> Path:
    """Return the warehouse's folder from the options behind `--` on the command line."""
    parser = argparse.ArgumentParser()
    configuration.add_arguments(parser)
    options, _ = parser.parse_known_args(sys.argv[1:])
    return Path(configuration.load(options.conf, options.settings).warehouse.dir)


@st.cache_resource(max_entries=2, on_release=lambda recommender: recommender.close())
def open_release(folder: str) -> Recommender:
    """Return the opened release; one per folder, shared by all visitors. A new release has a new folder."""
    return Recommender(Path(folder))


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


def plain(text: str) -> str:
    """Return text that Markdown shows as it stands: a title is data, never markup."""
    return "".join(f"\\{char}" if char in r"\`*_{}[]()<>#+-.!|~:$&" else char for char in text)


if __name__ == "__main__":
    main()
