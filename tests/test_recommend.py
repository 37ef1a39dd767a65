"""The SQL that recommends and searches, on a release small enough to work out by hand (tests/conftest.py)."""

import itertools
import threading

import pytest

from pipeline import release, serving
from pipeline.config import PipelineError
from pipeline.recommend import AmbiguousTitleError, Recommender


@pytest.fixture(scope="module")
def recommender(warehouse):
    opened = Recommender(release.release_dir(warehouse))
    yield opened
    opened.close()


def brought(rows):
    return [(row.movie_id, row.source, [(b.movie_id, round(b.share, 4)) for b in row.because]) for row in rows]


def test_scores_are_sums_and_reasons_their_shares(recommender):
    rows = recommender.recommend([1, 3], k=3)
    # 5: 0.125 + 0.375; 6: 0.25 + 0.25, after 5 by its id; 2: 0.75 from Toy Story alone; 1 and 3 never come back.
    assert [(row.rank, row.movie_id, row.score) for row in rows] == [(1, 2, 0.75), (2, 5, 0.5), (3, 6, 0.5)]
    assert brought(rows) == [
        (2, "neighbours", [(1, 1.0)]),
        (5, "neighbours", [(3, 0.75), (1, 0.25)]),
        (6, "neighbours", [(1, 0.5), (3, 0.5)]),
    ]
    assert (rows[0].title, rows[0].year, rows[0].genres) == ("Toy Story 2", 1999, ["Animation", "Comedy"])
    assert rows[1].because[0].title == "Heat"


def test_short_lists_are_filled_up_with_the_favourites_genres_then_with_everybodys_films(recommender):
    rows = recommender.recommend([3], k=10)
    assert [row.rank for row in rows] == [1, 2, 3]
    rows = recommender.recommend([5], k=10)
    # 3 and 1 are on The Matrix's list; of Action there is only itself; 6 is popular with everyone.
    assert brought(rows) == [(3, "neighbours", [(5, 1.0)]), (1, "neighbours", [(5, 1.0)]), (6, "popularity", [])]


def test_a_negative_sum_recommends_nothing(recommender):
    assert 7 not in [row.movie_id for row in recommender.recommend([1], k=10)]


def test_a_favourite_nobody_rated_falls_back_to_its_genres(recommender):
    rows = recommender.recommend([9], k=2)
    assert brought(rows) == [(3, "genre popularity", [(9, 1.0)]), (5, "popularity", [])]


def test_without_genres_or_favourites_the_popular_films_come(recommender):
    for favourites in ([10], [], [12345]):
        rows = recommender.recommend(favourites, k=2)
        assert brought(rows) == [(5, "popularity", []), (1, "popularity", [])]


def test_shares_sum_to_one_and_no_favourite_comes_back(recommender):
    for favourites in ([1, 3, 5], [1, 9], [9, 4, 10], [6, 7, 8]):
        rows = recommender.recommend(favourites)
        assert len({row.movie_id for row in rows} | set(favourites)) == len(rows) + len(favourites)
        for row in rows:
            assert not row.because or sum(because.share for because in row.because) == pytest.approx(1)


def test_repeated_and_unknown_favourites_change_nothing(recommender):
    assert recommender.recommend([1, 3, 1, 999]) == recommender.recommend([3, 1])


def test_the_quick_way_the_macro_and_parquet_alone_agree(recommender, warehouse):
    folder = release.release_dir(warehouse)
    parquet = Recommender(folder, serving.over_parquet(folder, popularity_weight=0.0))
    quick = 0
    for n, k in itertools.product((0, 1, 2, 3), (1, 2, 3, 10)):
        for favourites in itertools.combinations([1, 3, 5, 9, 99], n):
            rows = recommender.recommend(list(favourites), k)
            _, answer = recommender.query(f"from recommend({list(favourites)}::int[], k := {k})")
            assert [(*row[:6], [b._asdict() for b in row.because], row.source) for row in rows] == answer
            assert parquet.recommend(list(favourites), k) == rows
            quick += bool(recommender._by_lists(list(favourites), k))
    assert 20 < quick < 80  # of 104: both ways were taken
    parquet.close()


def test_threads_share_a_recommender(recommender):
    expected, answers = recommender.recommend([1, 3], k=3), []

    def ask():
        answers.extend(recommender.recommend([1, 3], k=3) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 160


def test_similar_is_the_stored_list(recommender):
    rows = recommender.similar(1, k=2)
    assert [(row.rank, row.movie_id, row.title, row.similarity) for row in rows] == [
        (1, 2, "Toy Story 2", 0.75),
        (2, 6, "Amélie (Le Fabuleux destin)", 0.25),
    ]
    assert recommender.similar(9) == []


@pytest.mark.parametrize(
    ("text", "movie_id"),
    [
        ("Toy Story", 1),
        ("toy stroy", 1),
        ("toy story 2", 2),
        ("TOY  STORY 1995", 1),
        ("heat", 3),
        ("the heat", 4),
        ("heat (2013)", 4),
        ("heat 1995", 3),
        ("matrix", 5),
        ("matrix, the", 5),
        ("The Matrx", 5),
        ("amelie", 6),
        ("fabuleux destin", 6),
        ("id:8", 8),
    ],
)
def test_titles_are_found_as_people_type_them(recommender, text, movie_id):
    assert recommender.resolve(text).movie_id == movie_id


def test_ambiguous_titles_are_asked_back(recommender):
    with pytest.raises(AmbiguousTitleError) as error:
        recommender.resolve("Emma 1996")
    assert [match.movie_id for match in error.value.candidates] == [7, 8]
    with pytest.raises(AmbiguousTitleError) as error:
        recommender.resolve("toy")
    assert [match.movie_id for match in error.value.candidates] == [1, 2]


@pytest.mark.parametrize("text", ["", "   ", "zzzzqqq", "'; drop table movies; --", "%", "\\", "(((", "?" * 5000, "\0"])
def test_texts_that_mean_no_movie_find_none(recommender, text):
    assert recommender.search(text) == []
    with pytest.raises(AmbiguousTitleError, match="no title like"):
        recommender.resolve(text)


def test_lengths_and_numbers_are_bounded(recommender):
    for k in (0, -1, 1001):
        with pytest.raises(PipelineError, match="k must"):
            recommender.recommend([1], k=k)
    with pytest.raises(PipelineError, match="at most 50"):
        recommender.recommend(list(range(51)))


def test_macros_are_what_an_analyst_calls(recommender):
    columns, rows = recommender.query("select rank, title, because, source from recommend([1, 3], k := 1)")
    assert columns == ["rank", "title", "because", "source"]
    assert rows == [(1, "Toy Story 2", [{"movie_id": 1, "title": "Toy Story", "share": 1.0}], "neighbours")]
    assert recommender.query("select movie_id from similar(1, k := 1)")[1] == [(2,)]
    assert recommender.query("select movie_id from search_movies('toy stroy') limit 1")[1] == [(1,)]
    assert recommender.query("select rank from recommend([1])")[1][0] == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "drop table movies",
        "copy movies to '/tmp/stolen.csv'",
        "from read_csv('/etc/passwd')",
        "attach '/tmp/x.duckdb'",
        "install httpfs",
        "set memory_limit = '100GB'",
        "selec 1",
    ],
)
def test_a_reader_can_only_read_this_release(recommender, statement):
    with pytest.raises(PipelineError, match=r"^sql: "):
        recommender.query(statement)


def test_columns_say_what_they_mean(warehouse):
    connection = serving.connect(release.release_dir(warehouse))
    comments = connection.execute("select comment from duckdb_columns() where table_name = 'neighbours'").fetchall()
    assert all(comment for (comment,) in comments) and len(comments) == 4
    connection.close()
