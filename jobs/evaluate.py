"""Held-out favourites to metrics: trains without some users, asks as they would, compares with yardsticks."""

import copy
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.build_neighbours import lists
from jobs.train_als import fit, load, popular
from pipeline import baselines, metrics, protocol, schemas, serving
from pipeline.factors import item_factors_table
from pipeline.job import Run, start

N_FAVOURITES = (1, 3, 5, 10)
K = 10
YARDSTICKS = {
    "random": baselines.random,
    "popularity": baselines.popularity,
    "genre popularity": baselines.genre_popularity,
    "item-item cosine": baselines.item_item,
    "item-item, shrinkage 20": lambda training: baselines.item_item(training, 20),
    "item-item, shrinkage 40": lambda training: baselines.item_item(training, 40),
    "EASE, 200": lambda training: baselines.ease(training, 200),
    "EASE, 800": lambda training: baselines.ease(training, 800),
    "EASE, 3000": lambda training: baselines.ease(training, 3000),
    "explicit ALS, cosine": baselines.explicit_als_cosine,
}


def main(run: Run) -> None:
    """Evaluate a configuration without publishing anything; the metrics stay in the warehouse's folder evaluation."""
    run.start_build("evaluation")
    ratings, movies = load(run)
    evaluate(run, ratings, movies)
    run.build.save_manifest()
    run.say(f"metrics: {run.build.path / 'metrics'}")


def evaluate(run: Run, ratings: DataFrame, movies: DataFrame) -> DataFrame:
    """Return the metrics table, saved: strangers with a few favourites, served lists beside the yardsticks."""
    config, knobs = run.config, run.config.evaluation
    measured = metrics.Measured(K, knobs.seed)
    ratings = ratings.join(fold_table(run, ratings), "user_id", how="inner").persist()
    with run.stage("evaluate") as stage:
        for fold in range(knobs.folds):
            requests = held_out(config, ratings.where((F.col("fold") == fold) & F.col("tested")))
            if not any(part.favourites for part in requests.values()):
                continue
            training = ratings.where(F.col("fold") != fold).drop("fold").persist()
            catalogue_movies = with_support(movies, training).persist()
            catalogue = as_catalogue(catalogue_movies, training)
            factors = item_factors_table(fit(config, training, run.cores)).persist()
            popularity = popular(config, training, catalogue_movies).toArrow()
            plain = variant(config, "cosine", popularity_weight=0.0)
            for name, recipe in (("served", config), ("these ALS factors, cosine", plain)):
                neighbours = lists(recipe, training, catalogue_movies, factors, run.cores)
                answers = served_lists(run, recipe, neighbours, catalogue_movies, popularity, requests)
                measured.add(name, answers, requests, catalogue)
            factors.unpersist()
            if training.count() <= knobs.max_baseline_ratings:
                data = as_matrices(config, training, catalogue)
                for name, yardstick in YARDSTICKS.items():
                    score = yardstick(data)
                    ranked = {n: baselines.ranked(score, data, asked.favourites, K) for n, asked in requests.items()}
                    measured.add(name, ranked, requests, catalogue)
            training.unpersist()
            catalogue_movies.unpersist()
        rows = measured.rows()
        table = run.save("metrics", run.spark.createDataFrame(rows, schemas.spark_schema("metrics")), files=1)
        run.build.record("metrics", {f"{row.model}, {row.n_favourites}, {row.metric}@{K}": row.value for row in rows})
        stage.note = measured.summary()
    ratings.unpersist()
    run.say(measured.report())
    return table


def fold_table(run: Run, ratings: DataFrame) -> DataFrame:
    """Return user_id, fold, tested: every user in one fold, max_users of each fold with their likes as requests."""
    knobs = run.config.evaluation
    users = ratings.select("user_id").distinct()
    fold = F.pmod(F.xxhash64("user_id", F.lit(knobs.seed)), F.lit(knobs.folds)).cast("int")
    users = users.withColumn("fold", fold)
    share = F.lit(knobs.folds * knobs.max_users / max(users.count(), 1))
    chance = F.pmod(F.xxhash64("user_id", F.lit(knobs.seed + 1)), F.lit(1_000_000)) / 1_000_000
    return users.withColumn("tested", chance < share)


def held_out(config: SimpleNamespace, ratings: DataFrame) -> dict[int, protocol.Requests]:
    """Return the requests of held-out users for each number of favourites."""
    likes = ratings.where(F.col("rating") >= config.evaluation.like_rating).select("user_id", "movie_id").toArrow()
    users, movies = (likes.column(name).to_numpy() for name in ("user_id", "movie_id"))
    order = np.argsort(users, kind="stable")
    owners, begins = np.unique(users[order], return_index=True)
    of_user = dict(zip(owners.tolist(), np.split(movies[order], begins[1:]), strict=False))  # no owner: one empty part
    knobs = {"draws": config.evaluation.draws, "min_targets": config.evaluation.min_targets}
    return {n: protocol.draw_requests(of_user, n, seed=config.evaluation.seed, **knobs) for n in N_FAVOURITES}


def with_support(movies: DataFrame, training: DataFrame) -> DataFrame:
    """Return the movies table with support counted in the training part alone."""
    counted = training.groupBy("movie_id").agg(F.count("*").cast("int").alias("n_training"))
    joined = movies.join(counted, "movie_id", how="left")
    return joined.withColumn("n_ratings", F.coalesce("n_training", F.lit(0))).select(schemas.names("movies"))


def as_catalogue(movies: DataFrame, training: DataFrame) -> metrics.Catalogue:
    """Return what the measures need to know of the movies."""
    table = movies.select("movie_id", "n_ratings", "genres").orderBy("movie_id").toArrow()
    ids, support = (table.column(name).to_numpy() for name in ("movie_id", "n_ratings"))
    return metrics.Catalogue(ids, support, table.column("genres").to_pylist())


def variant(config: SimpleNamespace, similarity: str, *, popularity_weight: float) -> SimpleNamespace:
    """Return the configuration with another similarity and weight of popularity."""
    other = copy.deepcopy(config)
    other.neighbours.similarity, other.popularity.weight = similarity, popularity_weight
    return other


def served_lists(
    run: Run, config: SimpleNamespace, neighbours: DataFrame, movies: DataFrame, popularity: pa.Table, requests: dict
) -> dict[int, list[np.ndarray]]:
    """Return what the page would answer to the requests from these tables: the same SQL."""
    asked = {int(movie) for part in requests.values() for favourites in part.favourites for movie in favourites}
    wanted = run.spark.createDataFrame([Row(movie_id=movie) for movie in sorted(asked)], "movie_id int")
    neighbours = neighbours.join(F.broadcast(wanted), "movie_id", how="left_semi")
    tables = {"movies": movies.toArrow(), "neighbours": neighbours.toArrow(), "popularity": popularity}
    connection = serving.in_memory(tables, popularity_weight=config.popularity.weight)
    return {n: serving.ranked(connection, part.favourites, K) for n, part in requests.items()}


def as_matrices(config: SimpleNamespace, training: DataFrame, catalogue: metrics.Catalogue) -> baselines.Training:
    """Return the training part as sparse matrices, for the yardsticks."""
    table = training.select("user_id", "movie_id", "rating").orderBy("user_id", "movie_id").toArrow()
    users = np.unique(table.column("user_id").to_numpy(), return_inverse=True)[1]
    movies = catalogue.rows(table.column("movie_id").to_numpy())
    stars = table.column("rating").to_numpy().astype(np.float32)
    shape = (users.max() + 1, len(catalogue.movie_ids))
    liked = stars >= config.evaluation.like_rating
    likes = sp.csr_matrix((np.ones(liked.sum(), np.float32), (users[liked], movies[liked])), shape)
    candidates = catalogue.support >= config.neighbours.min_support
    return baselines.Training(
        sp.csr_matrix((stars, (users, movies)), shape), likes, candidates, catalogue, config.evaluation.seed
    )


if __name__ == "__main__":
    start(main, __doc__)
