"""Spectral vectors and co-occurrences, against the formula of their docstrings in numpy."""

import subprocess
import sys

import numpy as np
import pytest
from pyspark.sql import functions as F

from pipeline.config import PipelineError
from pipeline.model import content, spectral
from pipeline.model.neighbours import Cut, Search, neighbours_table
from pipeline.model.vectors import unit_rows
from pipeline.schemas import VECTORS
from tests.conftest import ROOT
from tests.model.test_als import factors_frame

KNOBS = {"damping": 0.3, "popularity_exponent": -0.4, "residual": 0.0, "content": 0.5, "year": 0.5, "words": 2.0}
KNOBS["agreement"] = 0.4
GENRES = [["A"], ["A", "B"], ["B"], [], ["C"], ["A"]]
YEARS = [1990, 1995, 2003, None, 1990, 1984]
# The last movie shares a word with the third, whom it has nothing else in common with; "alone" says nothing of others.
WORDS = [(3, "robot", 1), (6, "robot", 3), (1, "alone", 2)]


@pytest.fixture(scope="module")
def liked():
    """Weights of 40 users and 6 movies; nobody likes the last one, whose list comes from its genre and year."""
    rng = np.random.default_rng(3)
    weights = np.where(rng.random((40, 6)) < 0.5, rng.choice([0.5, 1.0, 1.5], (40, 6)), 0)
    weights[:, 5] = 0
    return weights


def frames(spark, weights):
    rows = [(int(u), int(m) + 1, float(weights[u, m])) for u, m in zip(*weights.nonzero(), strict=True)]
    likes = spark.createDataFrame(rows, "user_id int, movie_id int, weight float")
    catalogue = [(i + 1, genres, year) for i, (genres, year) in enumerate(zip(GENRES, YEARS, strict=True))]
    return likes, spark.createDataFrame(catalogue, "movie_id int, genres array<string>, year smallint")


def described(spark, movies):
    return content.content(movies, spark.createDataFrame(WORDS, "movie_id int, word string, n bigint"))


def similarity(
    weights, *, shrinkage, user_exponent, damping, popularity_exponent, residual, content, year, words, agreement
):
    """The docstrings' formulas with exact eigenpairs, residual included, [movies, movies] each: similarities and
    weights, both without the agreement of the genres, and that agreement."""
    active = weights[weights.any(axis=1)]
    activity = (active**2).sum(axis=1)
    median = np.sort(activity)[(len(activity) - 1) // 2]
    x = active * (activity / median)[:, None] ** (-user_exponent / 2)
    support = (x**2).sum(axis=0)
    gram = (x / np.sqrt(support + shrinkage)).T @ (x / np.sqrt(support + shrinkage))
    values, v = np.linalg.eigh(gram)
    k = damping * values.max()
    shared = (v * (np.maximum(k * values / (k + values), 0) - residual * values)) @ v.T + residual * gram
    n = support + shrinkage
    p = (n / (0.05 * len(active))) ** popularity_exponent
    names = np.array([[name in g for name in "ABC"] for g in GENRES], float) * np.log(6 / np.array([3, 2, 1]))
    decades = np.array([[max(1 - abs(y / 10 - t), 0) if y else 0 for t in range(198, 202)] for y in YEARS])
    genres = unit_rows(names) @ unit_rows(names).T
    agree = np.where(np.outer(names.any(axis=1), names.any(axis=1)), 1 - agreement + agreement * genres, 1)
    same = genres + year * unit_rows(decades) @ unit_rows(decades).T
    robots = np.array([0, 0, 1, 0, 0, 1])
    same += words * np.outer(robots, robots)
    core = shared + content * same / np.sqrt(np.outer(n, n))
    return core, core * np.sqrt(n[None, :] / n[:, None]) * p, agree


def vectors_frame(spark, movies, spectrum, **knobs):
    vectors, scales = spectral.spectral_vectors(spectrum, described(spark, movies), **knobs)
    return spark.createDataFrame(vectors, VECTORS), scales


def test_spectral_vectors_are_the_formula(spark, liked):
    """Factors that span everything make the eigenpairs exact."""
    likes, movies = frames(spark, liked)
    weighted = spectral.weighted_likes(likes, user_exponent=0.5)
    spectrum = spectral.spectrum(factors_frame(spark, np.eye(5)), weighted, movies, shrinkage=2.0)
    vectors, scales = vectors_frame(spark, movies, spectrum, **KNOBS)
    table = vectors.orderBy("movie_id").collect()
    query, candidate = (np.array([row[name] for row in table]) for name in ("query", "candidate"))
    scores = query @ candidate.T
    expected, weights, agree = similarity(liked, shrinkage=2.0, user_exponent=0.5, **KNOBS)
    ids = np.arange(1, 7, dtype=np.int32)
    found, counts = scales.applied(ids, np.tile(ids, (6, 1)), scores)
    np.testing.assert_allclose(found, expected * agree, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(found, found.T, rtol=1e-5, atol=1e-8)
    assert np.abs(found).max() <= 1
    np.testing.assert_allclose(counts, weights * agree, rtol=2e-4, atol=2e-5)
    assert expected[5, 0] > 0 == expected[5, 3] and expected[5, 2] > 0


@pytest.mark.parametrize(
    ("query_blocks", "item_blocks", "pieces", "per_block"), [(1, 1, 1, 10**6), (3, 2, 1, 60), (2, 4, 3, 60)]
)
def test_lists_with_the_residual_are_the_formula(
    spark, liked, monkeypatch, query_blocks, item_blocks, pieces, per_block
):
    """Two factors leave something out of the eigenpairs; with a residual of 1 and no damping it all comes back."""
    monkeypatch.setattr(spectral, "LIKES_PER_BLOCK", per_block)
    monkeypatch.setattr(spectral, "PAIR_LIKES_PER_BLOCK", per_block)
    monkeypatch.setattr(spectral, "MOVIES_PER_PART", max(per_block // 20, 1))
    likes, movies = frames(spark, liked)
    weighted = spectral.weighted_likes(likes, user_exponent=0.5)
    knobs = {**KNOBS, "damping": 1e6, "residual": 1.0}
    factors = factors_frame(spark, np.random.default_rng(1).standard_normal((5, 2)))
    spectrum = spectral.spectrum(factors, weighted, movies, shrinkage=2.0)
    vectors, scales = vectors_frame(spark, movies, spectrum, **knobs)
    weights = {"popularity_exponent": -0.4, "residual": 1.0}
    pairs = spectral.co_occurrences(spectral.pairs_table(weighted), spectrum, **weights)
    cut = Cut(query_blocks, item_blocks, pieces)
    table = neighbours_table(Search(vectors, movies, cut, scales, pairs=pairs), k=3)
    expected, counts, agree = similarity(liked, shrinkage=2.0, user_exponent=0.5, **knobs)
    means = np.sqrt(np.maximum(expected * counts, 0))
    expected, counts = expected * agree, counts * agree
    np.fill_diagonal(means, -np.inf)
    rows = table.orderBy("movie_id", "rank").collect()
    assert [row.movie_id for row in rows] == np.repeat(np.arange(1, 7), 3).tolist()
    for movie in range(1, 7):
        listed = [row for row in rows if row.movie_id == movie]
        for row in listed:
            place = movie - 1, row.neighbour_id - 1
            assert row.similarity == pytest.approx(expected[place], rel=1e-3, abs=1e-5)
            assert row.weight == pytest.approx(counts[place], rel=1e-3, abs=1e-5)
        assert [row.similarity for row in listed] == sorted((row.similarity for row in listed), reverse=True)
        best = sorted(means[movie - 1], reverse=True)[:3]
        assert sorted((means[movie - 1, row.neighbour_id - 1] for row in listed), reverse=True) == pytest.approx(
            best, rel=1e-3
        )


def test_content_worth_more_than_the_shrinkage_is_refused(spark, liked):
    likes, movies = frames(spark, liked)
    weighted = spectral.weighted_likes(likes, user_exponent=0.5)
    spectrum = spectral.spectrum(factors_frame(spark, np.eye(5)), weighted, movies, shrinkage=2.0)
    with pytest.raises(PipelineError, match=r"1 \+ year \+ words\) is 3.5, above spectral.shrinkage, 2"):
        vectors_frame(spark, movies, spectrum, **{**KNOBS, "content": 1.0})


def test_many_words_are_kept_as_the_best_approximation_in_few_columns(spark):
    """Forty movies with eight of sixty words each: more than are kept, so that something must be left out."""
    rng = np.random.default_rng(4)
    used = [
        (m, f"word {w}", int(n)) for m in range(40) for w, n in zip(rng.permutation(60)[:8], range(1, 9), strict=True)
    ]
    movies = spark.createDataFrame(
        [(m, [], None) for m in range(40)], "movie_id int, genres array<string>, year smallint"
    )
    words = spark.createDataFrame(used, "movie_id int, word string, n bigint")
    found = content.content(movies, words).words
    names = sorted({word for _, word, _ in used})
    matrix = np.zeros((40, len(names)))
    for movie, word, n in used:
        matrix[movie, names.index(word)] = np.log1p(n)
    of = (matrix > 0).sum(axis=0)
    matrix = unit_rows(matrix * np.log(40 / of) * (of > 1))
    u, s, _ = np.linalg.svd(matrix)
    best = (u[:, :32] * s[:32] ** 2) @ u[:, :32].T
    assert found.shape == (40, 32) and not np.allclose(best, matrix @ matrix.T)
    np.testing.assert_allclose(found @ found.T, best, atol=1e-9)


def test_lists_of_some_movies_are_those_of_all(spark, liked):
    likes, movies = frames(spark, liked)
    weighted = spectral.weighted_likes(likes, user_exponent=0.0)
    spectrum = spectral.spectrum(factors_frame(spark, np.eye(5)), weighted, movies, shrinkage=2.0)
    vectors, scales = vectors_frame(spark, movies, spectrum, **KNOBS)
    every = neighbours_table(Search(vectors, movies, Cut(2, 1), scales), k=3).collect()
    only = spark.createDataFrame([(2,), (6,)], "movie_id int")
    some = neighbours_table(Search(vectors, movies, Cut(2, 1), scales, only), k=3).collect()
    assert sorted(some) == sorted(row for row in every if row.movie_id in (2, 6))


def test_heavy_users_are_paired_by_a_sample_that_stands_for_all(spark, monkeypatch):
    monkeypatch.setattr(spectral, "PAIRED_LIKES", 20)
    weighted = spark.createDataFrame([(1, m, 1.0) for m in range(40)], "user_id int, movie_id int, weight float")
    rows = spectral.pairs_table(weighted).collect()
    assert len(rows) == 20
    for row in rows:
        assert np.frombuffer(row.common, np.float32).tolist() == [4.0] * 19
        assert row.movie_id not in np.frombuffer(row.ids, np.int32)


def test_a_shop_with_many_genres_gets_vectors_no_longer_than_others(spark):
    rng = np.random.default_rng(5)
    share = 1 / np.arange(1, 301) / (1 / np.arange(1, 301)).sum()
    named = [[f"g{i}" for i in rng.choice(300, 3, replace=False, p=share)] for _ in range(1000)]
    named[0] = named[1] = ["g7", "g200"]
    movies = spark.createDataFrame(list(enumerate(named)), "movie_id int, genres array<string>").withColumn(
        "year", F.lit(None).cast("int")
    )
    vectors = described(spark, movies).genres
    assert vectors.shape == (1000, content.GENRE_COLUMNS) and (vectors**2).sum(axis=1).max() < 1 + 1e-9
    counts = {name: sum(name in movie for movie in named) for movie in named for name in movie}
    weights = np.array([[np.log(1000 / n) * (name in movie) for name, n in counts.items()] for movie in named])
    exact, alike = unit_rows(weights) @ unit_rows(weights).T, vectors @ vectors.T
    np.testing.assert_allclose(alike[0], alike[1])
    below = np.triu_indices(1000, 1)
    assert np.corrcoef(exact[below], alike[below])[0, 1] > 0.9


def test_no_job_and_no_worker_waits_for_what_few_need():
    """To load one takes up to a second, and every job and each of its workers loads what the main job imports."""
    imported = "import sys, jobs.run_pipeline; print({'sklearn', 'matplotlib', 'implicit'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", imported], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "set()\n", run.stderr
