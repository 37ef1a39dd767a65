"""Requests, measures and baselines equal values calculated on paper. Bulk and single ranking agree."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import yaml

from pipeline import config
from pipeline.evaluation import baselines, metrics, protocol, ranking, report
from pipeline.release import database, store
from pipeline.serving.recommender import Recommender


def catalogue():
    genres = [["A"], ["A"], ["B"], ["A", "B"], []]
    return metrics.Catalogue(np.array([1, 2, 3, 4, 5], np.int32), np.array([8, 4, 2, 1, 1]), genres)


def ids(*movies):
    return np.array(movies, np.int32)


def test_measures_worked_by_hand():
    result = metrics.per_request([ids(1, 2, 3), ids(4, 5)], [ids(2), ids(1, 2, 3)], 3, catalogue())
    # Found at rank 2, the only target: 1 / log2(3); the second list finds nothing.
    np.testing.assert_allclose(result["ndcg"], [1 / math.log2(3), 0])
    np.testing.assert_allclose(result["recall"], [1, 0])
    np.testing.assert_allclose(result["hit_rate"], [1, 0])
    rare = metrics.per_request([ids(1, 3)], [ids(3, 2, 1, 9)], 2, catalogue())["stratified_recall"]
    np.testing.assert_allclose(rare, [(8**-0.5 + 2**-0.5) / (8**-0.5 + 4**-0.5 + 2**-0.5 + 1)])  # 9 is new
    np.testing.assert_allclose(result["mrr"], [1 / 2, 0])
    # Shares of the 16 ratings: 1/2, 1/4, 1/8; 1/16 and 1/16.
    np.testing.assert_allclose(result["novelty"], [(1 + 2 + 3) / 3, 4])
    np.testing.assert_allclose(result["diversity"], [1 - 1 / 3, 1])
    np.testing.assert_allclose(result["popularity_share"], [1 / 3, 0])
    np.testing.assert_allclose(result["least_support"], [2, 1])
    np.testing.assert_allclose(result["median_support"], [4, 1])


def test_ideal_gain_is_that_of_the_targets_there_are():
    result = metrics.per_request([ids(1, 2, 3)], [ids(3, 2)], 3, catalogue())
    expected = (1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3))
    np.testing.assert_allclose(result["ndcg"], [expected])
    np.testing.assert_allclose(metrics.per_request([ids(1, 2)], [ids(1, 2)], 2, catalogue())["ndcg"], [1])


def test_hubs_are_what_stands_in_over_a_tenth_of_the_lists():
    lists = [ids(1, 2)] * 2 + [ids(3, 4)] * 17 + [ids(5, 4)]
    result = metrics.per_request(lists, [ids(1)] * 20, 2, catalogue())
    np.testing.assert_allclose(result["hub_share"], [0] * 2 + [1] * 17 + [0.5])


def test_users_weigh_the_same_however_many_requests_they_have():
    values = np.array([[1.0, 4.0], [1.0, 2.0], [1.0, 0.0], [0.0, 2.0]])
    mean, low, high = metrics.mean_and_interval(values, np.array([7, 7, 7, 9]), seed=1)
    np.testing.assert_allclose(mean, [0.5, 2.0])
    np.testing.assert_allclose([low, high], [[0.0, 2.0], [1.0, 2.0]])


def test_requests_part_likes_into_favourites_and_targets():
    likes = {3: ids(*range(1, 9)), 4: ids(1, 2, 3)}
    requests = protocol.draw_requests(likes, 3, draws=2, min_targets=5, seed=1)
    assert requests.users.tolist() == [3, 3]
    for favourites, targets in zip(requests.favourites, requests.targets, strict=True):
        assert sorted([*favourites, *targets]) == list(range(1, 9)) and len(favourites) == 3
    again = protocol.draw_requests({3: likes[3][::-1]}, 3, draws=2, min_targets=5, seed=1)
    assert [f.tolist() for f in again.favourites] == [f.tolist() for f in requests.favourites]


@pytest.fixture
def training():
    """Three users like movies 1 and 2, two like 2 and 3, one likes 5; 4 is rated, not liked; 5 may not be shown."""
    rows = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (3, 3), (4, 2), (4, 3), (5, 5)]
    users, movies = np.array([u for u, _ in rows]), np.array([m - 1 for _, m in rows])
    likes = sp.csr_matrix((np.ones(len(rows), np.float32), (users, movies)), (6, 5))
    stars = likes * 4 + sp.csr_matrix(([1.0], ([0], [3])), (6, 5))
    candidates = np.array([True, True, True, True, False])
    return baselines.Training(stars.tocsr(), likes, candidates, catalogue(), 1)


def best(score, training, *favourites, k=3):
    return [
        lists.tolist()
        for lists in baselines.ranked(score, training, [ids(*f) for f in favourites], [ids()] * len(favourites), k)
    ]


def test_popularity_counts_likes(training):
    assert best(baselines.popularity(training), training, [3], [2]) == [[2, 1, 4], [1, 3, 4]]


def test_item_item_is_cosine_of_likes_with_shrinkage(training):
    score = baselines.item_item(training)(sp.csr_matrix(([1.0], ([0], [1])), (1, 5)))
    np.testing.assert_allclose(score[0], [3 / math.sqrt(3 * 5), 0, 2 / math.sqrt(2 * 5), 0, 0], rtol=1e-6)
    shrunk = baselines.item_item(training, 2.0)(sp.csr_matrix(([1.0], ([0], [1])), (1, 5)))
    np.testing.assert_allclose(shrunk[0], score[0] * [3 / 5, 0, 2 / 4, 0, 0], rtol=1e-6)


def test_ease_is_the_closed_form_either_way(training):
    x = training.likes.toarray()[:, [0, 1, 2, 4]].astype(float)
    p = np.linalg.inv(x.T @ x + 2 * np.eye(4))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    score = baselines.ease(training, 2.0)(sp.csr_matrix(([1.0], ([0], [0])), (1, 5)))
    np.testing.assert_allclose(score[0, [0, 1, 2, 4]], b[0], atol=1e-9)
    few = training._replace(likes=training.likes[:2])  # fewer users than movies would be the other branch
    x = few.likes.toarray()[:, [0, 1]].astype(float)
    p = np.linalg.inv(x.T @ x + 2 * np.eye(2))
    np.testing.assert_allclose(
        baselines.ease(few, 2.0)(sp.csr_matrix(([1.0], ([0], [0])), (1, 5)))[0, 1], -p[0, 1] / p[1, 1], atol=1e-9
    )


def test_explicit_als_falls_for_a_film_with_a_single_fan(training):
    """Movie 4 was rated once, with one star, by somebody who likes 1: its factors point where that person's do."""
    assert best(baselines.explicit_als_cosine(training, rank=2), training, [1], k=1) == [[4]]


def test_no_favourite_and_no_film_that_may_not_be_shown_comes_back(training):
    for build in (baselines.random, baselines.popularity, baselines.genre_popularity, baselines.item_item):
        for lists in best(build(training), training, [1, 2], [3], k=5):
            assert 5 not in lists and len(lists) == len(set(lists))
        assert not {1, 2} & set(best(build(training), training, [1, 2], k=5)[0])


def test_bulk_and_single_ranking_agree(warehouse):
    recommender = Recommender(store.release_dir(warehouse))
    connection = database.connect(store.release_dir(warehouse))
    requests = [ids(1), ids(1, 3), ids(9), ids(), ids(10), ids(5, 1, 3), ids(12345)]
    lists_of_all = ranking.ranked(connection, requests, 5)
    assert [lists.tolist() for lists in lists_of_all] == [
        [row.movie_id for row in recommender.recommend(favourites.tolist(), k=5)] for favourites in requests
    ]
    connection.close()
    recommender.close()


def test_popularity_weighs_in_where_it_is_asked_to(tmp_path):
    from tests.conftest import write_build

    build = write_build(tmp_path)
    folder = build.publish(k=4, als_rank=2, min_support=1, popularity_weight=0.5)
    rows = Recommender(folder).recommend([1], k=4)
    # 1 has two genres. 2: 0.75; 6: 0.25 + half of the mean of nothing and 0.5; 5, of another genre: 0.125
    assert [(row.movie_id, row.score, row.source) for row in rows[:3]] == [
        (2, 0.75, "neighbours"), (6, 0.375, "neighbours"), (5, 0.125, "neighbours"),
    ]  # fmt: skip
    # 10 has neither genres nor a list, so that the whole catalogue's popularity speaks; 3: half of 0.25.
    rows = Recommender(folder).recommend([10, 3], k=4)
    scores = {row.movie_id: row.score for row in rows}
    assert scores[5] == 0.375 and scores[1] == 0.125
    connection = database.connect(folder)
    alone = "select movie_id, score from listed([[10]]) order by score desc, movie_id"
    assert connection.execute(alone).fetchall() == [(5, 0.5), (1, 0.375), (6, 0.25), (3, 0.125)]


def test_what_was_seen_is_passed_over_before_the_list_is_cut(warehouse, training):
    connection = database.connect(store.release_dir(warehouse))
    whole = ranking.ranked(connection, [ids(1), ids(3)], 5)
    passed = ranking.ranked(connection, [ids(1), ids(3)], 3, [whole[0][:2], ids()])
    assert passed[0].tolist() == whole[0][2:5].tolist() and passed[1].tolist() == whole[1][:3].tolist()
    connection.close()
    lists = baselines.ranked(baselines.popularity(training), training, [ids(3)], [ids(2)], 3)
    assert [movies.tolist() for movies in lists] == [[1, 4]]


def test_every_share_of_two_lists_counts_the_common_ones():
    np.testing.assert_allclose(metrics.overlap([ids(1, 2, 3)], [ids(3, 4, 1)], 3), [2 / 3])


@pytest.mark.parametrize("name", ["strangers", "histories"])
def test_every_trial_of_a_search_may_have_its_content(name):
    space = yaml.safe_load((config.CONF / "search.yaml").read_text())[name]
    default = config.load().spectral
    year, words = (max(space.get(f"spectral.{key}", [getattr(default, key)])) for key in ("year", "words"))
    assert space["spectral.content"]["high"] * (1 + year + words) <= space["spectral.shrinkage"]["low"]


def test_the_report_has_ten_for_pairs_that_people_know(tmp_path):
    examples = {"served": {0: ids(1, 2)}, "item-item, shrinkage 20": {0: ids(3)}, "EASE, 50": {0: ids(1)}}
    table = report.examples_table(examples, {1: "Up", 2: "Amelie (Le Fabuleux destin)", 3: "A|B"})
    assert table[1:] == [["Toy Story (1995) and Finding Nemo (2003)", "Up; Amelie", "A\\|B"]]
    text = report.write_report(tmp_path, [], data="toy", command="a command", examples=table).read_text()
    assert "| Toy Story (1995) and Finding Nemo (2003) | Up; Amelie | A\\|B |" in text


def test_report_says_where_a_baseline_is_better(tmp_path):
    rows = [
        metrics.Measure("strangers", model, 5, metric, 10, value, value - 0.01, value + 0.01)
        for model, value in (("served", 0.2), ("EASE, 200", 0.25), ("random", 0.01))
        for metric in ("ndcg", "recall", "novelty", "least_support", "median_support", "coverage")
    ]
    text = report.write_report(tmp_path, rows, data="toy", command="a command").read_text()
    assert "20.0% **below** the best baseline, EASE, 200 (0.2500)" in text
    assert (tmp_path / "evaluation" / "coverage.png").exists() and "in the strength that" in text
    empty = report.write_report(tmp_path / "none", [], data="toy", command="a command").read_text()
    assert "too few users" in empty and "![" not in empty


def test_plots_show_of_every_family_the_best():
    values = {"served": 0.5, "EASE, 50": 0.3, "EASE, 3000": 0.4, "EASE, 800": 0.35, "item-item cosine": 0.4,
              "item-item, shrinkage 10": 0.2, "item-item, shrinkage 40": 0.3, "popularity": 0.2,
              "genre popularity": 0.3}  # fmt: skip
    at_five = [metrics.Measure("strangers", model, 5, "ndcg", 10, value, None, None) for model, value in values.items()]
    # With one favourite the others would be the best.
    at_one = [metrics.Measure("strangers", model, 1, "ndcg", 10, -value, None, None) for model, value in values.items()]
    drawn = ["EASE, 3000", "item-item, shrinkage 40", "item-item cosine", "popularity"]
    assert report.shown(report.Results(at_one + at_five)) == drawn
