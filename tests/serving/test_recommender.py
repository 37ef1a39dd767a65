"""The SQL that recommends and searches, on a release small enough to work out by hand (tests/conftest.py)."""

import collections
import functools
import gc
import itertools
import threading
import weakref

import pytest

from benchmarks.lookup import over_parquet
from pipeline.config import PipelineError
from pipeline.release import database, store
from pipeline.serving import analyst
from pipeline.serving.recommender import AmbiguousTitleError, Recommender
from pipeline.serving.steering import UNSTEERED, Steering
from tests.conftest import MOVIES, publish


@pytest.fixture(scope="module")
def recommender(warehouse):
    opened = Recommender(store.release_dir(warehouse))
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
    folder = store.release_dir(warehouse)
    parquet = Recommender(folder, over_parquet(folder, popularity_weight=0.0))
    quick = 0
    for n, k in itertools.product((0, 1, 2), (1, 3, 10)):
        for favourites in itertools.combinations([1, 3, 5, 9, 99], n):
            rows = recommender.recommend(list(favourites), k)
            answer = recommender._rows("from recommend(?::int[], k := ?::int)", [list(favourites), k])
            assert [(*row[:6], [b._asdict() for b in row.because], row.source, row.item_id) for row in rows] == answer
            assert parquet.recommend(list(favourites), k) == rows
            quick += bool(recommender._by_lists([(list(favourites), k)])[0][0])
    assert 10 < quick < 38  # of 48: both ways were taken
    parquet.close()


def test_asked_together_each_gets_what_it_gets_alone(recommender):
    asked = [([3], 1), ([1, 3], 3), ([9], 2), ([], 10), ([1, 3, 1, 999], 2), ([5], 10), ([3], 3), ([99], 1)]
    alone = [recommender._by_lists([question])[0] for question in asked]
    together = recommender._by_lists(asked)
    assert [rows for rows, _ in together] == [rows for rows, _ in alone]
    assert sum(bool(rows) for rows, _ in alone) >= 4
    for (_, movies), (_, own) in zip(together, alone, strict=True):
        assert own.items() <= movies.items()


def ids(rows):
    return [row.movie_id for row in rows]


def test_a_dislike_subtracts_its_list_and_never_comes_back(recommender):
    # 6: 0.25; 1: 0.125 on Heat's list, of which a fifth of 0.25 is taken, its weight on the Matrix's list.
    rows = recommender.recommend([3], steering=Steering(dislikes=(5,)))
    assert [(row.movie_id, row.score) for row in rows] == [(6, 0.25), (1, pytest.approx(0.075))]
    assert ids(recommender.recommend([], k=2, steering=Steering(dislikes=(5,)))) == [1, 6]


def test_what_is_excluded_is_left_out_and_changes_nothing_else(recommender):
    whole = recommender.recommend([1, 3], k=3)
    left = recommender.recommend([1, 3], k=2, steering=Steering(exclude=(whole[0].movie_id, 99)))
    assert [(row.movie_id, row.score, row.because) for row in left] == [
        (row.movie_id, row.score, row.because) for row in whole[1:]
    ]
    assert ids(recommender.recommend([], k=2, steering=Steering(exclude=(5,)))) == [1, 6]
    crime = recommender.recommend([1], steering=Steering(exclude=(3,), genres=("Crime",)))
    assert 3 not in ids(crime) and 4 in ids(crime)
    assert len(recommender.recommend([1], steering=Steering(exclude=tuple(range(10_000))))) == 0
    with pytest.raises(PipelineError, match="10001 excluded movies are too many; name at most 10000"):
        Steering(exclude=tuple(range(10_001)))


def test_filters_leave_what_fits_and_say_how_much(recommender):
    comedies = Steering(genres=("Comedy",))
    assert recommender.titles_left(comedies) == sum("Comedy" in movie[3] for movie in MOVIES)
    assert ids(recommender.recommend([1, 3], k=2, steering=comedies)) == [2, 6]
    assert all("Comedy" in row.genres for row in recommender.recommend([3], steering=comedies))
    assert 2 not in ids(recommender.recommend([1, 3], steering=Steering(without_genres=("Animation",))))
    nineties = Steering(from_year=1990, to_year=1999)
    years = [row.year for row in recommender.recommend([1], steering=nineties)]
    assert years and all(1990 <= year <= 1999 for year in years)
    assert recommender.titles_left(nineties) == sum(1990 <= (movie[2] or 0) <= 1999 for movie in MOVIES)
    assert recommender.titles_left(Steering(hidden=1.0)) == len(MOVIES)


def test_a_narrow_filter_shows_all_that_it_leaves(recommender):
    only = Steering(from_year=2013, to_year=2013)
    rows = recommender.recommend([1], steering=only)
    assert [(row.title, row.source) for row in rows] == [(movie[1], "filter") for movie in MOVIES if movie[2] == 2013]
    assert recommender.recommend([1], steering=Steering(genres=("No such genre",))) == []


def test_hidden_prefers_titles_with_few_ratings(recommender):
    support = {movie[0]: movie[6] for movie in MOVIES}
    # On Heat's list: 5 with 0.375, 6 with 0.25, 1 with 0.125.
    scores = [(5, 0.375), (6, 0.25), (1, 0.125)]
    for way in (-1.0, 0.5, 1.0):
        found = recommender.recommend([3], k=3, steering=Steering(hidden=way))
        best_first = sorted(scores, key=lambda movie: -movie[1] * (1 + support[movie[0]]) ** -way)
        assert [(row.movie_id, row.score) for row in found] == best_first


def test_variety_is_maximal_marginal_relevance(recommender):
    def expected(variety, relevance, likeness):
        chosen = [max(relevance, key=relevance.get)]
        while left := [movie for movie in relevance if movie not in chosen]:
            loss = {movie: max(likeness.get((picked, movie), 0) for picked in chosen) for movie in left}
            worth = {movie: (1 - variety) * relevance[movie] - variety * loss[movie] for movie in left}
            chosen.append(max(left, key=lambda movie: (worth[movie], -movie)))
        return chosen

    # On Heat's list stand 5, 6 and 1; of these 1 stands on 5's list, with half the similarity of the best there.
    relevance, likeness = {5: 1.0, 6: 0.25 / 0.375, 1: 0.125 / 0.375}, {(5, 1): 0.5, (5, 3): 1.0, (1, 6): 1 / 3}
    for variety in (0.2, 0.5, 0.9, 1.0):
        rows = recommender.recommend([3], k=3, steering=Steering(variety=variety))
        assert ids(rows) == expected(variety, relevance, likeness)


def test_surprise_is_another_sample_for_each_seed_and_the_same_for_the_same(recommender):
    orders = {
        seed: tuple(ids(recommender.recommend([1, 3], steering=Steering(surprise=seed)))) for seed in range(1, 20)
    }
    assert 1 < len(set(orders.values())) < 19
    for seed, order in orders.items():
        assert tuple(ids(recommender.recommend([1, 3], steering=Steering(surprise=seed)))) == order
    firsts = [order[0] for order in orders.values()]
    assert firsts.count(2) > firsts.count(6)  # chances follow the scores: 0.75 against 0.5


def test_the_query_behind_a_steered_list_gives_the_same_list(recommender, warehouse):
    folder = store.release_dir(warehouse)
    parquet = Recommender(folder, over_parquet(folder, popularity_weight=0.0))
    for steering in (
        Steering(),
        Steering(dislikes=(5, 6), hidden=0.25),
        Steering(genres=("Comedy", "It's odd"), without_genres=("Crime",), variety=0.5),
        Steering(from_year=1990, surprise=3),
    ):
        for favourites in ([], [1], [3, 9]):
            rows = recommender.recommend(favourites, 4, steering)
            answer = recommender._rows(recommender.sql(favourites, 4, steering), [])
            assert [(*row[:6], [b._asdict() for b in row.because], row.source, row.item_id) for row in rows] == answer
            assert parquet.recommend(favourites, 4, steering) == rows
    assert "'It''s odd'" in recommender.sql([1], 4, Steering(genres=("It's odd",)))
    parquet.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"dislikes": tuple(range(51))}, {"dislikes": (2**31,)}, {"dislikes": ("1",)}, {"hidden": 2},
        {"hidden": float("nan")}, {"variety": -0.1}, {"surprise": -1}, {"surprise": None}, {"genres": ("a" * 101,)},
        {"without_genres": ("a",) * 101}, {"from_year": 10**6},
    ],
)  # fmt: skip
def test_a_steering_out_of_its_ranges_is_refused(fields):
    with pytest.raises(PipelineError):
        Steering(**fields)


def test_strengths_are_in_units_of_the_best_match(recommender):
    # Of [1, 3] the best is 2 with 0.75; 5 has 0.125 + 0.375.
    rows = recommender.recommend([1, 3])
    for steering in (UNSTEERED, Steering(hidden=0.5)):  # read off the list itself, and asked for
        strengths = recommender.strengths([1, 3], rows, steering)
        assert {movie: strengths[movie] for movie in (2, 5)} == {2: 1.0, 5: pytest.approx(2 / 3)}
        assert set(strengths) == {row.movie_id for row in rows if row.because and row.source == "neighbours"}
        assert recommender.strengths([9], recommender.recommend([9]), steering) == {}


def test_the_catalogue_tells_what_can_be_filtered(recommender):
    catalogue = recommender.catalogue()
    counts = collections.Counter(genre for movie in MOVIES for genre in movie[3])
    assert [counts[genre] for genre in catalogue.genres] == sorted(counts.values(), reverse=True)
    years = [movie[2] for movie in MOVIES if movie[2]]
    assert catalogue[1:] == (min(years), max(years), len(MOVIES))


def test_movies_and_starters_are_titles_to_pick(recommender):
    assert [(movie.movie_id, movie.title) for movie in recommender.movies([3, 999, 1])] == [
        (3, "Heat"),
        (1, "Toy Story"),
    ]
    starters = recommender.starters(3)
    assert ids(starters)[0] == 5 and len({movie.movie_id for movie in starters}) == 3


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


def test_it_is_freed_as_the_last_one_lets_go(warehouse):
    opened = Recommender(store.release_dir(warehouse))
    opened.recommend([1, 3], k=3)
    gone, freed = weakref.ref(opened), threading.Event()
    weakref.finalize(opened, freed.set)
    gc.disable()
    try:
        del opened
        assert freed.wait(10) and gone() is None  # the worker may be about to return still
    finally:
        gc.enable()


def test_one_that_was_closed_is_not_called_damaged(warehouse):
    closed = Recommender(store.release_dir(warehouse))
    closed.close()
    with pytest.raises(PipelineError, match="has been closed"):
        closed.recommend([1])


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


LONG_TITLES = [
    "Star Wars: Episode IV - A New Hope", "Star Wars: Episode V - The Empire Strikes Back", "Starcrash", "Star Maps",
    "The Lord of the Rings: The Fellowship of the Ring", "The Lord of the Rings: The Two Towers",
    "The Lord of the Rings: The Return of the King", "Lord of the Flies", "Lord of Illusions",
    "The Matrix", "Martin", "Seven (a.k.a. Se7en)", "Seve", "Amelie (Le Fabuleux destin d'Amélie Poulain)", "Emma",
    "Toy Story", "WALL·E", "The Toy", "Walled In",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("teh matrix", "The Matrix"),
        ("matrix the", "The Matrix"),
        ("empire strikes bak", "Star Wars: Episode V - The Empire Strikes Back"),
        ("fellowship of the rign", "The Lord of the Rings: The Fellowship of the Ring"),
        ("starwars", "Star Wars: Episode IV - A New Hope"),
        ("star wrs", "Star Wars: Episode IV - A New Hope"),
        ("lord of the rngs", "The Lord of the Rings: The Fellowship of the Ring"),
        ("lordoftherings", "The Lord of the Rings: The Fellowship of the Ring"),
        ("sevn", "Seven (a.k.a. Se7en)"),
        ("toy", "Toy Story"),
        ("the toy", "The Toy"),
        ("walle", "WALL·E"),
        ("amelie", "Amelie (Le Fabuleux destin d'Amélie Poulain)"),
    ],
)
def test_a_typo_in_a_part_of_a_long_title_is_forgiven(long_titles, text, first):
    assert long_titles.search(text)[0].title == first


def test_all_that_begin_as_the_typo_meant_come_first(long_titles):
    assert [match.title[:21] for match in long_titles.search("lord of the rngs")[:3]] == ["The Lord of the Rings"] * 3
    assert [match.title[:9] for match in long_titles.search("starwars")[:2]] == ["Star Wars"] * 2


@pytest.fixture(scope="module")
def long_titles(tmp_path_factory):
    """A release of titles that are long, or much like others; the first ones are better known."""
    movies = [
        (number, title, 1990, ["Drama"], None, None, 100 - number, 3.0, title, str(number))
        for number, title in enumerate(LONG_TITLES, 1)
    ]
    opened = Recommender(publish(tmp_path_factory.mktemp("titles"), movies=movies))
    yield opened
    opened.close()


def test_titles_say_their_ids_in_the_input(recommender):
    assert [movie.item_id for movie in recommender.movies([3, 99, 1])] == ["3", "1"]
    assert recommender.resolve("id:8").item_id == recommender.search("emma 1996")[1].item_id == "8"
    assert recommender.item_ids([99, 5]) == {5: "5"}
    assert recommender.recommend([1], k=1)[0].item_id == "2"


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
    ask = functools.partial(analyst.ask, recommender.folder)
    answer = ask("select rank, title, because, source from recommend([1, 3], k := 1)")
    assert answer.columns == ["rank", "title", "because", "source"]
    assert answer.rows == [(1, "Toy Story 2", [{"movie_id": 1, "title": "Toy Story", "share": 1.0}], "neighbours")]
    assert ask("select movie_id from similar(1, k := 1)").rows == [(2,)]
    assert ask("select movie_id from search_movies('toy stroy') limit 1").rows == [(1,)]
    assert ask("select rank from recommend([1])").rows[0] == (1,)
    by_their_ids = "select ids(['3', 'none', '1']), item_id from recommend(ids(['1', '3', 'none']), k := 1)"
    assert ask(by_their_ids).rows == [([3, 1], "2")]
    assert ask("select ids([])").rows == [([],)]
    assert ask("select item_id from similar(1, k := 1)").rows == [("2",)]


def test_columns_say_what_they_mean(warehouse):
    connection = database.connect(store.release_dir(warehouse))
    comments = connection.execute("select comment from duckdb_columns() where table_name = 'neighbours'").fetchall()
    assert all(comment for (comment,) in comments) and len(comments) == 5
    connection.close()
