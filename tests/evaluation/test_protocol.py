"""Who is asked what: users kept apart, likes hidden, splits that others made."""

import numpy as np
import pytest

from pipeline.evaluation import protocol

KNOBS = {"like_rating": 4.0, "max_users": 1000, "seed": 7}


@pytest.fixture(scope="module")
def ratings(spark):
    """60 users; user u rates movies u to u + 19, every other one with 5 stars, the rest with 2."""
    rows = [(u, m, 5.0 if (m - u) % 2 else 2.0) for u in range(60) for m in range(u, u + 20)]
    return spark.createDataFrame(rows, "user_id int, movie_id int, rating float").persist()


def pairs(frame):
    return {(row.user_id, row.movie_id) for row in frame.collect()}


def strangers(ratings, part):
    return list(protocol.strangers(ratings, part=part, folds=3, draws=2, min_targets=5, **KNOBS))


def test_strangers_are_held_out_whole_and_once(ratings):
    splits = strangers(ratings, "test")
    assert len(splits) == 3
    asked = []
    for split in splits:
        requests = split.requests["strangers", 3]
        assert not set(requests.users.tolist()) & {user for user, _ in pairs(split.training)}
        asked += sorted(set(requests.users.tolist()))
        for user, favourites, targets in zip(requests.users, requests.favourites, requests.targets, strict=True):
            assert sorted([*favourites, *targets]) == [m for m in range(user, user + 20) if (m - user) % 2]
        one = split.requests["strangers, over 20", 1]
        assert len(one.users) == 0  # no movie has more than 20 ratings
    assert len(asked) == len(set(asked)) > 30


def test_families_and_pairs_are_found_among_the_titles(spark):
    rows = [
        (1, "Toy Story", 1995, 30), (2, "Toy Story 2", 1999, 10), (3, "Toy Story 3", 2010, 9), (4, "Heat", 1995, 50),
        (5, "Finding Nemo", 2003, 5), (6, "Amelie (Fabuleux destin)", 2001, 9), (7, "The Ring", 1927, 9),
    ]  # fmt: skip
    movies = spark.createDataFrame(rows, "movie_id int, title string, year smallint, n_ratings int")
    (families,) = protocol.of_franchises(movies).values()
    assert [ids.tolist() for ids in families.favourites] == [[1], [2]]  # of the third too few people know
    assert [ids.tolist() for ids in families.targets] == [[2], [1]]
    (examples,) = protocol.of_examples(movies).values()
    assert examples.users.tolist() == [0] and examples.favourites[0].tolist() == [1, 5]
    assert protocol.of_franchises(movies.limit(0)) == protocol.of_examples(movies.limit(0)) == {}


def test_tuning_and_testing_ask_different_users(ratings):
    users = {
        part: {user for split in strangers(ratings, part) for user in split.requests["strangers", 1].users.tolist()}
        for part in ("test", "validation")
    }
    assert not users["test"] & users["validation"]
    assert users["test"] | users["validation"] == set(range(60)) and len(users["validation"]) > 8
    hidden = {
        part: set(protocol.histories(ratings, part=part, **KNOBS).requests["histories", None].users.tolist())
        for part in ("test", "validation")
    }
    assert hidden == users


def test_max_users_bounds_who_is_asked(ratings):
    few = protocol.histories(ratings, part="test", like_rating=4.0, max_users=10, seed=7)
    assert 1 <= len(few.requests["histories", None].users) < 25


def test_histories_hide_a_fifth_of_the_likes(ratings):
    split = protocol.histories(ratings, part="test", **KNOBS)
    requests, training = split.requests["histories", None], pairs(split.training)
    for user, favourites, targets, seen in zip(*requests, strict=True):
        likes = {m for m in range(user, user + 20) if (m - user) % 2}
        assert len(targets) == 2 and set(targets) | set(favourites) == likes
        assert set(seen) == set(range(user, user + 20)) - likes
        assert not {(user, movie) for movie in targets} & training
        assert {(user, movie) for movie in (*favourites, *seen)} <= training
    hidden = sum(len(targets) for targets in requests.targets)
    assert len(training) == 60 * 20 - hidden


def test_a_given_split_asks_every_test_user_by_all_they_have(spark):
    rows = [(1, 10, 4.0), (1, 11, 4.0), (2, 10, 4.0), (3, 12, 4.0)]
    tests = [(1, 12, 4.0), (1, 13, 4.0), (2, 11, 2.0), (4, 10, 4.0)]
    schema = "user_id int, movie_id int, rating float"
    training = spark.createDataFrame(rows, schema)
    split = protocol.given_histories(training, spark.createDataFrame(tests, schema), like_rating=4.0)
    requests = split.requests["histories", None]
    assert requests.users.tolist() == [1, 4]  # 2 has no test item that is a like
    assert [ids.tolist() for ids in requests.favourites] == [[10, 11], []]
    assert [ids.tolist() for ids in requests.targets] == [[12, 13], [10]]
    assert pairs(split.training) == pairs(training)


def test_requests_by_class_of_support_draw_from_that_class():
    likes = {1: np.arange(10, dtype=np.int32)}
    requests = protocol.draw_requests(likes, 1, draws=4, min_targets=5, seed=1, eligible={3, 4, 99})
    assert {int(ids[0]) for ids in requests.favourites} <= {3, 4}
    assert all(len(targets) == 9 for targets in requests.targets)
