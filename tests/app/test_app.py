"""The page's logic, without a browser."""

import html
import json
import os
import re
import shutil
import sys

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from app import films as app_films
from app.address import Choice, from_address, to_address
from app.cards import match_bar
from app.shared import settings, without_folders
from benchmarks.page import click as clicked
from pipeline.config import PipelineError
from pipeline.release import archive
from pipeline.serving.sessions import Sessions
from pipeline.serving.steering import Steering
from tests.conftest import MOVIES, NEIGHBOURS, POPULARITY, ROOT, publish, write_build


@pytest.fixture
def page(warehouse, monkeypatch):
    return open_page(warehouse, monkeypatch)


def open_page(warehouse, monkeypatch, **parameters):
    import streamlit as st

    st.cache_resource.clear()
    st.cache_data.clear()
    options = [f"warehouse.dir={warehouse}", f"sessions.path={warehouse / 'sessions.sqlite'}"]
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", *(word for option in options for word in ("--set", option))])
    page = AppTest.from_file(str(ROOT / "app" / "streamlit_app.py"), default_timeout=120)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


def keyed(page, prefix):
    """Return the labels of the buttons whose key begins so."""
    return [button.label for button in page.button if (button.key or "").startswith(prefix)]


def films(page):
    """Return the cards' texts."""
    texts = [html.unescape(re.sub(r"<div class=.buttons.*|<[^>]*>", " ", card)) for card in cards(page)]
    return [" ".join(text.split()) for text in texts]


def cards(page):
    """Return the cards' HTML."""
    return [card for component in page.get("bidi_component") for card in json.loads(component.proto.json)]


def click(page, button, movie_id):
    """Click on a card's button."""
    (component,) = page.get("bidi_component")
    states = page._tree.get_widget_states()
    states.widgets.extend(clicked(component.proto.id, button, movie_id))
    page._run(states)
    assert not page.exception
    return page


def find(page, text):
    return page.text_input[0].set_value(text).run()


def press(page, key):
    page.button(key=key).click().run()
    assert not page.exception
    return page


def test_a_visitor_picks_two_favourites_and_gets_films_with_reasons(page):
    assert not page.exception
    assert "what most people like" in page.subheader[0].value
    find(page, "toy stroy")
    assert keyed(page, "pick-") == ["**Toy Story \\(1995\\)** :small[Animation, Comedy]",
                                    "**Toy Story 2 \\(1999\\)** :small[Animation, Comedy]"]  # fmt: skip
    press(page, "pick-1")
    assert page.text_input[0].value == ""
    assert page.subheader[0].value == "Films that go with it" and "Because you liked Toy Story ★" in films(page)[0]
    press(find(page, "heat 1995"), "pick-3")
    assert page.subheader[0].value == "Films that go with them"
    assert keyed(page, "drop-") == ["Toy Story \\(1995\\)", "Heat \\(1995\\)"]
    first, second, third = films(page)[:3]
    assert first == (
        "TS 1 Toy Story 2 1999 Animation · Comedy 100% · excellent match Because you liked Toy Story "
        "★ 3.8 of 5 by 90 people Explore"
    )
    assert "2 The Matrix 1999 Action 67% · very good match Because you liked Heat 75% · Toy Story 25%" in second
    assert third.startswith("AF 3 Amélie (Le Fabuleux destin) 2001")


def test_a_bar_that_is_nearly_empty_is_not_praised():
    assert "8% · distant match" in match_bar(0.08) and "20% · fair match" in match_bar(0.2)
    assert "8% · match" in match_bar(0.08, praise=False)


def test_a_newcomer_can_start_without_typing(page):
    assert len(keyed(page, "start-")) == len([row for row in POPULARITY if row[0] == "*"])  # of six that are asked for
    press(page, "example")
    assert len(keyed(page, "drop-")) == 2
    assert keyed(page, "start-") == []


def test_a_favourite_can_be_taken_back(page):
    press(find(page, "matrix"), "pick-5")
    press(page, "drop-5")
    assert keyed(page, "drop-") == []
    assert "what most people like" in page.subheader[0].value


def test_more_like_this_and_not_for_me(warehouse, monkeypatch):
    page = open_page(warehouse, monkeypatch, likes="3")
    assert [film.split(" ")[1:4] for film in films(page)] == [["1", "The", "Matrix"], ["2", "Amélie", "(Le"],
                                                             ["3", "Toy", "Story"]]  # fmt: skip
    click(page, "less", 5)
    # The Matrix leaves; its list takes little away from what Heat's gave Toy Story, which stays.
    assert keyed(page, "forgive-") == ["The Matrix \\(1999\\)"]
    assert [film for film in films(page) if "The Matrix" in film] == []
    assert [film.split(" ")[1:3] for film in films(page)] == [["1", "Amélie"], ["2", "Toy"]]
    press(page, "forgive-5")
    assert "The Matrix" in films(page)[0]
    click(page, "more", 6)
    assert keyed(page, "drop-") == ["Heat \\(1995\\)", "Amélie \\(Le Fabuleux destin\\) \\(2001\\)"]


@pytest.mark.parametrize("sent", ["5", [5], {"a": 5}, None, 10**20, 3, -1.5])
def test_a_click_on_what_no_card_shows_does_nothing(warehouse, monkeypatch, sent):
    page = open_page(warehouse, monkeypatch, likes="3")
    before = films(page)
    for button in ("more", "less", "up", "down", "else"):
        click(page, button, sent)
    assert films(page) == before and dict(page.query_params) == {"likes": "3"}
    assert not Sessions(warehouse / "sessions.sqlite").feedback()


def test_steering_acts_and_says_what_is_left(warehouse, monkeypatch):
    page = open_page(warehouse, monkeypatch, likes="1,3")
    page.multiselect(key="genres").set_value(["Comedy"]).run()
    assert all("Comedy" in film for film in films(page))
    comedies = sum("Comedy" in movie[3] for movie in MOVIES)
    assert f"{comedies} of {len(MOVIES)} titles fit your filter." in [caption.value for caption in page.caption]
    page.slider(key="years").set_value((2013, 2013)).run()
    assert [film.split(" Comedy")[0] for film in films(page)] == ["H 1 The Heat 2013"]
    assert "Only 1 fits." in page.info[0].value
    page.multiselect(key="without").set_value(["Crime"]).run()
    assert films(page) == [] and "No film fits" in page.info[0].value
    page.session_state.query = True  # opened
    assert "genres := ['Comedy'], without_genres := ['Crime'], from_year := 2013" in page.run().code[-1].value
    page.button[[button.label for button in page.button].index("Reset")].click().run()
    assert page.multiselect(key="genres").value == [] and len(keyed(page, "drop-")) == 2


def test_the_address_gives_the_same_page_again(warehouse, monkeypatch):
    page = open_page(warehouse, monkeypatch, likes="1,3")
    page.select_slider(key="hidden").set_value(-1.0).run()
    page.select_slider(key="variety").set_value(0.5).run()
    page.button[[button.label for button in page.button].index("Surprise me")].click().run()
    address = dict(page.query_params)
    assert address == {"likes": "1,3", "hidden": "-1", "variety": "0.5", "surprise": "1"}
    again = open_page(warehouse, monkeypatch, **address)
    assert films(again) == films(page) and films(page) != films(open_page(warehouse, monkeypatch, likes="1,3"))


def go(page, **address):
    """Have the browser send what it has as its address."""
    page.query_params.clear()
    for name, value in address.items():
        page.query_params[name] = value
    return page


def test_a_click_that_is_faster_than_the_address_takes_nothing_back(warehouse, monkeypatch):
    page = open_page(warehouse, monkeypatch, likes="3")
    click(page, "more", 6)
    click(go(page, likes="3"), "less", 5)
    assert dict(page.query_params) == {"likes": "3,6", "not": "5"}
    go(page, likes="3").select_slider(key="hidden").set_value(0.5).run()
    assert dict(page.query_params) == {"likes": "3,6", "not": "5", "hidden": "0.5"}
    click(go(page, likes="3"), "up", 1)
    assert dict(page.query_params) == {"likes": "3,6", "not": "5", "hidden": "0.5"}
    (warehouse / "sessions.sqlite").unlink()


def test_back_takes_back_a_click(warehouse, monkeypatch):
    page = open_page(warehouse, monkeypatch)
    press(find(page, "heat 1995"), "pick-3")
    click(page, "more", 6)
    go(page, likes="3").run()
    assert keyed(page, "drop-") == ["Heat \\(1995\\)"]
    go(page).run()
    assert keyed(page, "drop-") == [] and "what most people like" in page.subheader[0].value


@pytest.mark.parametrize(
    "parameters",
    [
        {"likes": "1;drop table movies,,-5,1e9,99999999999999999999,٣"},
        {"likes": ",".join(map(str, range(1000))), "not": "1,1,1"},
        {"genres": "<script>~'; --~" + "x" * 5000, "years": "abc-9999999", "hidden": "nan", "variety": "1e400"},
        {"likes": "../../etc/passwd", "surprise": "-1", "years": "3000-1", "session": "x" * 10000},
    ],
)
def test_an_address_from_anybody_never_breaks_the_page(warehouse, monkeypatch, parameters):
    page = open_page(warehouse, monkeypatch, **parameters)
    assert not page.exception and not page.error
    assert "Release" in page.caption[-1].value


def test_addresses_are_read_as_they_are_written():
    steering = Steering((5,), ("Film-Noir", "(none)"), ("Sci-Fi",), 1990, None, -0.5, 0.25, 7)
    for choice in (Choice(), Choice((1, 3)), Choice((2**31 - 1,), steering), Choice((), Steering(to_year=0))):
        assert from_address(to_address(choice)) == choice
    assert to_address(Choice()) == {}
    assert from_address({"likes": "1,1,2", "not": "2,3"}) == Choice((1, 2), Steering(dislikes=(3,)))


def test_a_list_is_saved_opened_again_and_deleted_with_its_thumbs(warehouse, monkeypatch):
    page = open_page(warehouse, monkeypatch, likes="1,3", variety="0.5")
    page.text_input(key="new_name").set_value(" Friday <b>night</b> ")
    page.button[[button.label for button in page.button].index("Save")].click().run()
    assert not page.exception
    token = page.session_state.token
    assert [code.value for code in page.code[:2]] == ["/?likes=1,3&variety=0.5", f"/?session={token}"]
    assert "session" not in page.query_params
    click(page, "up", 2)
    click(page, "down", 5)
    click(page, "up", 6)
    assert "is noted" in page.toast[0].value
    assert [card.count('aria-pressed="true"') for card in cards(page)] == [1, 1, 1]
    click(page, "up", 6)
    assert [card.count('aria-pressed="true"') for card in cards(page)] == [1, 1, 0]
    assert "taken back" in page.toast[0].value
    store = Sessions(warehouse / "sessions.sqlite")
    live = page.session_state.release_id
    assert [(row.movie_id, row.thumb, row.release_id, row.favourites) for row in store.feedback()] == [
        (2, 1, live, [1, 3]), (5, -1, live, [1, 3])]  # fmt: skip
    again = open_page(warehouse, monkeypatch, session=token)
    assert keyed(again, "drop-") == ["Toy Story \\(1995\\)", "Heat \\(1995\\)"]
    assert again.session_state.session_name == "Friday <b>night</b>" and again.session_state.variety == 0.5
    press(again, "drop-3")
    again.button[[button.label for button in again.button].index("Save it as it is now")].click().run()
    assert keyed(open_page(warehouse, monkeypatch, session=token), "drop-") == ["Toy Story \\(1995\\)"]
    again.button[[button.label for button in again.button].index("Delete it and my thumbs")].click().run()
    assert store.feedback() == [] and store.load(token) is None
    gone = open_page(warehouse, monkeypatch, session=token)
    assert keyed(gone, "drop-") == [] and "no session behind this link" in gone.toast[0].value


def test_controls_stay_while_what_they_did_stays(warehouse, monkeypatch):
    page = open_page(warehouse, monkeypatch, likes="1")
    page.text_input(key="new_name").set_value("Friday")
    labels = [button.label for button in page.button]
    page.button[labels.index("Save")].click().run()
    page.button[[button.label for button in page.button].index("Surprise me")].click().run()
    press(page, "drop-1")
    page.button[[button.label for button in page.button].index("Back to the best")].click().run()
    assert dict(page.query_params) == {}
    page.button[[button.label for button in page.button].index("Delete it and my thumbs")].click().run()
    assert "Deleted" in page.toast[0].value and Sessions(warehouse / "sessions.sqlite").stored().n_sessions == 0
    (warehouse / "sessions.sqlite").unlink()


def test_nobody_is_let_dislike_more_than_counts(tmp_path, monkeypatch):
    more = [
        (number, f"Film {number}", 2000, ["Drama"], None, None, 9, 3.0, "", str(number)) for number in range(11, 61)
    ]
    publish(tmp_path, movies=[*MOVIES, *more])
    for n, full in ((49, False), (50, True)):
        page = open_page(tmp_path, monkeypatch, **{"not": ",".join(map(str, range(11, 11 + n)))})
        assert {"disabled" in re.search("<button class=.less[^>]*", card)[0] for card in cards(page)} == {full}


def test_where_nothing_can_be_kept_the_page_says_so_and_goes_on(warehouse, monkeypatch):
    (warehouse / "sessions.sqlite").write_text("something else " * 100)
    page = open_page(warehouse, monkeypatch, likes="1,3")
    click(page, "up", 2)
    assert not page.exception and "damaged or holds no sessions" in page.toast[0].value and len(films(page)) > 2
    (warehouse / "sessions.sqlite").unlink()


def test_a_cold_favourite_is_labelled(page):
    press(find(page, "unseen"), "pick-9")
    assert any("Crime" in film and "Much liked in the genres of Unseen " in film for film in films(page))
    assert any("Action Much liked by everyone" in film for film in films(page))


def test_a_favourite_that_hardly_anyone_rated_is_not_praised_as_if_people_had(tmp_path, monkeypatch):
    lists = [*NEIGHBOURS, (9, 3, 1, 0.5), (9, 4, 2, 0.25)]
    build = write_build(tmp_path, neighbours=lists)
    build.record("config", {"neighbours": {"min_support": 7}})
    build.publish(k=4, als_rank=2, min_support=1)
    page = open_page(tmp_path, monkeypatch, likes="9,5")
    assert "Because you liked The Matrix 50% · Unseen 50%, by its genres and year ★" in films(page)[0]
    caption = next(caption.value for caption in page.caption if "Match" in caption.value)
    assert "Hardly anyone has rated Unseen:" in caption and "Matrix" not in caption
    page = open_page(tmp_path, monkeypatch, likes="9")
    assert "Heat 1995 Crime Because you liked Unseen , by its genres and year ★" in films(page)[0]
    assert not any("match" in film for film in films(page))
    assert any(caption.value.startswith("Hardly anyone has rated Unseen:") for caption in page.caption)
    page = open_page(tmp_path, monkeypatch, likes="3,4")
    caption = next(caption.value for caption in page.caption if "Match" in caption.value)
    assert "Hardly anyone has rated The Heat \\(2013\\):" in caption
    assert not any("by its genres" in film for film in films(open_page(tmp_path, monkeypatch, likes="3")))


def test_a_long_text_is_cut(page):
    find(page, "toy story" + " " * 300 + "x" * 5000)
    assert keyed(page, "pick-")[0].startswith("**Toy Story")
    (found,) = [element.proto.body for element in page.get("html") if "data-text" in element.proto.body]
    assert len(found) < 400


def test_who_gets_no_turn_is_told_so_and_may_try_again(page, monkeypatch):
    monkeypatch.setattr(app_films, "PATIENCE", 0.05)
    for _ in range(app_films.DRAWN_AT_ONCE):
        app_films.turns().acquire()
    page.run()
    assert "Many people are here" in page.info[0].value and films(page) == []
    for _ in range(app_films.DRAWN_AT_ONCE):
        app_films.turns().release()
    page.button[0].click().run()
    assert films(page) and len(keyed(page, "start-")) > 0


def test_a_first_release_that_cannot_be_had_is_not_asked_for_by_every_visitor(tmp_path, monkeypatch):
    asked = []

    def fetch(*arguments, **options):
        asked.append(arguments)
        raise PipelineError("release.zip: cannot be fetched")

    monkeypatch.setattr(archive, "fetch", fetch)
    monkeypatch.setenv("RELEASE_URL", "http://127.0.0.1:9/release.zip")
    page = open_page(tmp_path, monkeypatch)
    page.run()
    assert "cannot be fetched" in page.info[0].value and len(asked) == 1


def test_a_host_s_variable_holds_options_and_the_command_line_goes_before_it(monkeypatch):
    monkeypatch.setattr("sys.argv", ["streamlit_app.py", "--set", "page.item=gem"])
    monkeypatch.setenv("PAGE_OPTIONS", "--set page.item=play --set 'page.items=all plays'")
    page = settings.__wrapped__().page
    assert (page.item, page.items) == ("gem", "all plays")
    monkeypatch.setenv("PAGE_OPTIONS", "--set 'page.item=play")
    with pytest.raises(PipelineError, match=r"PAGE_OPTIONS in the environment: No closing quotation"):
        settings.__wrapped__()


def test_nothing_found_is_said(page):
    find(page, "qqqqqqqq")
    assert keyed(page, "pick-") == []
    assert any("Fewer letters" in caption.value for caption in page.caption)
    find(page, "1995")
    assert any("Add a word of the title" in caption.value for caption in page.caption)


def test_an_empty_warehouse_is_one_friendly_sentence(tmp_path, monkeypatch):
    page = open_page(tmp_path, monkeypatch)
    assert not page.exception
    assert "./spark-submit.sh" in page.info[0].value


def overwrite(database):
    database.write_bytes(b"not a database" * 1000)


def without(what):
    """Return what puts a copy of a database in its place that lacks something."""

    def replace(database):
        copy = shutil.copy(database, database.with_suffix(".copy"))
        with duckdb.connect(copy) as connection:
            connection.execute(f"drop {what}")
        os.replace(copy, database)

    return replace


@pytest.mark.parametrize(
    "damage", [overwrite, without("table neighbours"), without("table movies"), without("macro table search_movies")]
)
def test_a_release_that_is_damaged_under_an_open_page_is_one_sentence_until_it_is_mended(
    tmp_path, monkeypatch, caplog, damage
):
    database = publish(tmp_path / "some where") / "serving.duckdb"
    page = open_page(tmp_path / "some where", monkeypatch, likes="1")
    whole = films(page)
    kept = shutil.copy2(database, tmp_path / "kept")
    damage(database)
    find(page, "heat")
    said = [info.value for info in page.info if "No recommendations just now" in info.value]
    assert not page.exception and len(set(said)) == 1
    assert "pipeline rollback" in said[0] and str(tmp_path) not in said[0]
    if damage is overwrite:
        assert str(database) in caplog.text
    os.replace(kept, database)
    page.run()
    assert films(page) == whole and not [info for info in page.info if "just now" in info.value]


def test_what_nobody_foresaw_shows_no_stack_trace(page, monkeypatch):
    def broken(*arguments):
        raise ValueError(f"a secret of {ROOT}")

    monkeypatch.setattr(app_films, "films", broken)
    (shown,) = page.run().exception
    assert "secret" not in shown.message and not list(shown.stack_trace)


def test_a_wrong_setting_is_one_sentence(tmp_path, monkeypatch):
    import streamlit as st

    publish(tmp_path)
    page = open_page(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", "--set", "als.rnak=8"])
    st.cache_resource.clear()
    page.run()
    assert not page.exception and "No recommendations just now" in page.info[0].value
    assert "did you mean 'als.rank'" in page.info[0].value


def test_folders_are_left_out_of_what_visitors_see():
    assert without_folders("/srv/a/CURRENT: 'x' (Error: \"/srv/b c/d.db\"); run ./spark-submit.sh or http://a/b/c") == (
        "CURRENT: 'x' (Error: \"b c/d.db\"); run ./spark-submit.sh or http://a/b/c"
    )


def test_a_new_release_is_picked_up_by_an_open_page(tmp_path, monkeypatch):
    first = publish(tmp_path)
    page = open_page(tmp_path, monkeypatch, likes="1,3", genres="Comedy")
    assert any(first.name in caption.value for caption in page.caption)
    # Without Heat: what was picked goes on without it.
    movies = [movie for movie in MOVIES if movie[0] != 3]
    lists = [row for row in NEIGHBOURS if 3 not in row[:2]]
    lists = [(5, 1, 1, 0.25) if row[:2] == (5, 1) else row for row in lists]
    popularity = [("*", 5, 1, 1.0), ("*", 1, 2, 0.75), ("Comedy", 1, 1, 0.75)]
    factors = [(movie, [1.0, 0.5]) for movie in (1, 2, 5)]
    second = publish(tmp_path, movies=movies, neighbours=lists, popularity=popularity, item_factors=factors)
    page.run()
    assert not page.exception
    assert any(second.name in caption.value for caption in page.caption)
    assert keyed(page, "drop-") == ["Toy Story \\(1995\\)"]
    assert page.multiselect(key="genres").value == ["Comedy"]


def test_markup_in_titles_is_shown_as_text(tmp_path, monkeypatch):
    evil = "<script>alert(1)</script> *bold* [link](http://x) $x$ :smile:"
    publish(tmp_path, movies=[MOVIES[0], (2, evil, *MOVIES[1][2:]), *MOVIES[2:]])
    page = open_page(tmp_path, monkeypatch)
    press(find(page, "toy story"), "pick-1")
    body = cards(page)[0]
    assert "<script" not in body and html.escape(evil) in body
    click(page, "more", 2)
    shown = keyed(page, "drop-2")[0]
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "") == f"{evil} (1999)"
    assert not re.search(r"(?<!\\)[<>*\[\]$:()]", shown)
