"""Explore and Behind the curtain, without a browser."""

import json
import re
import sys

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from pipeline import config
from pipeline.standings import Measure
from tests.conftest import MOVIES, NEIGHBOURS, ROOT, publish, write_build

MAP = [(1, -1.0, 0.5), (2, -0.75, 0.5), (3, 0.5, 0.25), (5, 1.0, 0.0), (6, 0.0, -1.0)]
EVIL = "<script>alert(1)</script> *bold* [link](http://x) $x$ :smile: \"' www.x.y a@b.c :material/star:"


def explore_page():
    from app import explore

    explore.page()


def releases_page():
    from app import releases

    releases.page()


def opened(page, warehouse, monkeypatch, *, favourites=None, **address):
    import streamlit as st

    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", "--set", f"warehouse.dir={warehouse}"])
    test = AppTest.from_function(page, default_timeout=120)
    for name, value in address.items():
        test.query_params[name] = value
    if favourites is not None:
        test.session_state.favourites = favourites
    test.run()
    assert not test.exception
    return test


def labels(page):
    return [button.label for button in page.button]


def shown(text):
    """What Markdown makes of escaped text; the invisible word joiner left out."""
    return re.sub(r"\\(.)", r"\1", text).replace("\u2060", "")


def is_text(markdown):
    """Whether nothing in it means anything to Markdown, or to Streamlit's search for addresses and icons."""
    bare = markdown.replace("\\", "")
    return not re.search(r"(?<!\\)[<>*\[\]$:()]", markdown) and not re.search(r"http:|www\.|:material/|@\w", bare)


def texts(page):
    """All words of the page but for its tables, as they are shown."""
    kinds = (page.markdown, page.caption, page.info, page.warning, page.header, page.subheader)
    return "\n".join(shown(element.value) for kind in kinds for element in kind)


def cells(page, column):
    """The cells of the tables that have this column, as they are shown."""
    tables = [table.value for table in page.table if column in table.value]
    return [shown(cell) for table in tables for cell in table[column]]


def drop(folder, table):
    """Make a release one of those from before there was such a table."""
    with duckdb.connect(str(folder / "serving.duckdb")) as connection:
        connection.execute(f"drop table {table}")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    publish(folder, catalogue_map=MAP)
    return folder


def test_both_pages_are_on_the_menu(mapped, monkeypatch):
    import streamlit as st

    menu = []
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", "--set", f"warehouse.dir={mapped}"])
    navigation = st.navigation
    monkeypatch.setattr(st, "navigation", lambda pages, **options: menu.extend(pages) or navigation(pages, **options))
    assert not AppTest.from_file(str(ROOT / "app" / "streamlit_app.py"), default_timeout=120).run().exception
    assert [(page.title, page.url_path) for page in menu] == [
        ("Films", ""), ("Explore", "explore"), ("Behind the curtain", "releases"),
    ]  # fmt: skip


def test_a_visitor_searches_a_film_and_goes_on_from_neighbour_to_neighbour(mapped, monkeypatch):
    page = opened(explore_page, mapped, monkeypatch)
    assert [shown(label) for label in labels(page)] == [
        "The Matrix (1999)", "Toy Story (1995)", "Amélie (Le Fabuleux destin) (2001)", "Heat (1995)",
    ]  # fmt: skip
    page.text_input[0].set_value("toy stroy").run()
    page.button(key="pick-1").click().run()
    assert page.query_params["movie"] == "1" and page.text_input[0].value == ""
    assert [shown(label) for label in labels(page)] == [
        "1. Toy Story 2 (1999)", "2. Amélie (Le Fabuleux destin) (2001)", "3. The Matrix (1999)", "4. Emma (1996)",
    ]  # fmt: skip
    assert [bar.proto.value for bar in page.get("progress")] == [100, 33, 16, 0]
    assert "Toy Story (1995) and its list are highlighted" in texts(page)
    assert "Animation · Comedy · ★ 3.9 of 5 by 200 people" in texts(page)
    page.button(key="near-5").click().run()
    assert page.query_params["movie"] == "5"
    assert [shown(label) for label in labels(page)] == ["1. Heat (1995)", "2. Toy Story (1995)"]


def test_the_address_names_the_film(mapped, monkeypatch):
    assert "Heat (1995)" in texts(opened(explore_page, mapped, monkeypatch, movie="3"))
    for text in ("99", "9" * 30, EVIL):
        page = opened(explore_page, mapped, monkeypatch, movie=text)
        assert f"no film with the number {text[:20]}." in texts(page) and is_text(page.info[0].value)
    assert "Too little is known" in texts(opened(explore_page, mapped, monkeypatch, movie="9"))


def test_nothing_found_is_said(mapped, monkeypatch):
    page = opened(explore_page, mapped, monkeypatch)
    page.text_input[0].set_value("qqqqqqqq").run()
    assert "No title like that" in texts(page)


def test_a_long_list_opens_at_a_click(tmp_path, monkeypatch):
    movies = [
        *MOVIES,
        *((id_, f"Film {id_}", 2000, ["Drama"], None, None, 9, 3.0, "", str(id_)) for id_ in range(11, 31)),
    ]
    neighbours = [(1, id_, rank, 1.0 / rank) for rank, id_ in enumerate(range(11, 23), 1)]
    write_build(tmp_path, movies=movies, neighbours=neighbours).publish(k=20, als_rank=2, min_support=1)
    page = opened(explore_page, tmp_path, monkeypatch, movie="1")
    assert len(labels(page)) == 11 and labels(page)[-1] == "Show more"
    page.button[-1].click().run()
    assert len(labels(page)) == 12


def test_markup_in_titles_and_genres_stays_text_on_explore(tmp_path, monkeypatch):
    movies = [(1, EVIL, *MOVIES[0][2:]), (2, EVIL, 1999, [EVIL], *MOVIES[1][4:]), *MOVIES[2:]]
    publish(tmp_path, movies=movies, catalogue_map=MAP)
    page = opened(explore_page, tmp_path, monkeypatch, movie="1")
    assert shown(labels(page)[0]) == f"1. {EVIL} (1999)"
    markdown = [*labels(page), *(bar.proto.text for bar in page.get("progress"))]
    markdown += [element.value for kind in (page.markdown, page.caption, page.subheader) for element in kind]
    for text in markdown:
        if "alert" in text:
            assert is_text(text)
    chart = page.get("vega_lite_chart")[0].proto
    assert "alert" not in re.sub(re.escape(json.dumps(EVIL)), "", chart.spec)  # a genre's name, as a quoted value
    assert "alert" not in chart.alt


def test_a_release_from_before_there_were_maps_still_explores(tmp_path, monkeypatch):
    drop(publish(tmp_path), "catalogue_map")
    page = opened(explore_page, tmp_path, monkeypatch, movie="1")
    assert "has no map" in texts(page) and len(labels(page)) == 4


def test_the_live_release_says_what_it_was_made_from(mapped, monkeypatch):
    page = opened(releases_page, mapped, monkeypatch)
    assert "ratings.csv" in cells(page, "File") and "/data" not in "".join(cells(page, "Folder"))
    assert "movies" in cells(page, "Table") and "duckdb" in cells(page, "Made with")
    assert "not evaluated" in texts(page) and "the only release so far" in texts(page)
    assert cells(page, "Release")[0].endswith(" ● live")


def test_settings_that_differ_are_shown_without_the_machines_folders(tmp_path, monkeypatch):
    build = write_build(tmp_path)
    chosen = config.load([], ["als.rank=8", "data.dir=/secret/place/ml-1m", "warehouse.dir=/secret/place/w"])
    build.record("config", config.as_dict(chosen))
    build.record("timings", {"train": 1.25})
    build.record("ratings", {"accepted": 1200, "unknown movie": 1})
    build.publish(k=4, als_rank=2, min_support=1)
    page = opened(releases_page, tmp_path, monkeypatch)
    found = dict(
        zip(cells(page, "Setting"), zip(cells(page, "Here"), cells(page, "Default"), strict=True), strict=True)
    )
    assert found == {"als.rank": ("8", "64"), "data.dir": ("ml-1m", "ml-latest-small")}
    assert "1,200 accepted, 1 unknown movie" in texts(page) and cells(page, "Took") == ["1.2 s"]


def measures(served):
    return [
        Measure("strangers", model, 5, metric, 10, value, value - 0.01, value + 0.01)
        for model, value in (("served", served), ("EASE, *200*", 0.25), ("random", 0.01))
        for metric in ("ndcg", "recall")
    ]


@pytest.mark.parametrize(
    ("served", "words", "warned"),
    [
        (0.3, "20.0% **above** the best baseline, EASE, *200*", False),
        (0.255, "**level** with the best baseline, EASE, *200*", False),
        (0.2, "20.0% **below** the best baseline, EASE, *200*", True),
    ],
)
def test_the_evaluation_is_told_honestly(tmp_path, monkeypatch, served, words, warned):
    publish(tmp_path, metrics=measures(served))
    page = opened(releases_page, tmp_path, monkeypatch)
    assert words in texts(page)
    assert ("Below the best baseline in 2 of 2" in texts(page)) == warned
    assert cells(page, "Model")[-1] == "random" and len(page.get("vega_lite_chart")) == 1


def test_ten_then_and_now_marks_what_is_new_gone_and_moved(tmp_path, monkeypatch):
    publish(tmp_path, neighbours=[(1, 5, 1, 0.75), (1, 6, 2, 0.5), (1, 7, 3, 0.25)], popularity=[("*", 1, 1, 1.0)])
    publish(tmp_path, neighbours=[(1, 2, 1, 0.75), (1, 7, 2, 0.5), (1, 5, 3, 0.25)], popularity=[("*", 1, 1, 1.0)])
    # As a list, as the dict that it was once, and with what does not belong there.
    for favourites in ([1], {1: None}, [1, "x", None]):
        page = opened(releases_page, tmp_path, monkeypatch, favourites=favourites)
        rows = list(zip(*(cells(page, name) for name in ("Now", "Film", "Then", "Change")), strict=True))
        assert rows == [
            ("1", "Toy Story 2 (1999)", "–", "new"),
            ("2", "Emma (1996)", "3", "up\u00a01"),
            ("3", "The Matrix (1999)", "1", "down\u00a02"),
            ("–", "Amélie (Le Fabuleux destin) (2001)", "2", "gone"),
        ]
    assert "As an example, for Toy Story" in texts(opened(releases_page, tmp_path, monkeypatch, favourites="?"))


def test_ids_of_another_catalogue_are_not_taken_for_the_same_films(tmp_path, monkeypatch):
    publish(tmp_path, movies=[(1, "Black 1", *MOVIES[0][2:]), *MOVIES[1:]])
    publish(tmp_path)
    page = opened(releases_page, tmp_path, monkeypatch, favourites=[1])
    assert "does not know Toy Story (1995)" in texts(page) and not cells(page, "Change")


@pytest.mark.parametrize("damage", ["database", "manifest", "table", "metrics"])
def test_a_damaged_release_costs_one_sentence(tmp_path, monkeypatch, damage):
    other = publish(tmp_path, neighbours=NEIGHBOURS[:2])
    live = publish(tmp_path)
    if damage == "database":
        (other / "serving.duckdb").write_bytes(b"not a database")
    elif damage == "manifest":
        (other / "manifest.json").write_text('{"tables": 1}')
        (live / "manifest.json").write_text("{")
    elif damage == "table":
        drop(other, "neighbours")
    else:
        drop(live, "metrics")
    page = opened(releases_page, tmp_path, monkeypatch, favourites=[1])
    assert str(tmp_path) not in texts(page)
    expected = {
        "database": "damaged or incomplete",
        "table": "damaged or incomplete",
        "manifest": "made cannot be read",
        "metrics": "not evaluated",
    }
    assert expected[damage] in texts(page)
    assert set(cells(page, "Release")) == {f"{live.name} ● live", other.name}
    assert ("cannot be read" in cells(page, "Made")) == (damage == "manifest")


def test_markup_stays_text_behind_the_curtain(tmp_path, monkeypatch):
    movies = [(1, EVIL, *MOVIES[0][2:]), *MOVIES[1:]]
    publish(tmp_path, movies=movies, neighbours=NEIGHBOURS[:2])
    publish(tmp_path, movies=movies)
    page = opened(releases_page, tmp_path, monkeypatch, favourites=[5, 3])
    assert f"{EVIL} (1995)" in cells(page, "Film")
    raw = next(cell for table in page.table if "Film" in table.value for cell in table.value["Film"] if "alert" in cell)
    assert is_text(raw)
