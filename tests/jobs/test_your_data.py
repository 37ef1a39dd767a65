"""Data that are no films: a shop's order log as docs/your-data.md goes through it, and what else an overlay may say."""

import collections
import csv
import html
import json
import re
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from pipeline import config as configuration
from pipeline.__main__ import main
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest
from pipeline.config import PipelineError
from pipeline.data import checks, reader
from pipeline.release import store
from pipeline.serving import analyst
from pipeline.serving.recommender import Recommender
from pipeline.serving.sessions import Sessions
from pipeline.terminal import console
from tests.app.test_pages import explore_page, releases_page
from tests.commands import commands
from tests.conftest import ROOT, change_settings
from tests.project.test_docs import assert_prints_what_it_shows, typed

PAGE = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
SHOP = str(ROOT / "conf" / "shop.yaml")


@pytest.fixture(scope="module")
def shop(checkout):
    """A checkout in which everything on docs/your-data.md was typed: its shop has a live release."""
    sessions = [command for command in commands("docs/your-data.md") if command.kind == "console"]
    assert len(sessions) == 5
    change_settings(checkout, maxIter=(10, 3), k=(200, 50), titles=(2000, 100))
    assert_prints_what_it_shows(checkout, sessions)
    return checkout


@pytest.fixture(scope="module")
def recommender(shop):
    opened = Recommender(store.release_dir(shop / "warehouse" / "shop"))
    yield opened
    opened.close()


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=";"))


def options(shop, *more):
    places = [f"warehouse.dir={shop}/warehouse/shop", f"sessions.path={shop}/sessions/shop.sqlite", *more]
    return ["--conf", SHOP, *(word for place in places for word in ("--set", place))]


def test_the_catalogue_has_the_shops_ids_and_who_bought(shop, recommender):
    buyers = collections.defaultdict(set)
    for line in table(shop / "data/shop/orders.csv"):
        buyers[line["sku"]].add(line["customer"])
    products = {row["sku"]: row for row in table(shop / "data/shop/products.csv")}
    rows = recommender._rows("select movie_id, item_id, title, genres, n_ratings, mean_rating from movies", [])
    assert {row[1] for row in rows} == set(products)
    for _, item_id, title, genres, n_ratings, mean_rating in rows:
        assert (title, genres) == (products[item_id]["name"], [products[item_id]["category"]])
        assert (n_ratings, mean_rating) == (len(buyers[item_id]), None)
    assert [row[1] for row in sorted(rows)] == sorted(products)
    for part in (shop / "warehouse/shop/releases").rglob("*.parquet"):  # nobody's number, as text or as an integer
        assert "model" in part.parts or not {"user_id", "customer"} & set(pq.read_schema(part).names)


def test_lists_stay_within_the_hobby_and_mostly_with_its_kind_of_people(recommender):
    for item_id in ("FI-0001", "CO-0002", "KN-0003", "RU-0004"):
        favourite = recommender.resolve(f"id:{item_id}")
        rows = recommender.recommend([favourite.movie_id])
        assert {row.source for row in rows} == {"neighbours"} and len(rows) == 10
        assert [row.genres for row in rows] == [favourite.genres] * 10
        kind = favourite.title.split()[1]
        assert sum(kind in row.title for row in rows) >= 8


def test_sql_and_the_terminal_take_the_shops_ids(shop, recommender, capsys):
    statement = "select item_id, title from recommend(ids(['FI-0001', 'none', 'KN-0001']), k := 10)"
    rows = analyst.ask(recommender.folder, statement).rows
    assert {item_id[:2] for item_id, _ in rows} == {"FI", "KN"} and len(rows) == 10
    assert main(["similar", "id:FI-0001", *options(shop)]) == 0
    assert "Goes with Aldan river rod" in capsys.readouterr().out
    assert main(["search", "aldan river rod", *options(shop)]) == 0
    assert "FI-0001" in capsys.readouterr().out
    for text in ("1", "fi-0001", "", "FI-0001 OR 1=1"):  # its number inside, and what is none
        assert main(["recommend", f"id:{text}", *options(shop)]) == 1
        assert "nothing in this catalogue has the id" in capsys.readouterr().err


def test_the_page_speaks_of_products(shop, recommender, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", *options(shop)])
    page = AppTest.from_file(str(ROOT / "app" / "streamlit_app.py"), default_timeout=120)
    page.query_params["likes"] = str(recommender.resolve("id:GA-0001").movie_id)
    page.run()
    assert not page.exception
    kinds = (page.title, page.subheader, page.markdown, page.caption, page.text_input, page.button)
    words = " ".join(f"{getattr(element, 'label', '')} {element.value}" for kind in kinds for element in kind)
    bodies = " ".join(element.proto.body for element in page.get("html"))
    bodies += " ".join(json.loads(page.get("bidi_component")[0].proto.json))
    cards = html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", bodies, flags=re.S))
    assert "Ten products for you" in words and "Products you love" in words and "Ten products that go" in words
    assert "Gardening" in cards and re.search(r"chosen by \d+ people", cards) and "★" not in cards
    assert not re.search("film|movie", words + cards, re.IGNORECASE)


@pytest.mark.parametrize("draw", [explore_page, releases_page])
def test_the_other_pages_speak_of_products_too(shop, recommender, monkeypatch, draw):
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", *options(shop)])
    page = AppTest.from_function(draw, default_timeout=120)
    page.query_params["movie"] = str(recommender.resolve("id:GA-0001").movie_id)
    page.run()
    assert not page.exception
    kinds = (page.header, page.subheader, page.markdown, page.caption, page.info, page.text_input, page.button)
    words = " ".join(f"{getattr(element, 'label', '')} {element.value}" for kind in kinds for element in kind)
    words += " ".join(head for table in page.table for head in table.value.columns)
    assert "roducts" in words and not re.search("film|movie", words, re.IGNORECASE)


def test_the_sql_page_takes_the_shops_ids(shop, monkeypatch):
    def sql_page():
        from app import sql

        sql.page()

    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", *options(shop, "page.sql=true")])
    page = AppTest.from_function(sql_page, default_timeout=120).run()
    page.text_area[0].set_value("select item_id from recommend(ids(['FI-0001']), k := 3)")
    next(button for button in page.button if button.label == "Run").click().run()
    assert not page.exception
    assert [item_id[:2] for item_id in page.dataframe[0].value["item_id"]] == ["FI"] * 3


@pytest.mark.exhaustive
def test_evaluation_works_the_same(shop):
    evaluate = "./spark-submit.sh jobs/evaluate.py"
    run = typed(f"{evaluate} --conf conf/shop.yaml --set evaluation.protocol=all", shop, timeout=1800)
    assert run.returncode == 0 and "strangers with 5 favourites" in run.stdout, run.stdout
    rows = duckdb.sql(f"from read_parquet('{shop}/warehouse/shop/evaluation/metrics/*.parquet')").fetchall()
    ndcg = {(protocol, model): value for protocol, model, n, metric, k, value, *_ in rows
            if metric == "ndcg" and (n, k) in ((5, 10), (None, 20))}  # fmt: skip
    # Who shares a hobby buys alike: what is best-selling says less.
    for protocol in ("strangers", "histories"):
        assert ndcg[protocol, "served"] > 2 * ndcg[protocol, "popularity"] > 2 * ndcg[protocol, "random"]


@pytest.fixture
def second(shop, recommender, spark, tmp_path, capsys):
    """The shop a day later, as every job loads it: FI-0001 is gone, AA-1 is new, and a visitor has left thumbs."""
    folder = tmp_path / "another day"
    folder.mkdir()
    products = [row for row in table(shop / "data/shop/products.csv") if row["sku"] != "FI-0001"]
    products.append({"sku": " AA-1 ", "name": "", "category": "", "price": "1"})
    orders = [row for row in table(shop / "data/shop/orders.csv")[::20] if row["sku"] != "FI-0001"]
    orders.append({**orders[0], "sku": "AA-1", "quantity": ""})
    for name, rows in (("products", products), ("orders", orders)):
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    number = dict(recommender._rows("select item_id, movie_id from movies", []))
    sessions = Sessions(shop / "sessions" / "shop.sqlite")
    sessions.give_feedback("a" * 22, "r", number["BK-0001"], 1, [number["CO-0001"]])
    sessions.give_feedback("a" * 22, "r", number["BK-0002"], -1, [])
    sessions.give_feedback("a" * 22, "r", 99_999, 1, [])  # of an item that there is no more
    assert main(["feedback", "--out", str(tmp_path / "thumbs.csv"), *options(shop)]) == 0
    assert f"jobs/run_pipeline.py --conf {SHOP} --set data.more_ratings=" in capsys.readouterr().out
    places = [f"data.dir={folder}", f"data.more_ratings={tmp_path}/thumbs.csv", f"warehouse.dir={shop}/warehouse/shop"]
    run = Run(configuration.load([SHOP], places), spark, console(), None)
    run.start_build("second")
    ratings, movies, _ = ingest(run)
    return number, run, {row.item_id: row for row in movies.collect()}, ratings.collect(), tmp_path / "thumbs.csv"


def test_the_next_release_keeps_the_numbers_and_learns_from_thumbs(shop, second):
    number, run, movies, ratings, thumbs = second
    assert movies["AA-1"].movie_id == max(number.values()) + 1 == run.build.manifest["largest_movie_id"]
    assert movies["AA-1"].title == "AA-1" and movies["AA-1"].genres == [] and movies["AA-1"].n_ratings == 1
    del number["FI-0001"]
    assert {item_id: movies[item_id].movie_id for item_id in number} == number
    lines = [line.split(",")[1:3] for line in thumbs.read_text().splitlines()]
    assert lines == [["movieId", "rating"], ["BK-0001", "1"], ["CO-0001", "1"]]
    customers = {line["customer"] for line in table(shop / "data/shop/orders.csv")[::20] if line["sku"] != "FI-0001"}
    assert len({row.user_id for row in ratings}) == len(customers) + 1
    mine = collections.Counter(row.user_id for row in ratings if row.movie_id in (number["BK-0001"], number["CO-0001"]))
    assert 2 in mine.values()


def configured(tmp_path, overlay):
    (tmp_path / "o.yaml").write_text(overlay)
    return configuration.load([str(tmp_path / "o.yaml")], [f"data.dir={tmp_path}", f"warehouse.dir={tmp_path}/w"])


def checked(spark, config):
    """What is accepted of data with ids that are text: (user, item, rating), the movies; and why the rest is not."""
    data, mapping = config.data, reader.mapping(config.data)
    read_ratings = reader.read_ratings(spark, data.dir, mapping)
    read_movies = reader.read_movies(spark, data.dir, mapping)
    items = checks.numbered_items(read_movies, None, 0)
    movies = checks.checked_movies(read_movies, items, plain_titles=data.titles == "plain").persist()
    bounds = {"min_rating": data.min_rating, "max_rating": data.max_rating, "events": data.kind == "events"}
    ratings = checks.checked_ratings(read_ratings, movies, checks.numbered_users(read_ratings), **bounds).persist()
    movies = {row.movie_id: row for row in movies.collect()}
    accepted = checks.accepted_ratings(ratings, events=bounds["events"]).collect()
    found = sorted((movies[row.movie_id].item_id, row.rating) for row in accepted)
    return found, list(movies.values()), sorted(row.reason for row in ratings.where("reason is not null").collect())


BOOKS, PLAYS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


def test_the_book_site_of_the_docs(spark, tmp_path):
    (tmp_path / "BX-Book-Ratings.csv").write_bytes(
        b'"User-ID";"ISBN";"Book-Rating"\n"7";"034545104X";"9"\n"7";"0155061224";"0"\n"8";"0155061224";"5"\n'
        b'"8";"0155061224";"8"\n'
    )
    (tmp_path / "BX-Books.csv").write_bytes(
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Image"\n'
        '"034545104X";"Flesh Tones; a Novel (1999)";"M. J. Rose";"2002";""\n'
        '"0155061224";"Caf\u00e9, The";"?";"0";""\n'.encode("latin-1")
    )
    ratings, movies, rejected = checked(spark, configured(tmp_path, BOOKS))
    assert ratings == [("0155061224", 8.0), ("034545104X", 9.0)]
    assert sorted((row.item_id, row.title, row.year) for row in movies) == [
        ("0155061224", "Café, The", None), ("034545104X", "Flesh Tones; a Novel (1999)", 2002),
    ]  # fmt: skip
    assert rejected == ["a later rating by the same user exists", "rating is outside 1 to 10"]


def test_the_plays_of_the_docs(spark, tmp_path):
    plays = {"listener": ["a", "a", "b", "b"], "track": ["x", "x", "x", 'Ünder, "q"'], "n_plays": [1, 2, 0, 1]}
    plays["played_at"] = pa.array([1, 2, 3, 4], pa.timestamp("s", "UTC"))
    pq.write_table(pa.table(plays), tmp_path / "plays.parquet")
    ratings, movies, rejected = checked(spark, configured(tmp_path, PLAYS))
    assert ratings == [("x", 3.0), ('Ünder, "q"', 1.0)]
    assert sorted((row.item_id, row.title) for row in movies) == [("x", "x"), ('Ünder, "q"', 'Ünder, "q"')]
    assert rejected == ["count is not above 0, up to 1,000,000,000"]


def test_unfit_rows_of_a_shop_say_why(spark, tmp_path):
    long = "x" * 257
    orders = [
        "who\twhat\tn\twhen\tid",
        "a\tp1\t2\t2026-11-25T18:00:00Z\t1",  # line 2
        " a \tp1\t1\t2026-11-25\t2",
        "b\tp2\t\t1764093600\t3",
        "\tp1\t1\t\t4",
        f"{long}\tp1\t1\t\t5",
        "a\t\t1\t\t6",
        "a\tp9\t1\t\t7",
        "a\tp1\tmany\t\t8",
        "a\tp1\t-1\t\t9",
        "a\tp1\tNaN\t\t10",
        "a\tp1\t1\t12:30\t11",
        "a\tp1\t1\t2126-11-25\t12",
        "a\tp1\t1",
    ]
    products = ["id;name;group", "p1;One, A (1999);Tea > Green", "p2;;", ";Nameless;", f"{long};Long;", "p1;Again;"]
    (tmp_path / "orders.csv").write_text("\n".join(orders) + "\n")
    (tmp_path / "products.csv").write_text("\n".join(products) + "\n")
    (tmp_path / "links.csv").write_text("what,imdbId,tmdbId\np2,5,6\n")
    (tmp_path / "tags.csv").write_text("who,what,tag\na,p1,nice\nc,p9,lost\n")
    overlay = {
        "ids": "string", "kind": "events", "files": {"ratings": "orders.csv", "movies": "products.csv"},
        "titles": "plain", "genre_separator": ">", "max_rejected_share": 0.9,
        "columns": {"user_id": "who", "movie_id": ["what", "id"], "rating": "n", "timestamp": "when", "title": "name",
                    "genres": "group"},
    }  # fmt: skip
    run = Run(configured(tmp_path, yaml.safe_dump({"data": overlay})), spark, console(), None)
    run.start_build()
    ratings, movies, _ = ingest(run)
    movies = movies.orderBy("movie_id").collect()
    names = {row.movie_id: row.item_id for row in movies}
    ratings = sorted((names[row.movie_id], row.rating) for row in ratings.collect())
    # Three pieces weigh log2(1 + 3) = 2, one weighs 1; a like of weight 1 has 4 stars, one of weight 0 has 2.
    assert ratings == [("p1", 6.0), ("p2", 4.0)]
    assert [(row.item_id, row.title, row.year, row.genres, row.imdb_id) for row in movies] == [
        ("p1", "One, A (1999)", None, ["Tea", "Green"], None), ("p2", "p2", None, [], "tt0000005"),
    ]  # fmt: skip
    time = "timestamp is neither in seconds nor as in 2026-11-25T18:00:00, or not between 1970 and 2100"
    empty = "id is empty or longer than 256 characters"
    rejected = run.read("rejected").orderBy("file", "line").collect()
    assert [(row.line, row.reason) for row in rejected] == [
        (5, f"user {empty}"), (6, f"user {empty}"), (7, f"movie {empty}"), (8, "movie is not in the catalogue"),
        (9, "rating is not a number"), (10, "count is not above 0, up to 1,000,000,000"),
        (11, "count is not above 0, up to 1,000,000,000"), (12, time), (13, time), (14, "wrong number of fields"),
        (4, f"movie {empty}"), (5, f"movie {empty}"), (6, "movie id is here a second time"),
        (3, "movie is not in the catalogue"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"columns": {"user_id": "costumer"}}, ["orders.csv", "user_id is costumer", "it has customer, movie_id"]),
        ({"columns": {"timestamp": ["at", "on"]}}, ["no timestamp column", "timestamp is at or on"]),
        ({"files": {"ratings": "order.csv"}}, ["order.csv: there is no such file; data.files names it"]),
        ({"files": {"ratings": "orders"}}, ["orders: there is no such file"]),
    ],
)  # fmt: skip
def test_a_slip_in_a_mapping_is_named(spark, tmp_path, mapping, words):
    (tmp_path / "orders.csv").write_text("customer;movie_id;when\n1;2;3\n")
    data = {"files": {"ratings": "orders.csv"}, **mapping}
    data["columns"] = {"user_id": "customer", **mapping.get("columns", {})}
    settings = configuration.load([], [f"data.{name}={yaml.safe_dump(value)}" for name, value in data.items()])
    with pytest.raises(PipelineError) as error:
        settings.data.kind = "events"
        reader.read_ratings(spark, str(tmp_path), reader.mapping(settings.data))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_ids_that_are_no_integers_name_the_setting(spark, tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\nann,b7,4\nbob,b7,5\n3,1,4\n")
    (tmp_path / "movies.csv").write_text("movieId,title\nb7,Seven\n1,One\n")
    read = reader.read_ratings(spark, str(tmp_path))
    known = checks.checked_movies(reader.read_movies(spark, str(tmp_path))).where("reason is null")
    ratings = checks.checked_ratings(read, known, min_rating=0.5, max_rating=5.0)
    with pytest.raises(
        PipelineError, match=r"most ids of users or movies are no 32-bit integers.*--set data\.ids=string"
    ):
        checks.require_sound(ratings, 0.05, str(tmp_path))
