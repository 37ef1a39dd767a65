"""The page's logic, without a browser."""

import re
import sys

import pytest
from streamlit.testing.v1 import AppTest

from tests.conftest import MOVIES, NEIGHBOURS, ROOT, publish


@pytest.fixture
def page(warehouse, monkeypatch):
    return open_page(warehouse, monkeypatch)


def open_page(warehouse, monkeypatch):
    import streamlit as st

    st.cache_resource.clear()
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", "--set", f"warehouse.dir={warehouse}"])
    return AppTest.from_file(str(ROOT / "app" / "streamlit_app.py"), default_timeout=30).run()


def labels(page):
    return [button.label for button in page.button]


def test_a_visitor_picks_two_favourites_and_gets_films_with_reasons(page):
    assert not page.exception
    assert any("Meanwhile" in caption.value for caption in page.caption)
    page.text_input[0].set_value("toy stroy").run()
    assert labels(page) == ["Toy Story (1995)", "Toy Story 2 (1999)"]
    page.button[0].click().run()
    assert page.text_input[0].value == ""
    page.text_input[0].set_value("heat 1995").run()
    page.button[0].click().run()
    assert not page.exception
    assert labels(page) == ["Toy Story (1995)", "Heat (1995)"]
    titles = [markdown.value for markdown in page.markdown]
    assert titles[:2] == ["**1. Toy Story 2** (1999)", "**2. The Matrix** (1999)"]
    captions = [caption.value for caption in page.caption]
    assert "Animation · Comedy  \nBecause you like Toy Story \\(100%\\)" in captions
    assert "Action  \nBecause you like Heat \\(75%\\), Toy Story \\(25%\\)" in captions


def test_a_favourite_can_be_taken_back(page):
    page.text_input[0].set_value("matrix").run()
    page.button[0].click().run()
    assert labels(page) == ["The Matrix (1999)"]
    page.button[0].click().run()
    assert labels(page) == []
    assert any("Meanwhile" in caption.value for caption in page.caption)


def test_a_cold_favourite_is_labelled(page):
    page.text_input[0].set_value("unseen").run()
    page.button[0].click().run()
    captions = [caption.value for caption in page.caption]
    assert "Crime  \nMuch liked in the genres of Unseen \\(100%\\)" in captions
    assert "Action  \nMuch liked by everyone" in captions


def test_nothing_found_is_said(page):
    page.text_input[0].set_value("qqqqqqqq").run()
    assert labels(page) == []
    assert any("No other title" in caption.value for caption in page.caption)


def test_an_empty_warehouse_is_one_friendly_sentence(tmp_path, monkeypatch):
    page = open_page(tmp_path, monkeypatch)
    assert not page.exception
    assert "./spark-submit.sh" in page.info[0].value


def test_a_new_release_is_picked_up_by_an_open_page(tmp_path, monkeypatch):
    first = publish(tmp_path)
    page = open_page(tmp_path, monkeypatch)
    assert any(first.name in caption.value for caption in page.caption)
    second = publish(tmp_path, neighbours=NEIGHBOURS[:2])
    page.run()
    assert any(second.name in caption.value for caption in page.caption)


def test_markup_in_titles_is_shown_as_text(tmp_path, monkeypatch):
    evil = "<script>alert(1)</script> *bold* [link](http://x) $x$ :smile:"
    publish(tmp_path, movies=[MOVIES[0], (2, evil, *MOVIES[1][2:]), *MOVIES[2:]])
    page = open_page(tmp_path, monkeypatch)
    page.text_input[0].set_value("toy story").run()
    page.button[0].click().run()
    shown = page.markdown[0].value.removeprefix("**1. ").removesuffix("** (1999)")
    assert re.sub(r"\\(.)", r"\1", shown) == evil
    assert not re.search(r"(?<!\\)[<>*\[\]$:()]", shown)
