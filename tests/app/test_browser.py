"""What a visitor does, in a real browser: a catalogue of 100 thousand titles, and one made by hand."""

import contextlib
import os
import re
import urllib.parse

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Error, expect, sync_playwright

from benchmarks import page as server
from pipeline.serving.recommender import Recommender, named
from tests.conftest import MOVIES, NEIGHBOURS, publish

SEARCH = "Films you love"
SERIOUS = ("serious", "critical")
pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds: other tests run beside these, and how fast the page is is measured elsewhere
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        try:
            browser = server.launched(playwright)
        except Error as error:
            if os.environ.get("CI"):
                raise  # there it is installed, and a visit that nobody tested must not look tested
            pytest.skip(f"no Chromium that starts ({str(error).splitlines()[0]}); apt install chromium")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The page on a hundred thousand titles, as hosts serve it, and its release."""
    warehouse = tmp_path_factory.mktemp("large")
    folder = server.publish(warehouse, 100_000, 20)
    kept = ["--set", f"sessions.path={warehouse / 'sessions.sqlite'}"]
    with server.served(warehouse, *kept, script="app/server.py") as (address, _):
        yield address, Recommender(folder)


@pytest.fixture
def visit(chromium):
    """Return a function that opens an address in a window of its own and fails on any script error."""
    contexts, errors = [], []

    def open_page(address, *, width=1280, scheme="light", last=None):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        foreign = lambda url: urllib.parse.urlsplit(url).hostname not in ("127.0.0.1", None)  # noqa: E731
        page.on("request", lambda request: foreign(request.url) and errors.append(f"asked {request.url}"))
        page.goto(address)
        if last:
            page.get_by_text(last).first.wait_for()
            return page
        page.get_by_text("Data: MovieLens").wait_for()  # what is drawn last
        page.locator(".film").first.wait_for()  # but for this, whose code the browser loads apart
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:  # pytest shows it when the test failed
            with contextlib.suppress(Error):
                print(f"{page.url} shows:\n{page.locator('body').inner_text()}")
        context.close()
    assert errors == []


def settled(page):
    """Wait until the page has come to rest, and return it."""
    expect(page.locator("[data-testid=stSkeleton]")).to_have_count(0)  # stands in for what is being fetched
    expect(page.locator("[data-stale=true]")).to_have_count(0)
    expect(page.locator("[data-testid=stStatusWidget]")).to_have_count(0)
    return page


def films(page):
    """Return the films' titles with their years, without their ranks."""
    page.locator(".film").first.wait_for()
    settled(page)
    titles = page.locator(".film h3").all_inner_texts()
    return [title.split(" ", 1)[1] for title in titles]


def pick(page, text, title):
    """Type, and take the suggestion with this title."""
    page.get_by_label(SEARCH).first.press_sequentially(text, delay=20)
    page.locator(".st-key-suggestions button", has_text=title).first.click()
    expect(page.locator(".st-key-favourites button", has_text=title).first).to_be_visible()
    return settled(page)


def serious_findings(page):
    """Return what axe-core has against the page, as 'rule: element' for what it calls serious or critical."""
    settled(page).evaluate(AXE_FILE_PATH.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}" for rule in found if rule["impact"] in SERIOUS for node in rule["nodes"]
    ]


def test_a_visitor_searches_picks_dislikes_filters_and_shares(large, visit):
    address, recommender = large
    first, second = [movie for movie in recommender.starters(40) if movie.title.count(" ") > 2][:2]
    page = visit(address)
    for movie in (first, second):
        typo = movie.title[:3] + movie.title[4:]
        pick(page, f"{typo} {movie.year}", movie.title)
    ten = films(page)
    expected = recommender.recommend([first.movie_id, second.movie_id])
    assert ten == [f"{row.title} {row.year}" for row in expected]
    assert "Because you liked" in page.locator(".film").first.inner_text()

    for says in ("More like this", "Not for me"):
        assert [button.get_attribute("aria-label") for button in page.get_by_role("button", name=says).all()] == [
            f"{says}: {named(row)}" for row in expected
        ]
    assert page.get_by_role("button", name=f"Thumbs up: {named(expected[3])}", exact=True).count() == 1
    page.get_by_role("button", name=f"Not for me: {named(expected[0])}", exact=True).click()
    expect(page.locator("[class*=st-key-forgive-]")).to_have_count(1)
    expect(page.get_by_role("button", name=f"Not for me: {named(expected[0])}", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Not for me:").first).to_be_focused()
    expect(page.get_by_text(f"Gone: {named(expected[0])}")).to_be_visible()
    assert page.get_by_role("button", name=f"Remove: {named(first)}", exact=True).count() == 1
    without = films(page)
    assert len(without) == 10 and ten[0] not in without

    page.get_by_text("Steer:").click()
    genres = page.get_by_role("combobox", name="Genres")
    expect(genres).to_be_visible()
    # While it opens, the field moves, and a list that hangs on it would close.
    ended = "Promise.allSettled(document.getAnimations().map(animation => animation.finished))"
    # not for ever: what tells that the page is being drawn turns without an end
    page.evaluate(f"Promise.race([{ended}, new Promise(end => setTimeout(end, 2000))])")
    genres.fill("Come")
    page.get_by_role("option", name="Comedy").click()
    expect(page.get_by_text(re.compile(r"[\d,]+ of 100,000 titles fit your filter"))).to_be_visible()
    comedies = films(page)
    assert all("Comedy" in text for text in page.locator(".film .genres").all_inner_texts())

    again = visit(page.url)
    assert films(again) == comedies
    again.get_by_text("Show me the SQL").click()
    statement = again.locator("[data-testid=stCode]").inner_text()
    assert f"dislikes := [{expected[0].movie_id}], genres := ['Comedy']" in " ".join(statement.split())


def test_a_list_is_saved_found_again_by_its_link_and_deleted(large, visit):
    address, recommender = large
    movie = recommender.starters(1)[0]
    page = visit(f"{address}/?likes={movie.movie_id}&variety=0.25")
    ten = films(page)
    page.get_by_role("button", name="Keep or share").click()
    shared = visit(page.locator("[data-testid=stCode]", has_text="likes=").inner_text().strip())
    assert films(shared) == ten
    page.get_by_label("A name for your list").fill("Friday")
    page.get_by_label("A name for your list").press("Enter")
    expect(page.get_by_role("button", name="Saved: Friday")).to_be_visible()
    link = page.locator("[data-testid=stCode]", has_text="session=").inner_text().strip()
    assert "session" not in page.url  # the address is for sharing, this link is a key
    again = visit(link)
    assert films(again) == ten
    again.get_by_role("button", name="Saved: Friday").click()
    again.get_by_role("button", name="Delete it and my thumbs").click()
    expect(again.get_by_role("button", name="Keep or share")).to_be_visible()
    expect(visit(link).get_by_text("no session behind this link")).to_be_visible()


def test_a_newcomer_needs_the_keyboard_alone(large, visit):
    address, recommender = large
    page = visit(address)
    page.locator(".st-key-starters button").first.focus()
    page.keyboard.press("Enter")
    drops = page.locator("[class*=st-key-drop-]")
    expect(drops).to_have_count(1)
    settled(page).get_by_label(SEARCH).first.focus()
    first, second = [movie for movie in recommender.starters(40) if movie.title.count(" ") > 2][-2:]
    for movie in (first, second):  # without waiting: what is typed on is not lost
        page.keyboard.type(f"{movie.title} {movie.year}")
        page.keyboard.press("Enter")
    suggestions = page.locator(".st-key-suggestions button")
    page.keyboard.type("night")
    for movie in (first, second):
        expect(page.locator(".st-key-favourites button", has_text=movie.title).first).to_be_visible()
    expect(drops).to_have_count(3)
    expect(suggestions).not_to_have_count(0)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(suggestions.nth(1)).to_be_focused()
    title = suggestions.nth(1).locator("strong").inner_text()
    page.keyboard.press("Enter")
    expect(drops).to_have_count(4)
    expect(page.locator(".st-key-favourites button", has_text=title).first).to_be_visible()


def test_a_click_elsewhere_closes_the_suggestions(large, visit):
    page = visit(large[0])
    field, suggestions = page.get_by_label(SEARCH).first, page.locator(".st-key-suggestions")
    field.press_sequentially("night")
    expect(suggestions).to_be_visible()
    page.get_by_role("heading", level=1).click()
    expect(suggestions).to_be_hidden()
    field.focus()
    expect(suggestions).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_findings_of_axe_and_nothing_wider_than_a_phone(large, visit, scheme):
    address, recommender = large
    likes = ",".join(str(movie.movie_id) for movie in recommender.starters(3))
    page = visit(f"{address}/?likes={likes}&genres=Comedy~Drama&variety=0.5&not=1", width=380, scheme=scheme)
    assert serious_findings(page) == []
    assert settled(page).evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 380
    assert page.locator(".film").first.bounding_box()["width"] > 300
    start = visit(address, scheme=scheme)
    start.get_by_label(SEARCH).first.press_sequentially("night")
    start.locator(".st-key-suggestions button").first.wait_for()
    assert serious_findings(start) == []


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """The address of a page on two releases: the first has a map, the second measures."""
    folder = tmp_path_factory.mktemp("complete")
    publish(folder, catalogue_map=[(movie[0], movie[0] / 10, -movie[0] / 10) for movie in MOVIES])
    publish(folder, metrics=[("strangers", model, 5, "ndcg", 10, 0.4, 0.3, 0.5) for model in ("served", "popularity")])
    with server.served(folder, "--set", "page.sql=true") as (address, _):
        yield address


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_other_pages_have_no_serious_findings_of_axe(complete, visit, scheme):
    for path, last in (("explore?movie=1", "The map"), ("releases", "All releases"), ("sql", "Run")):
        page = visit(f"{complete}/{path}", last=last, scheme=scheme, width=380)
        assert serious_findings(page) == [], path
        assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 380


@pytest.mark.parametrize("view", server.VIEWS)
def test_the_page_comes_without_a_jump(large, chromium, view):
    """Below a tenth, browsers' makers call a cumulative layout shift good."""
    assert server.moves(chromium, large[0], view) < 0.1


def test_suggestions_move_nothing(large, visit):
    for path, last, label, below in (
        ("", None, SEARCH, ".film"), ("/explore", "The map", "Search films", "[class*=st-key-explore-] button"),
    ):  # fmt: skip
        page = visit(large[0] + path, last=last)
        before = settled(page).locator(below).first.bounding_box()
        page.get_by_label(label).first.press_sequentially("night")
        page.locator(".st-key-suggestions button").first.wait_for()
        assert page.locator(below).first.bounding_box() == before


def test_back_takes_back_a_click_and_the_controls_stay_open(large, visit):
    page = visit(large[0])
    page.locator(".st-key-starters button").first.click()
    expect(page.locator("[class*=st-key-drop-]")).to_have_count(1)
    ten = films(page)
    page.get_by_text("Steer:").click()
    genres = page.get_by_role("combobox", name="Genres")
    expect(genres).to_be_visible()
    page.locator(".film .less").first.click()
    expect(page.locator("[class*=st-key-forgive-]")).to_have_count(1)
    assert films(page) != ten
    expect(genres).to_be_visible()
    page.locator(".film a").first.focus()  # it has no name, as the buttons have
    page.go_back()
    expect(page.locator("[class*=st-key-forgive-]")).to_have_count(0)
    assert films(page) == ten
    page.go_back()
    expect(page.locator("[class*=st-key-drop-]")).to_have_count(0)


def test_buttons_stand_below_what_a_card_says(large, visit):
    address, recommender = large
    for width in (380, 820, 1280):
        page = visit(f"{address}/?likes={recommender.starters(1)[0].movie_id}", width=width)
        films(page)
        for card in page.locator(".film").all():
            about, button = card.locator(".about").bounding_box(), card.get_by_role("button").first.bounding_box()
            assert about["y"] + about["height"] <= button["y"], width


def test_from_a_card_to_its_own_list_and_back_with_another_favourite(chromium, visit, tmp_path):
    publish(tmp_path)
    with server.served(tmp_path) as (address, _):
        page = visit(f"{address}/?likes=3&not=6")
        assert films(page)[0] == "The Matrix 1999"
        with page.expect_popup() as popup:
            page.get_by_label("Explore: The Matrix").click()
        beside = popup.value
        beside.get_by_role("link", name="Recommend films that go with it").click()
        expect(beside.locator(".st-key-favourites button", has_text="The Matrix").first).to_be_visible()
        beside.wait_for_url(re.compile("likes=3%2C5&not=6"))
        assert films(beside) == films(visit(f"{address}/?likes=3,5&not=6"))
        beside.go_back()
        expect(beside.get_by_role("heading", name="The Matrix (1999)")).to_be_visible()
        assert beside.url.endswith("/explore?movie=5&likes=3&not=6")

        page.set_viewport_size({"width": 380, "height": 900})  # the same with the pages of one visit
        page.get_by_role("link", name="Explore", exact=True).click()
        page.get_by_role("button", name="Toy Story (1995)", exact=True).click()
        page.get_by_role("link", name="Recommend films that go with it").click()
        expect(page.get_by_role("button", name="Remove: Toy Story (1995)")).to_be_visible()
        page.wait_for_url(re.compile("likes=3%2C1&not=6"))
        assert films(page) == films(visit(f"{address}/?likes=3,1&not=6"))
        for name, path in (("Explore", "/explore"), ("Films", "/")):  # each link is one step of the browser's Back
            settled(page).get_by_role("link", name=name, exact=True).click()
            page.wait_for_url(f"{address}{path}?likes=3%2C1&not=6")
        for path in ("/explore?likes=3%2C1&not=6", "/?likes=3%2C1&not=6", "/explore?likes=3&not=6&movie=1"):
            settled(page).go_back()
            page.wait_for_url(f"{address}{path}")


def test_a_film_that_is_gone_on_to_is_in_view(large, visit):
    movie = large[1].starters(1)[0]
    page = visit(f"{large[0]}/explore?movie={movie.movie_id}", last="The map", width=380)
    first = page.get_by_role("heading", level=2).first.inner_text()
    near = settled(page).locator("[class*=st-key-near-] button")
    title = near.last.inner_text()
    near.last.click()
    heading = page.get_by_role("heading", level=2).first
    expect(heading).not_to_have_text(first)
    expect(heading).to_be_focused()
    expect(heading).to_be_in_viewport()
    assert heading.inner_text() in title


def test_a_new_release_arrives_under_an_open_page(chromium, visit, tmp_path):
    first = publish(tmp_path)
    with server.served(tmp_path) as (address, _):
        page = visit(f"{address}/?likes=3")
        assert films(page) == ["The Matrix 1999", "Amélie (Le Fabuleux destin) 2001", "Toy Story 1995"]
        expect(page.get_by_text(first.name)).to_be_visible()
        lists = [row for row in NEIGHBOURS if row[0] != 3] + [(3, 1, 1, 0.75), (3, 5, 2, 0.25)]
        second = publish(tmp_path, neighbours=sorted(lists))
        pick(page, "emma", "Emma")
        expect(page.get_by_text(second.name)).to_be_visible()
        assert films(page)[0] == "Toy Story 1995"
        (tmp_path / "CURRENT").write_text("nonsense")
        page.locator(".film .more").first.click()
        expect(page.get_by_text("names no published release")).to_be_visible()
        (tmp_path / "CURRENT").write_text(first.name + "\n")
        back = visit(f"{address}/?likes=3")
        assert films(back)[0] == "The Matrix 1999"


def test_markup_in_titles_runs_nothing(chromium, visit, tmp_path):
    evil = "<img src=x onerror=\"document.title='owned'\"> [x](javascript:alert(1))"
    publish(tmp_path, movies=[MOVIES[0], (2, evil, *MOVIES[1][2:]), *MOVIES[2:]])
    with server.served(tmp_path) as (address, _):
        page = visit(f"{address}/?likes=1")
        assert films(page)[0] == f"{evil} 1999"
        page.locator(".film .more[value='2']").click()
        expect(page.locator(".st-key-favourites button", has_text=evil).first).to_be_visible()
        assert page.title() == "Ten films for you"
        assert page.locator("img[src=x]").count() == 0
