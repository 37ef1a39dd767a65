"""Anything at all, at every door: an answer or one clear line, never a stack trace, a hang, or a wrong release.

./run-tests.sh tests/data/test_fuzz.py --hypothesis-profile exhaustive -n 0 tries more than fifty thousand, and says how
many.
"""

import argparse
import collections
import csv
import html.parser
import io
import os
import re
import shutil
from random import Random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from app.address import from_address, to_address
from app.cards import button, card
from pipeline import config
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest
from pipeline.config import PipelineError
from pipeline.data import checks, reader
from pipeline.release import store
from pipeline.serving import analyst
from pipeline.serving.recommender import Because, Recommendation, Recommender, _literal
from pipeline.serving.sessions import Sessions
from pipeline.serving.steering import UNSTEERED, Steering
from tests.conftest import TINY, submit
from tests.conftest import settings as data_in

TRIED: collections.Counter = collections.Counter()
FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))

# Texts that have broken programs before, beside whatever Hypothesis thinks of.
NASTY = [
    "", " ", "\x00", "\ufeff", "'", '"', "''", ";", "--", "/*", "*/", "\\", "%", "_", "$1", "?", "{}", "{0}", "%s",
    "..", "../..", "/etc/passwd", "=1+1", "=cmd|' /C calc'!A0", "@SUM(1)", "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "]]>", "javascript:alert(1)", "'; drop table movies; --",
    "') union select * from movies --", "\u202e\u0634\u0627", "\u0645\u0631\u062d", "\U0001f469\u200d\U0001f466",
    "\ud800", "e\u0301", "\ufb00", "\u0130", "\u00df", "NaN", "inf", "-0", "1e999", "2147483648", "-2147483649",
    "9" * 400, "a" * 10_000, "null", "None", "true", "[", "(1995)", "(", "a.k.a.", "2000-01-01", "0x10", "1_000",
    "\uff11\uff12",
]  # fmt: skip
PAIRS = st.builds("{}{}".format, st.sampled_from(NASTY), st.text(max_size=9))
TEXT = st.one_of(st.sampled_from(NASTY), st.text(max_size=60), PAIRS)
SAFE_TEXT = TEXT.filter(lambda text: "\ud800" not in text)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.integers(-3, 12), st.floats(), st.booleans(), st.none(), TEXT)
IDS = st.lists(st.one_of(st.integers(-2, 12), NUMBERS), max_size=60)
KEYS = ["als.rank", "neighbours.k", "gates.skip", "data.dir", "example.favourites", "data.columns", "data.files"]
STEERING = st.fixed_dictionaries({
    "dislikes": IDS.map(tuple), "genres": st.lists(TEXT, max_size=5).map(tuple),
    "without_genres": st.lists(TEXT, max_size=5).map(tuple), "from_year": NUMBERS, "to_year": NUMBERS,
    "hidden": NUMBERS, "variety": NUMBERS, "surprise": NUMBERS,
})  # fmt: skip


@pytest.fixture(scope="module")
def recommender(warehouse):
    opened = Recommender(store.release_dir(warehouse))
    yield opened
    opened.close()


@pytest.fixture(scope="module", autouse=True)
def count(request):
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{sum(TRIED.values()):,} fuzzed inputs: {dict(TRIED)}")


def answer(door, action):
    """Count an input, and return what the action answers, None where it refuses in one line."""
    TRIED[door] += 1
    try:
        return action()
    except PipelineError as error:
        assert "\n" not in str(error) and "Traceback" not in str(error)
        return None


@FUZZ
@given(favourites=IDS, k=NUMBERS, given_steering=st.one_of(st.just({}), STEERING))
def test_recommend_takes_anything(recommender, favourites, k, given_steering):
    steering = answer("steering", lambda: Steering(**given_steering)) or UNSTEERED
    rows = answer("recommend", lambda: recommender.recommend(favourites, k, steering))
    if rows is not None:
        ids = [row.movie_id for row in rows]
        assert len(set(ids)) == len(ids) <= k and not set(ids) & {*favourites, *steering.dislikes}
        for row in rows:
            assert not steering.genres or set(row.genres) & set(steering.genres)
            assert not set(row.genres) & set(steering.without_genres)
        asked = recommender._rows(recommender.sql(favourites, k, steering), [])
        assert [row[1] for row in asked] == ids


@FUZZ
@given(text=TEXT, k=NUMBERS)
def test_search_and_titles_take_anything(recommender, text, k):
    for match in answer("search", lambda: recommender.search(text, k)) or []:
        assert 0.6 <= match.match <= 1
    answer("resolve", lambda: recommender.resolve(text))


@FUZZ
@given(text=SAFE_TEXT)
def test_a_literal_is_the_text_it_stands_for(text):
    TRIED["literal"] += 1
    assert duckdb.execute(f"select {_literal(text)}").fetchall() == [(text,)]


@FUZZ
@given(parameters=st.dictionaries(
    st.sampled_from(["likes", "not", "genres", "without", "years", "hidden", "variety", "surprise", "session"]),
    st.one_of(TEXT, st.lists(st.integers(-5, 2**33).map(str), max_size=80).map(",".join), st.lists(TEXT).map("~".join)),
))  # fmt: skip
def test_an_address_is_a_choice_that_can_be_answered(recommender, parameters):
    TRIED["address"] += 1
    choice = from_address(parameters)
    assert from_address(to_address(choice)) == choice
    assert recommender.recommend(list(choice.favourites), 10, choice.steering) is not None


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.attributes = set(), set()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attributes}


@FUZZ
@given(title=TEXT, genres=st.lists(TEXT, max_size=4), because=TEXT, imdb=TEXT, source=TEXT)
def test_a_card_is_our_markup_alone(title, genres, because, imdb, source):
    TRIED["card"] += 1
    row = Recommendation(1, 1, title, None, genres, 1.0, [Because(1, because, 1.0)], source, 3, 4.0, imdb, None, 95)
    tags = Tags()
    asks = [
        button("more", row, "More", tip=because, disabled=True),
        button("up", row, "Up", icon_alone=True, pressed=True),
    ]
    tags.feed(card(row._replace(source="neighbours"), 0.5, None, because, buttons=asks) + card(row, None, None, title))
    assert tags.seen <= {"article", "div", "h3", "span", "p", "b", "i", "a", "button"}
    known = {"class", "style", "aria-hidden", "title", "href", "target", "rel", "aria-label"}
    known |= {"name", "value", "disabled", "aria-pressed"}
    assert tags.attributes <= known


@settings(FUZZ, max_examples=20)
@given(statement=st.one_of(TEXT, st.builds("select {} from {} where {}".format, TEXT, TEXT, TEXT)))
def test_sql_takes_anything(recommender, statement):
    answer("sql", lambda: analyst.ask(recommender.folder, statement, analyst.Bounds(seconds=2, rows=10, memory_mb=128)))


@FUZZ
@given(name=TEXT, state=TEXT, token=st.one_of(st.none(), TEXT), movie=NUMBERS, thumb=NUMBERS, favourites=IDS)
def test_sessions_take_anything(tmp_path_factory, name, state, token, movie, thumb, favourites):
    sessions = Sessions(tmp_path_factory.getbasetemp() / "fuzz.sqlite")
    saved = answer("session", lambda: sessions.save(name, state, token))
    if saved:
        loaded = sessions.load(saved)
        assert (loaded.name, loaded.state) == tuple(t.encode(errors="replace").decode() for t in (name.strip(), state))
        answer("thumb", lambda: sessions.give_feedback(saved, "r", movie, thumb, favourites))
    answer("session", lambda: sessions.load(token or name))


@FUZZ
@given(release_id=TEXT)
def test_releases_are_found_by_their_ids_alone(warehouse, release_id):
    assert answer("release id", lambda: store.release_dir(warehouse, release_id)) is None


@FUZZ
@given(
    key=st.one_of(TEXT, st.sampled_from(KEYS)),
    value=st.one_of(TEXT, NUMBERS.map(str), st.builds("{{{}: {}}}".format, st.sampled_from(["title", "movies"]), TEXT)),
)
def test_settings_take_anything(key, value):
    answer("setting", lambda: config.load([], [f"{key}={value}"]))


def fuzzed_line(random, fields, width, plausible):
    """Return a line of a file: now and then as it should be, mostly not, quoted well, badly or not at all."""
    row = random.choices(fields, k=width if random.random() < 0.9 else random.randint(1, 7))
    if random.random() < 0.5:
        row[0] = str(random.randint(1, 50))
    if random.random() < plausible:
        row = [str(random.randint(1, 50)), str(random.randint(1, 50)), str(random.randint(1, 10) / 2), "1000"][:width]
    if random.random() < 0.5:
        out = io.StringIO()
        csv.writer(out, quoting=random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), lineterminator="").writerow(row)
        return re.sub(r"[\r\n]", " ", out.getvalue())
    return re.sub(r"[\r\n]", " ", ",".join(row))


# What a folder of data may hold: the names of the files that are looked for, and what stands in them.
FILES = [
    "ratings.csv", "movies.csv", "links.csv", "tags.csv", "ratings.dat", "movies.dat", "u.data", "u.item", "tags.dat",
    "ratings.txt", "title.basics.tsv", "imdb.parquet", "ratings.parquet", "movies.parquet", "links.parquet",
]  # fmt: skip
HEADERS = [
    "userId", "movieId", "rating", "timestamp", "title", "genres", "imdbId", "tmdbId", "tag", "user_id", "USERID",
    "year", "row", "file", "block", "position", "malformed", "_metadata", "reason", "a`b", "a.b", "a b", "", "other 1",
    "field.x",
]  # fmt: skip
USUAL = {
    "ratings": ["userId", "movieId", "rating", "timestamp"], "movies": ["movieId", "title", "genres"],
    "links": ["movieId", "imdbId", "tmdbId"], "tags": ["userId", "movieId", "tag", "timestamp"],
}  # fmt: skip
CELLS = st.one_of(
    st.integers(-3, 60).map(str), st.sampled_from(["0.5", "4", "5", "1000", "A|B", "Heat (1995)"]), SAFE_TEXT
)
VALUES = [
    st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.none(), SAFE_TEXT, st.binary(max_size=9),
    st.datetimes(), st.decimals(allow_nan=False, places=3, min_value=-99, max_value=99),
    st.lists(st.text("abc", max_size=3), max_size=3), st.fixed_dictionaries({"a": st.integers(0, 9)}),
]  # fmt: skip


@st.composite
def data_files(draw):
    """Return the name of a file and its bytes."""
    name = draw(st.sampled_from(FILES))
    table = name.split(".")[0]
    header = draw(st.lists(st.sampled_from(HEADERS), max_size=4))
    header = draw(st.permutations(USUAL.get(table, []) + header))
    if name.endswith(".parquet"):
        n_rows = draw(st.integers(0, 4))
        columns = {}
        for field in header:
            kind = draw(st.sampled_from(VALUES))
            columns[field] = draw(st.lists(kind, min_size=n_rows, max_size=n_rows))
        try:
            sink = io.BytesIO()
            pq.write_table(pa.table(columns), sink)
        except (pa.ArrowException, OverflowError, ValueError):
            return name, draw(st.binary(max_size=50))
        return name, sink.getvalue()
    separator = draw(st.sampled_from([",", ",", ",", "\t", ";", "::", "|", " "]))
    rows = draw(st.lists(st.lists(CELLS, min_size=1, max_size=max(len(header), 3)), max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(separator.join(row) for row in ([header] if draw(st.booleans()) else []) + rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-32"]))
    return name, text.encode(encoding, errors="replace") + draw(st.one_of(st.just(b""), st.binary(max_size=9)))


def test_any_folder_of_data_is_loaded_or_refused(spark, tmp_path):
    """Beside two sound files, whatever else a folder may hold; in place of them, too."""
    thorough = settings.default.max_examples > 1000
    options = argparse.Namespace(conf=[], settings=[])

    @settings(FUZZ, max_examples=100 if thorough else 3)
    @given(
        files=st.lists(data_files(), min_size=1, max_size=3),
        sound=st.booleans(),
        ids=st.sampled_from(["integer", "string"]),
    )
    def load_any(files, sound, ids):
        TRIED["folders of files"] += 1
        folder = tmp_path / "data"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if sound:
            (folder / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n2,1,5\n1,2,3\n")
            (folder / "movies.csv").write_text("movieId,title\n1,Heat (1995)\n2,Emma (1996)\n")
        for name, content in files:
            if not (folder / name).exists():
                (folder / name).write_bytes(content)
        given = config.load([], [f"data.dir={folder}", f"warehouse.dir={tmp_path / 'w'}", f"data.ids={ids}"])
        run = Run(given, spark, Console(file=io.StringIO()), options)
        run.start_build()
        try:
            ratings, movies, words = ingest(run)
        except PipelineError as error:
            assert "\n" not in str(error) and "Traceback" not in str(error)
            return
        known = {row.movie_id for row in movies.collect()}
        for row in ratings.collect():
            assert row.movie_id in known and 0.5 <= row.rating <= 5 and abs(row.user_id) < 2**31
        assert all(row.movie_id in known for row in words.collect())
        spark.catalog.clearCache()

    load_any()


def test_files_of_anything_are_read_row_by_row(spark, tmp_path):
    """Every line of a file is accepted or refused with a reason; nothing gets lost, doubled or through.

    The exhaustive profile publishes them, too.
    """
    thorough = settings.default.max_examples > 1000
    seed = int.from_bytes(os.urandom(4)) if thorough else 7
    random, folder = Random(seed), tmp_path
    letters = "".join(map(chr, [*range(1, 0x250), *range(0x600, 0x640), *range(0x1F600, 0x1F640)]))
    fields = [text for text in NASTY if "\ud800" not in text] + [str(number) for number in range(-3, 60)]
    fields += ["".join(random.choices(letters, k=random.randint(1, 30))) for _ in range(300)]
    written = {
        table: [fuzzed_line(random, fields, width, plausible) for _ in range(10_000 if thorough else 300)]
        for table, width, plausible in (("ratings", 4, 0.6), ("movies", 3, 0.3))
    }
    TRIED["rows of files"] += sum(map(len, written.values()))
    header = {"ratings": "userId,movieId,rating,timestamp", "movies": "movieId,title,genres"}
    for table, content in written.items():
        text = "\n".join([header[table], *content]) + "\n"
        (folder / f"{table}.csv").write_text(text, encoding="utf-8", newline="")
    read_movies, read_ratings = reader.read_movies(spark, str(folder)), reader.read_ratings(spark, str(folder))
    accepted = []
    items, users = checks.numbered_items(read_movies, None, 0), checks.numbered_users(read_ratings)
    for numbers in ((None, None), (items, users)):  # ids are integers, or text
        checked = checks.checked_movies(read_movies, numbers[0]).persist()
        known = checked.where("reason is null")
        bounds = {"min_rating": 0.5, "max_rating": 5.0, "events": numbers[0] is not None}
        ratings = checks.checked_ratings(read_ratings, known, numbers[1], **bounds).persist()
        for table, frame in (("movies", checked), ("ratings", ratings)):
            counted = {row.reason: row["count"] for row in frame.groupBy("reason").count().collect()}
            data_lines = [line for line in written[table] if line.strip() and line != header[table]]
            assert sum(counted.values()) == len(data_lines), (table, seed)
        for row in checks.accepted_ratings(ratings, events=bounds["events"]).collect():
            assert 0.5 <= row.rating <= 5 or (bounds["events"] and row.rating > 0)
            assert abs(row.user_id) < 2**31 and abs(row.movie_id) < 2**31
        rows = known.collect()
        assert all(row.title and 0 < len(row.item_id) <= 256 for row in rows)
        assert len({row.movie_id for row in rows}) == len({row.item_id for row in rows}) == len(rows)
        accepted.append({(row.movie_id, row.title) for row in rows})
    if thorough:
        published = folder / "warehouse"
        anything = ["neighbours.min_support=1", "data.max_rejected_share=1"]
        tiny = [*TINY, *(word for setting in anything for word in ("--set", setting))]
        result = submit("jobs/run_pipeline.py", *data_in(folder, published), *tiny)
        assert result.returncode == 0, (result.stdout, seed)
        live = store.release_dir(published)
        assert not store.damage(live)
        movies = duckdb.sql(f"select movie_id, title from read_parquet('{live}/movies/*.parquet')").fetchall()
        assert set(movies) == accepted[0], seed
