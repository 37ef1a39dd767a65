"""Behind the curtain: the live release and what it was made from, how good it is, and older releases beside it."""

from pathlib import Path

import streamlit as st

from app.charts import accuracy_chart
from app.shared import NOTHING, WRONG, ink, live_release, open_release, plain, warehouse, word
from pipeline.config import PipelineError
from pipeline.release import store
from pipeline.release.manifest import Description, describe
from pipeline.serving.comparison import Change, compare
from pipeline.serving.recommender import Recommender, named
from pipeline.serving.steering import MAX_FAVOURITES
from pipeline.standings import LABELS, Results, Standing, asked_of, ranking, standings

NEWEST = 20  # releases in the list
USUAL = "strangers with 5 favourites"  # the part of the evaluation that is shown first


def page() -> None:
    """Draw the page."""
    recommender = live_release()
    st.title("Behind the curtain")
    st.caption("Every recommendation comes from a release: tables that a batch job made, checked and put here whole.")
    about = None
    try:
        about = described(str(store.release_dir(warehouse(), recommender.release_id)))
        show_live(about)
    except PipelineError:
        st.warning("The live release answers, but the file that says how it was made cannot be read.", icon=WRONG)
    show_evaluation(recommender)
    show_comparison(recommender)
    show_releases(recommender.release_id)
    if about:
        show_origin(about)


def show_live(about: Description) -> None:
    """Draw which release is live."""
    st.header("The live release", anchor=False)
    st.markdown(f"**{plain(about.release_id)}**, made on {at(about)}")
    if about.ratings:
        st.caption("Ratings: " + ", ".join(f"{number:,} {plain(name)}" for name, number in about.ratings.items()))


def show_origin(about: Description) -> None:
    """Draw what the live release was made from, and how."""
    st.header("How the live release was made", anchor=False)
    st.subheader("Made from", anchor=False)
    text_table(
        ["Folder", "File", "Size", "SHA-256"],
        [(row.folder, row.file, row.size, f"{row.sha256}…" if row.sha256 else "unknown") for row in about.inputs],
        "The files that the release was made from",
    )
    st.subheader("Settings that differ from the defaults", anchor=False)
    if about.settings:
        rows = [(row.name, said(row.value), said(row.default)) for row in about.settings]
        text_table(["Setting", "Here", "Default"], rows, "Settings that differ from the defaults")
    else:
        st.caption("None: everything is as in conf/pipeline.yaml.")
    with st.expander("Tables, seconds and versions"):
        rows = [(row.table, f"{row.rows:,}", row.size) for row in about.tables]
        text_table(["Table", "Rows", "Size"], rows, "Rows and size of the tables")
        took = [(stage, f"{seconds:.1f} s") for stage, seconds in about.seconds.items()]
        text_table(["Stage", "Took"], took, "Seconds that the stages took")
        text_table(["Made with", "Version"], list(about.versions.items()), "Versions of what the release was made with")


def show_evaluation(recommender: Recommender) -> None:
    """Draw how good the release's lists are compared with the baselines, in plain words."""
    st.header("How good is it?", anchor=False)
    results = Results(recommender.measures())
    found = standings(results)
    if not found:
        st.info("This release was not evaluated, or had too few users with enough likes.", icon=NOTHING)
        return
    st.caption(
        "Before the release was made, likes were hidden from training. nDCG says how many of them a list finds and how "
        "far up. Recall is the share of them that it finds; in stratified recall, hits among the well-known count "
        "less. 1 is perfect. Strangers are users that training never saw, as this page's visitors are: a few of their "
        "likes are the favourites, the others are to be found. Baselines are well-known simpler methods; the number "
        "behind EASE is how strongly it is kept from learning chance."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = list(dict.fromkeys(map(asked_of, found)))
        usual = asked.index(USUAL) if USUAL in asked else 0
        question = st.selectbox("Asked by", asked, index=usual, key="asked")
        metric = st.segmented_control("Measure", list(LABELS), format_func=LABELS.get, default="ndcg", required=True)
    standing = next((row for row in found if asked_of(row) == question and row.metric == metric), None)
    if standing:
        st.markdown(sentence(standing))
        label = f"{LABELS[standing.metric]}@{standing.k}, with 95 % interval"
        rows = ranking(results, standing)
        st.altair_chart(
            accuracy_chart(rows, label, ink()), alt=f"{label}, by model. The table below holds the figures."
        )
        with st.expander("The figures"):
            text_table(
                ["Model", f"{LABELS[standing.metric]}@{standing.k}", "95 % interval"],
                [(row.model, f"{row.value:.4f}", f"{row.ci_low:.4f} to {row.ci_high:.4f}") for row in rows],
                f"{label}, by model",
            )
    below = [row for row in found if row.side == "below"]
    if below:
        names = "; ".join(f"{LABELS[row.metric]}@{row.k}, {asked_of(row)}" for row in below)
        st.warning(
            f"Below the best baseline in {len(below)} of {len(found)} measures: {plain(names)}.",
            icon=WRONG,
        )


def sentence(row: Standing) -> str:
    """Return how the served lists compare, as a sentence."""
    label, rival = (
        f"{LABELS[row.metric]}@{row.k}",
        f"the best baseline, {plain(row.rival.model)} ({row.rival.value:.4f})",
    )
    words = {
        "above": f"{row.lead:.1%} **above** {rival}",
        "level": f"**level** with {rival}: that lies within the interval",
        "below": f"{-row.lead:.1%} **below** {rival}",
    }
    interval = f"{row.served.ci_low:.4f} to {row.served.ci_high:.4f}"
    return f"What is served has {label} {row.served.value:.4f} ({interval}), {words[row.side]}."


def show_comparison(recommender: Recommender) -> None:
    """Draw what another release would have recommended for the same favourites."""
    st.header("Your ten, then and now", anchor=False)
    others = [other for other in reversed(store.published_ids(warehouse())) if other != recommender.release_id]
    if not others:
        st.info(
            "This is the only release so far. After the next one, see here what it changed for you.",
            icon=NOTHING,
        )
        return
    chosen = st.selectbox("Compare the live release with", others, key="other")
    try:
        other = open_release(str(store.release_dir(warehouse(), chosen)))
        ids = favourites()
        example = not ids
        if example:
            ids = [row.movie_id for row in recommender.recommend([], k=2)]
        found = compare(recommender, other, ids)
    except PipelineError:
        st.warning(
            "That release is damaged or incomplete and cannot be asked. Choose another one.",
            icon=WRONG,
        )
        return
    names = " and ".join(plain(named(movie)) for movie in found.favourites)
    if example and names:
        st.caption(f"You have no favourites yet. As an example, for {names}:")
    elif names:
        st.caption(f"For {names}:")
    if found.strangers:
        names = ", ".join(plain(named(movie)) for movie in found.strangers)
        st.info(f"That release does not know {names}.", icon=NOTHING)
    if found.favourites:
        rows = [(row.rank or "–", named(row), row.before or "–", moved(row)) for row in [*found.now, *found.gone]]
        text_table(["Now", word().Item, "Then", "Change"], rows, "The ten of both releases")


def favourites() -> list[int]:
    """Return the movie ids that the visitor picked on the first page."""
    kept = st.session_state.get("favourites") or []
    return [movie for movie in kept if type(movie) is int][:MAX_FAVOURITES]


def moved(row: Change) -> str:
    """Return in words what became of a title."""
    words = {"new": "new", "gone": "gone", "same": "same", "up": f"up\u00a0{row.by}", "down": f"down\u00a0{row.by}"}
    return words[row.what]


def show_releases(live: str) -> None:
    """Draw the list of releases, the newest first."""
    st.header("All releases", anchor=False)
    ids = store.published_ids(warehouse())[::-1]
    rows = []
    for release_id in ids[:NEWEST]:
        name = f"{release_id} ● live" if release_id == live else release_id
        try:
            about = described(str(store.release_dir(warehouse(), release_id)))
            sizes = {row.table: f"{row.rows:,}" for row in about.tables}
            rows.append((name, at(about), sizes.get("movies", "?"), sizes.get("neighbours", "?")))
        except PipelineError:
            rows.append((name, "cannot be read", "?", "?"))
    text_table(["Release", "Made", word().Items, "Neighbours"], rows, "All releases, the newest first")
    if len(ids) > NEWEST:
        st.caption(f"The newest {NEWEST} of {len(ids):,}.")


@st.cache_data(max_entries=200, show_spinner=False)
def described(folder: str) -> Description:
    """Return what a release's manifest says. Raises PipelineError when it cannot be read."""
    return describe(Path(folder))


def at(about: Description) -> str:
    """Return when a release was made, as people write it."""
    return f"{about.created_at:%-d %b %Y, %H:%M} UTC"


def said(value: object) -> str:
    """Return a setting's value as text."""
    return "none" if value is None else str(value)


def text_table(heads: list[str], rows: list[tuple], alt: str) -> None:
    """Draw a table of literal texts."""
    if rows:
        columns = zip(*rows, strict=True)
        cells = {head: [plain(str(cell)) for cell in column] for head, column in zip(heads, columns, strict=True)}
        st.table(cells, hide_index=True, alt=alt)
