"""Held-out likes to metrics: trains without what is asked for, asks as visitors would, beside yardsticks."""

import argparse
import copy
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.build_neighbours import Learned, lists
from jobs.train_als import interactions, load, load_tests, popular
from pipeline import schemas
from pipeline.batch.run import Run, start
from pipeline.evaluation import baselines, metrics, protocol, ranking, report

Answers = dict[protocol.Asked, list[np.ndarray]]  # lists per kind of request, movie ids, best first
YARDSTICKS = {
    "random": baselines.random,
    "popularity": baselines.popularity,
    "genre popularity": baselines.genre_popularity,
    "item-item cosine": baselines.item_item,
    "item-item, shrinkage 10": lambda training: baselines.item_item(training, 10),
    "item-item, shrinkage 20": lambda training: baselines.item_item(training, 20),
    "item-item, shrinkage 40": lambda training: baselines.item_item(training, 40),
    "EASE, 50": lambda training: baselines.ease(training, 50),
    "EASE, 200": lambda training: baselines.ease(training, 200),
    "EASE, 800": lambda training: baselines.ease(training, 800),
    "EASE, 3000": lambda training: baselines.ease(training, 3000),
    "explicit ALS, cosine": baselines.explicit_als_cosine,
}


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this job takes."""
    parser.add_argument("--report", type=Path, metavar="DIR", help="write evaluation.md and its plots there")


def main(run: Run) -> None:
    """Evaluate a configuration without publishing anything; the metrics stay in the warehouse's folder evaluation, from
    where build_neighbours.py takes them."""
    run.start_build("evaluation")
    evaluate(run, *load(run))
    run.build.save_manifest()
    folder = run.build.path / "report"
    if run.options.report:
        folder = shutil.copytree(folder, run.options.report, dirs_exist_ok=True)
    run.say(f"report: {folder / 'evaluation.md'}")


def evaluate(run: Run, ratings: DataFrame, movies: DataFrame, words: DataFrame) -> DataFrame:
    """Return the metrics table, saved: what is served beside the yardsticks, for strangers and for histories."""
    if run.done_before("evaluate"):
        return run.read("metrics")
    with run.stage("evaluate") as stage:
        parts = [
            measured_split(run, movies, words, split, number)
            for number, split in enumerate(splits(run, ratings, "test"))
        ]
        rows = metrics.rows_of(parts, seed=run.config.evaluation.seed)
        table = run.save("metrics", run.spark.createDataFrame(rows, schemas.spark_schema("metrics")), files=1)
        run.build.record("metrics", report.headlines(rows))
        data = Path(run.config.data.dir).name
        report.write_report(run.build.path / "report", rows, data=data, command=command())
        stage.note = report.summary(rows)
    run.finish("evaluate")
    run.say(report.console_table(rows))
    return table


def command() -> str:
    """Return the job that runs and its options, as a reader would type it; without those that are Spark's."""
    return shlex.join(["./spark-submit.sh", f"jobs/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def splits(run: Run, ratings: DataFrame, part: str) -> list[protocol.Split]:
    """Return the splits of the configured protocols that can be measured, asking users of the part: 'test' or
    'validation'."""
    knobs = run.config.evaluation
    shared = {"part": part, "like_rating": knobs.like_rating, "max_users": knobs.max_users, "seed": knobs.seed}
    found: list[protocol.Split] = []
    if knobs.protocol in ("strangers", "all"):
        of_folds = {"folds": knobs.folds, "draws": knobs.draws, "min_targets": knobs.min_targets}
        found += protocol.strangers(ratings, **shared, **of_folds)
    if knobs.protocol in ("histories", "all"):
        if knobs.test and part == "test":
            found.append(protocol.given_histories(ratings, load_tests(run), like_rating=knobs.like_rating))
        else:
            found.append(protocol.histories(ratings, **shared))
    asked = [split for split in found if any(len(requests.users) for requests in split.requests.values())]
    # Of very few users a fold may hold them all: nothing is left to learn from.
    return [split for split in asked if not interactions(run.config, split.training).isEmpty()]


def measured_split(
    run: Run, movies: DataFrame, words: DataFrame, split: protocol.Split, number: int
) -> metrics.Measured:
    """Return the measures of one split: what is served, and beside it yardsticks and, where wanted, variants."""
    config = run.config
    training = split.training.persist()
    movies = with_support(movies, training).persist()
    learned, catalogue = Learned(training, movies, words, run.cores), as_catalogue(movies)
    measured = metrics.Measured(catalogue)
    popularity = popular(config, training, movies).toArrow()

    def add(model: str, answers: Answers) -> None:
        for asked, lists_ in answers.items():
            measured.add(model, asked, lists_, split.requests[asked], protocol.lengths(asked))

    served = served_lists(config, learned, popularity, split.requests)
    add("served", served)
    if training.count() <= config.evaluation.max_compared_ratings:
        if number == 0 and config.evaluation.variants:
            reseeded = changed(config, {"als.seed": config.als.seed + 1})
            for asked, others in served_lists(reseeded, learned, popularity, main_requests(split)).items():
                k = protocol.lengths(asked)[0]
                shares = metrics.overlap(served[asked], others, k)
                measured.add_values("served", asked, "stability", k, split.requests[asked], shares)
        for model, answers in compared(run, learned, catalogue, popularity, split):
            add(model, answers)
    learned.forget()
    training.unpersist()
    movies.unpersist()
    return measured


def compared(
    run: Run, learned: Learned, catalogue: metrics.Catalogue, popularity: pa.Table, split: protocol.Split
) -> Iterator[tuple[str, Answers]]:
    """Yield what else is measured in a split, and its answers: variants of the served lists, and the yardsticks."""
    config, requests = run.config, main_requests(split)
    if config.evaluation.variants:
        cosine = changed(config, {"neighbours.similarity": "cosine", "popularity.weight": 0.0})
        yield "these ALS factors, cosine", served_lists(cosine, learned, popularity, requests)
        strangers = {asked: part for asked, part in split.requests.items() if asked[0] != "histories"}
        if config.neighbours.similarity == "spectral" and config.spectral.content and strangers:
            collaborative = changed(config, {"spectral.content": 0.0})
            yield report.WITHOUT_CONTENT, served_lists(collaborative, learned, popularity, strangers)
    data = as_matrices(config, learned.ratings, catalogue)
    for name, yardstick in YARDSTICKS.items():
        score = yardstick(data)
        if score is None:
            run.say(f"{name} left out: it would invert a matrix of more than {baselines.EASE_LIMIT:,} rows")
        else:
            yield name, yardstick_lists(score, data, requests)


def main_requests(split: protocol.Split) -> dict[protocol.Asked, protocol.Requests]:
    """Return a split's requests but for those by the support of the favourite."""
    return {asked: requests for asked, requests in split.requests.items() if "," not in asked[0]}


def with_support(movies: DataFrame, training: DataFrame) -> DataFrame:
    """Return the movies table with support counted in the training part alone."""
    counted = training.groupBy("movie_id").agg(F.count("*").cast("int").alias("n_training"))
    joined = movies.join(counted, "movie_id", how="left")
    return joined.withColumn("n_ratings", F.coalesce("n_training", F.lit(0))).select(schemas.names("movies"))


def as_catalogue(movies: DataFrame) -> metrics.Catalogue:
    """Return what the measures need to know of the movies."""
    table = movies.select("movie_id", "n_ratings", "genres").orderBy("movie_id").toArrow()
    ids, support = (table.column(name).to_numpy() for name in ("movie_id", "n_ratings"))
    return metrics.Catalogue(ids, support, table.column("genres").to_pylist())


def changed(config: SimpleNamespace, settings: dict[str, object]) -> SimpleNamespace:
    """Return the configuration with some settings, 'section.key': value, replaced."""
    other = copy.deepcopy(config)
    for key, value in settings.items():
        section, name = key.split(".")
        setattr(getattr(other, section), name, value)
    return other


def served_lists(
    config: SimpleNamespace, learned: Learned, popularity: pa.Table, requests: dict[protocol.Asked, protocol.Requests]
) -> Answers:
    """Return what the page would answer to the requests: lists from what was learned, and the same SQL."""
    asked = {movie for part in requests.values() for ids in part.favourites for movie in ids.tolist()}
    session = learned.movies.sparkSession
    only = session.createDataFrame(pa.table({"movie_id": pa.array(sorted(asked), pa.int32())}), "movie_id int")
    neighbours = lists(config, learned, only)
    tables = {"movies": learned.movies.toArrow(), "neighbours": neighbours.toArrow(), "popularity": popularity}
    connection = ranking.in_memory(tables, popularity_weight=config.popularity.weight)
    return {
        key: ranking.ranked(connection, part.favourites, protocol.lengths(key)[-1], part.seen)
        for key, part in requests.items()
    }


def yardstick_lists(
    score: baselines.Score, data: baselines.Training, requests: dict[protocol.Asked, protocol.Requests]
) -> Answers:
    """Return what a yardstick answers to the requests."""
    return {
        key: baselines.ranked(score, data, part.favourites, part.seen, protocol.lengths(key)[-1])
        for key, part in requests.items()
    }


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
    start(main, __doc__, options)
