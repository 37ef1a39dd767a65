"""Explore: any title's own list, with links onward, and the map of the catalogue. DuckDB only, no Spark."""

import streamlit as st

from app import films, steer
from app.address import to_address
from app.cards import rated
from app.charts import map_chart
from app.search import search
from app.shared import NOTHING, faint, ink, live_release, open_release, paper, plain, settings, word
from pipeline.serving.recommender import MapPlace, Match, Neighbour, Recommender, named
from pipeline.serving.steering import MAX_FAVOURITES

SHOWN_FIRST, MORE = 10, 50  # entries of the list that are shown, and after a click
# The number makes it another script for another film: each runs once.
SCROLL_TO_TITLE = """<script>/* %d */ {
    document.querySelector("[data-testid=stMain]").scrollTo(0, 0);
    const heading = document.querySelector("[data-testid=stMain] h2");
    heading.tabIndex = -1;
    heading.focus({preventScroll: true});
}</script>"""


def page() -> None:
    """Draw the page; the address holds the title, so that it can be sent to a friend."""
    recommender = live_release()
    st.title("Explore")
    st.caption(
        f"Each {word().item} has a list of {word().items} that go with it. Recommendations are made from these lists, "
        f"and move well-known {word().items} up."
    )
    search(f"Search {word().items}", explore, icon=":material/arrow_forward:")
    if not st.query_params.get("movie"):
        offer(recommender)
    movie = explored(recommender)
    rows = recommender.similar(movie.movie_id, st.session_state.get("length", SHOWN_FIRST)) if movie else []
    if movie:
        show_list(movie, rows)
    show_map(places_of(str(recommender.folder)), movie, rows)
    if st.session_state.pop("arrives", False) and movie:
        st.html(SCROLL_TO_TITLE % movie.movie_id, unsafe_allow_javascript=True)


def offer(recommender: Recommender) -> None:
    """Offer some well-known titles; a click on one explores it."""
    st.caption("Or begin with one that many people like:")
    with st.container(horizontal=True):
        for row in recommender.recommend([], k=5):
            st.button(
                plain(named(row)),
                key=f"explore-{row.movie_id}",
                on_click=explore,
                args=(row.movie_id,),
                icon=":material/search:",
            )


def explore(movie_id: int) -> None:
    """Make the movie the one that is explored."""
    st.query_params["movie"] = str(movie_id)
    st.session_state.length, st.session_state.arrives = SHOWN_FIRST, True


def explored(recommender: Recommender) -> Match | None:
    """Return the movie that the address names; say so when the catalogue has no such movie."""
    text = st.query_params.get("movie")
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 2**31
    if found := recommender.movies([number] if number < 2**31 else []):
        return found[0]
    st.info(
        f"This catalogue has no {word().item} with the number {plain(text[:20])}. Search it by title.", icon=NOTHING
    )
    return None


def show_list(movie: Match, rows: list[Neighbour]) -> None:
    """Draw what is known of a movie, and its list."""
    st.header(plain(named(movie)), anchor=False)
    genres = " · ".join(map(plain, movie.genres)) or "no genres listed"
    st.caption(f"{genres} · {plain(rated(movie, settings().data.max_rating))}")
    favour(movie)
    if not rows:
        st.info("Too little is known of it to say what goes with it.", icon=NOTHING)
        return
    st.markdown(
        "**Goes with it**, the best first. The bars compare with the first one. A click on a title opens its list."
    )
    for row in rows:
        with st.container(gap=None):
            st.button(
                plain(f"{row.rank}. {named(row)}"),
                key=f"near-{row.movie_id}",
                type="tertiary",
                icon=":material/arrow_forward:",
                icon_position="right",
                on_click=explore,
                args=(row.movie_id,),
            )
            genres = " · ".join(map(plain, row.genres)) or "no genres listed"
            st.progress(row.share, text=f"{row.share:.0%} · {genres}")
    if len(rows) == SHOWN_FIRST:
        st.button("Show more", on_click=show_more, icon=":material/expand_more:")


def favour(movie: Match) -> None:
    """Draw the link that makes the movie a favourite, on the page of recommendations. Favourites are those of this
    visit or, where a card's link opened this page, those that the address brought along."""
    choice = steer.current()
    full = len(choice.favourites) >= MAX_FAVOURITES
    if movie.movie_id not in choice.favourites:
        choice = choice._replace(favourites=(*choice.favourites, movie.movie_id))
    with st.container(key="favour"):
        st.page_link(
            st.Page(films.page, default=True), label=f"Recommend {word().items} that go with it",
            icon=":material/add:", disabled=full, query_params=to_address(choice),
        )  # fmt: skip


def show_more() -> None:
    """Make the list longer."""
    st.session_state.length = MORE


def show_map(places: list[MapPlace], movie: Match | None, rows: list[Neighbour]) -> None:
    """Draw the map, with the movie and its neighbours in front."""
    st.header("The map", anchor=False)
    if not places:
        st.info("This release has no map of the catalogue. The next run of the pipeline draws one.", icon=NOTHING)
        return
    placed = {place.movie_id for place in places}
    words = f"The {len(places):,} best-known titles; the nearer two are, the more alike their lists."
    if movie and movie.movie_id in placed:
        words += f" {plain(named(movie))} and its list are highlighted."
    elif movie:
        words += f" {plain(named(movie))} is not on the map. Titles of its list that are on it are highlighted."
    st.caption(f"{words} Click a point to explore it.")
    with st.container(key="map-mouse"):
        st.caption("With the shift key, the wheel zooms and the mouse drags.")
    near = {row.movie_id for row in rows}
    st.altair_chart(
        map_chart(
            places,
            movie.movie_id if movie else None,
            near,
            ink=ink(),
            paper=paper(),
            faint=faint(),
            item=settings().page.item.capitalize(),
        ),
        key="map",
        on_select=explore_point,
        selection_mode=["point"],
        alt=f"Map: {len(places):,} {word().items} as points, coloured by genre. The list is above.",
    )


def explore_point() -> None:
    """Explore the movie whose point was clicked."""
    points = st.session_state.map.selection.get("point") or []
    if points and isinstance(points[0].get("movie_id"), int):
        explore(points[0]["movie_id"])


@st.cache_data(max_entries=3, show_spinner=False)
def places_of(folder: str) -> list[MapPlace]:
    """Return a release's map."""
    return open_release(folder).places()
