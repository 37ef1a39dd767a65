"""Likes, whitening and factors, against values worked by hand or by numpy."""

import numpy as np
import pytest
from pyspark.ml.recommendation import ALSModel

from pipeline.model import conjugate_gradient
from pipeline.model.als import item_factors_table, likes_table, train_als
from pipeline.model.vectors import cosine_vectors, gram_matrix, unit_rows, whitened_vectors, whitening_matrix


def factors_frame(spark, factors, partitions=2):
    rows = [(i + 1, row.tolist()) for i, row in enumerate(factors)]
    return spark.createDataFrame(rows, "movie_id int, factors array<float>").repartition(partitions)


def collected(vectors):
    return np.array([row.query for row in vectors.orderBy("movie_id").collect()])


def test_likes_weigh_by_their_stars(spark):
    ratings = spark.createDataFrame(
        [(1, 1, 3.5), (1, 2, 4.0), (1, 3, 5.0), (1, 4, 2.0)], "user_id int, movie_id int, rating float"
    )
    knobs = {"min_rating": 4.0, "neutral_rating": 2.0}
    constant = likes_table(ratings, weight="constant", **knobs)
    assert [tuple(row) for row in constant.collect()] == [(1, 2, 1.0), (1, 3, 1.0)]
    graded = likes_table(ratings, weight="graded", **knobs)
    assert [tuple(row) for row in graded.collect()] == [(1, 1, 0.75), (1, 2, 1.0), (1, 3, 1.5)]


def test_cosine_vectors_have_length_one_and_zeros_stay(spark):
    frame, scales = cosine_vectors(factors_frame(spark, np.array([[3.0, 4.0], [0, 0], [0, -2]])))
    vectors = collected(frame)
    np.testing.assert_allclose(scales.candidate_lengths, 1, rtol=1e-6)
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, -1]], atol=1e-7)
    assert np.array_equal(unit_rows(np.zeros((2, 2))), np.zeros((2, 2)))


def test_whitened_inner_products_are_the_formula(spark):
    factors = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    frame, scales = whitened_vectors(factors_frame(spark, factors), whitening=2.0)
    vectors = collected(frame)
    gram = factors.T.astype(np.float64) @ factors
    expected = factors @ np.linalg.inv(gram + 2.0 * np.trace(gram) / 4 * np.eye(4)) @ factors.T
    np.testing.assert_allclose(vectors @ vectors.T, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scales.query_lengths, np.sqrt(np.diag(expected)), rtol=1e-4)
    assert scales.candidate_lengths is scales.query_lengths and (scales.query_weights == 1).all()


def test_gram_matrix_does_not_depend_on_partitions(spark):
    factors = np.random.default_rng(1).standard_normal((10_000, 3)).astype(np.float32)
    one, five = (gram_matrix(factors_frame(spark, factors, partitions)) for partitions in (1, 5))
    assert np.array_equal(one, five)
    np.testing.assert_allclose(one, factors.T.astype(np.float64) @ factors, rtol=1e-9)


def test_factors_of_zeros_or_nan_are_named():
    for gram in (np.zeros((2, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="item factors"):
            whitening_matrix(gram, 1.0)


PARAMS = {"rank": 3, "maxIter": 3, "regParam": 0.1, "alpha": 10.0, "seed": 1, "implicitPrefs": True}
PARAMS |= {"numUserBlocks": None, "numItemBlocks": None, "blockSize": 64, "coldStartStrategy": "nan"}


@pytest.fixture(scope="module")
def likes(spark):
    """Likes of about 30 users and movies, of different weight."""
    rng = np.random.default_rng(2)
    pairs = sorted({tuple(pair) for pair in rng.integers(0, 30, (300, 2)).tolist()})
    rows = [(user, 1000 * movie, float(1 + (user + movie) % 3)) for user, movie in pairs]
    return spark.createDataFrame(rows, "user_id int, movie_id int, weight float").persist()


@pytest.mark.parametrize("solver", ["spark", "conjugate_gradient"])
def test_training_twice_gives_the_same_factors(likes, solver):
    first, second = (
        item_factors_table(train_als(likes.repartition(partitions), solver=solver, blocks=2, **PARAMS))
        .orderBy("movie_id")
        .collect()
        for partitions in (1, 3)
    )
    assert first == second
    assert [row.movie_id for row in first] == [
        r.movie_id for r in likes.select("movie_id").distinct().orderBy("movie_id").collect()
    ]


def test_conjugate_gradients_solve_the_equations_of_implicit_als(likes, tmp_path):
    # As many steps as factors: then nothing is left of the residual. The movies were solved last, from these users.
    model = train_als(likes, solver="conjugate_gradient", blocks=2, **PARAMS)
    model.write().save(str(tmp_path / "als"))
    loaded = ALSModel.load(str(tmp_path / "als"))
    users, movies = (
        {r.id: np.array(r.features) for r in f.collect()} for f in (loaded.userFactors, loaded.itemFactors)
    )
    gram = sum(np.outer(x, x) for x in users.values()) + 0.1 * np.eye(3)
    left, right = {m: gram.copy() for m in movies}, dict.fromkeys(movies, 0)
    for row in likes.collect():
        x = users[row.user_id]
        left[row.movie_id] += 10 * row.weight * np.outer(x, x)
        right[row.movie_id] = right[row.movie_id] + (1 + 10 * row.weight) * x
    for movie, factors in movies.items():
        np.testing.assert_allclose(factors, np.linalg.solve(left[movie], right[movie]), rtol=1e-3, atol=1e-4)
    assert np.mean([users[row.user_id] @ movies[row.movie_id] for row in likes.collect()]) > 0.5


def test_conjugate_gradients_come_to_what_spark_finds(likes):
    # Without regularisation, which the two scale in different ways, both minimise the same sum.
    params = PARAMS | {"rank": 1, "maxIter": 8, "regParam": 1e-4}
    pairs = likes.select("user_id", "movie_id")
    predicted = [
        train_als(likes, solver=solver, blocks=2, **params).transform(pairs).orderBy("user_id", "movie_id").toPandas()
        for solver in ("spark", "conjugate_gradient")
    ]
    one, other = (table["prediction"].to_numpy() for table in predicted)
    np.testing.assert_allclose(one, other, atol=0.02)


def test_training_goes_on_from_the_factors_it_is_given(likes):
    params = {**PARAMS, "solver": "conjugate_gradient", "blocks": 2, "warm_start": True}

    def factors(n_iterations, start=None):
        return item_factors_table(train_als(likes, start=start, **{**params, "maxIter": n_iterations}))

    def away(one, other):
        """The distance between what two sets of factors say goes with what, beside its size."""
        a, b = (np.array([row.factors for row in table.orderBy("movie_id").collect()]) for table in (one, other))
        return np.linalg.norm(a @ a.T - b @ b.T) / np.linalg.norm(b @ b.T)

    far, cold = factors(6).persist(), factors(1).persist()
    assert away(factors(1, far), far) < 0.2 * away(cold, far)
    # A start for other movies only is none; and whose start is left out begins at random, the others do not.
    strangers = far.selectExpr("movie_id + 1 as movie_id", "factors")
    assert factors(1, strangers).exceptAll(cold).isEmpty()
    some = factors(1, far.where("movie_id < 15000"))
    assert some.count() == far.count() and 0 < away(some, far) < away(cold, far)
    without = {**params, "warm_start": False, "maxIter": 1}
    assert item_factors_table(train_als(likes, start=far, **without)).exceptAll(cold).isEmpty()


def test_chunks_of_any_size_are_the_same_likes(likes, spark):
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 20)  # several batches to a task
    labels = [0, 1, 2]
    few, many = (
        [conjugate_gradient._packed(chunks, side, labels).orderBy("block").collect() for side in (0, 1)]
        for chunks in (conjugate_gradient._chunks(likes, 10.0, labels, size) for size in (10**6, 50))
    )
    spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert few == many
    assert sum(len(row.others) for row in many[0]) == sum(len(row.others) for row in many[1]) == 4 * likes.count()


def test_any_seed_that_spark_takes(likes):
    one, other = (
        train_als(likes, solver="conjugate_gradient", blocks=2, **{**PARAMS, "maxIter": 1, "seed": seed})
        .itemFactors.orderBy("id")
        .head()
        for seed in (-1, 2**63 - 1)
    )
    assert one.features != other.features
