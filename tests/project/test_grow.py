"""The data that benchmarks/grow.py makes, by the command itself."""

import argparse

import duckdb
import numpy as np
import pytest

from benchmarks import grow
from pipeline.config import PipelineError
from tests.conftest import QUICK, submit

# Several blocks of users and of movies, so that cores have something to divide.
SMALL = ["--ratings", "30000", "--movies", "300", "--users", "1200"]


def grown(folder, *options, **environment):
    result = submit("benchmarks/grow.py", "--out", folder, *SMALL, *options, SPARK_SUBMIT_OPTS=QUICK, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def rows(folder, table):
    return duckdb.sql(f"from '{folder}/{table}/*.parquet' order by all").fetchall()


@pytest.fixture(scope="module")
def small(run, tmp_path_factory):
    """A small data set grown on two cores, and what the command printed."""
    folder = tmp_path_factory.mktemp("grown") / "small"
    result = run("benchmarks/grow.py", "--out", folder, *SMALL)
    assert result.returncode == 0, result.stdout
    return folder, result


def test_counts_are_as_asked_and_every_rating_is_sound(small):
    ratings = f"'{small[0]}/ratings/*.parquet'"
    counts = duckdb.sql(f"""
        select count(*), count(distinct (user_id, movie_id)), count(distinct user_id),
               bool_and(movie_id between 1 and 300),
               bool_and(rating * 2 = round(rating * 2) and rating between 0.5 and 5),
               bool_and(rated_at between '1995-01-01' and '2020-01-01')
        from {ratings}""").fetchall()[0]
    assert counts == (30000, 30000, 1200, True, True, True)
    assert duckdb.sql(f"select min(n) from (select count(*) n from {ratings} group by user_id)").fetchall() == [(20,)]
    movies = f"'{small[0]}/movies/*.parquet'"
    assert duckdb.sql(f"select count(*), count(distinct movie_id) from {movies}").fetchall() == [(300, 300)]


@pytest.mark.exhaustive
def test_the_same_rows_on_one_core_and_other_ones_with_another_seed(small, tmp_path):
    grown(tmp_path / "again", SPARK_CORES="1")
    grown(tmp_path / "other", "--seed", "2", SPARK_CORES="2")
    for table in ("ratings", "movies"):
        assert rows(tmp_path / "again", table) == rows(small[0], table) != rows(tmp_path / "other", table)


@pytest.mark.exhaustive
def test_the_pipeline_reads_all_of_it(small, tmp_path):
    options = ["--set", f"data.dir={small[0]}", "--set", f"warehouse.dir={tmp_path}", "--set", "als.rank=8"]
    result = submit("jobs/train_als.py", *options)
    assert "30,000 ratings of 300 movies, 0 rows rejected" in result.stdout, result.stdout + result.stderr


def test_the_shape_is_printed_beside_the_real_one_and_the_console_is_calm(small):
    printed = small[1].stdout + small[1].stderr
    assert "| ratings | 100,836 | 30,000 |" in printed and "| genres per movie | 2.2" in printed
    assert not [noise for noise in ("WARN", "ERROR", "Traceback") if noise in printed]


def test_nothing_is_overwritten(run, small):
    result = run("benchmarks/grow.py", "--out", small[0], *SMALL)
    assert result.returncode == 1 and "there is a data set already; give another --out DIR" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(("ratings", "users"), [(30_000, 3_000), (30_000, 100), (-1, None)])
def test_sizes_that_do_not_go_together_are_refused(ratings, users):
    # Real users rate 20 to 2,700 of 9,000 movies; of 300 that is 20 to 90, and 45 on average at most.
    real = grow.Real(["Heat"] * 9000, *[None] * 2, np.array([20, 100, 2700]), *[None] * 8)
    asked = argparse.Namespace(ratings=ratings, movies=300, users=users, seed=1)
    with pytest.raises(PipelineError, match="a user rates 20 to 90 movies, and 45 at most on average"):
        grow.checked_size(real, asked)


def test_clones_of_a_movie_have_titles_of_their_own():
    nothing = np.zeros(0)
    real = grow.Real(["Heat", "Emma"], np.array([1995, 0]), [[], []], *[nothing] * 8, [])
    titles = [grow.clone_title(real, 0, copy, 0) for copy in range(300)]
    assert titles[0] == "Heat (1995)" and titles[1] == "Heat: Silent Harbour (1995)" and len(set(titles)) == 300
    assert grow.clone_title(real, 1, 0, 3) == "Emma"


def test_movies_are_drawn_by_popularity_times_relevance():
    # Popularity 6 : 3 : 1, relevance 1 : 3 : 1 (1 + STRENGTH x taste): the second leads with 9 / 16.
    taste = np.array([[0], [2 / grow.STRENGTH], [0]], np.float32)
    movies = grow.Catalogue(*[np.zeros(3)] * 2, taste, np.zeros(3), np.array([0.6, 0.9, 1.0]))
    random = np.random.default_rng(1)
    firsts = [grow.drawn(random, movies, np.ones(1, np.float32), 2)[0] for _ in range(4000)]
    shares = np.bincount([rows[0] for rows in firsts], minlength=3) / len(firsts)
    np.testing.assert_allclose(shares, [6 / 16, 9 / 16, 1 / 16], atol=0.025)
    assert all(len(set(rows.tolist())) == 2 for rows in firsts)


def test_taste_tells_who_rates_what(monkeypatch):
    monkeypatch.setattr(grow, "RANK", 1)
    # Two circles of four users, each with its own four movies; user 0 of the first has not rated movie 3 yet.
    users, movies = np.nonzero(np.kron(np.eye(2), np.ones((4, 4))))
    users, movies = np.delete(users, 3), np.delete(movies, 3)
    user, movie = grow.tastes(users, movies, np.bincount(users), np.bincount(movies))
    assert user[0] @ movie[3] > 0 > user[0] @ movie[4]
