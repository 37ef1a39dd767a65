"""What a configuration is worth: train without the likes that are asked for, ask as visitors would, and compare."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.config import Settings, changed
from pipeline.data.inputs import read_tests
from pipeline.evaluation import baselines, metrics, protocol, ranking, report
from pipeline.model.als import interactions
from pipeline.model.lists import Learned, lists
from pipeline.model.popularity import popular

SIMILAR = "served, similar"  # the titles most alike, in place of those that go with the title
Answers = dict[protocol.Asked, list[np.ndarray]]  # lists per kind of request, movie ids, best first
BASELINES = {
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


class Data(NamedTuple):
    """What every split of an experiment shares: the movies and words tables, and the cores that Spark has."""

    movies: DataFrame
    words: DataFrame
    cores: int


def splits(config: Settings, ratings: DataFrame, part: str) -> list[protocol.Split]:
    """Return the splits of the configured protocols that can be measured, asking users of the part: 'test' or
    'validation'."""
    knobs = config.evaluation
    found: list[protocol.Split] = []
    if knobs.protocol in ("strangers", "all"):
        found += protocol.strangers(
            ratings,
            part=part,
            like_rating=knobs.like_rating,
            max_users=knobs.max_users,
            seed=knobs.seed,
            folds=knobs.folds,
            draws=knobs.draws,
            min_targets=knobs.min_targets,
        )
    if knobs.protocol in ("histories", "all"):
        if knobs.test and part == "test":
            tests = read_tests(ratings.sparkSession, config)
            found.append(protocol.given_histories(ratings, tests, like_rating=knobs.like_rating))
        else:
            found.append(
                protocol.histories(
                    ratings, part=part, like_rating=knobs.like_rating, max_users=knobs.max_users, seed=knobs.seed
                )
            )
    asked = [split for split in found if any(len(requests.users) for requests in split.requests.values())]
    # Of very few users a fold may hold them all: nothing is left to learn from.
    return [split for split in asked if not interactions(config, split.training).isEmpty()]


def measured_split(
    config: Settings,
    data: Data,
    split: protocol.Split,
    *,
    variants: bool,
    likeness: bool,
    say: Callable[[str], None],
) -> metrics.Measured:
    """Return the measures of one split: what is served, and beside it baselines and, if wanted, variants.

    likeness: also ask for the titles of families and for pairs that people know, see protocol.of_franchises() and
    protocol.of_examples().
    """
    training = split.training.persist()
    movies = with_support(data.movies, training).persist()
    if likeness:
        more = {**protocol.of_franchises(movies), **protocol.of_examples(movies)}
        split = split._replace(requests={**split.requests, **more})
    learned, catalogue = Learned(training, movies, data.words, data.cores), as_catalogue(movies)
    measured = metrics.Measured(catalogue)
    popularity = popular(config, training, movies).toArrow()

    def add(model: str, answers: Answers) -> None:
        for asked, lists_ in answers.items():
            if asked == protocol.EXAMPLES:
                measured.examples[model] = dict(zip(split.requests[asked].users.tolist(), lists_, strict=True))
            else:
                measured.add(model, asked, lists_, split.requests[asked], protocol.lengths(asked))

    served = served_lists(config, learned, popularity, split.requests)
    add("served", served)
    if likeness:
        add(SIMILAR, similar_lists(config, learned, split.requests))
    if training.count() <= config.evaluation.max_compared_ratings:
        if variants:
            reseeded = changed(config, {"als.seed": config.als.seed + 1})
            asked_again = {asked: part for asked, part in main_requests(split).items() if asked != protocol.EXAMPLES}
            for asked, others in served_lists(reseeded, learned, popularity, asked_again).items():
                k = protocol.lengths(asked)[0]
                shares = metrics.overlap(served[asked], others, k)
                measured.add_values("served", asked, "stability", k, split.requests[asked], shares)
        for model, answers in compared(config, learned, catalogue, popularity, split, say):
            add(model, answers)
    learned.forget()
    training.unpersist()
    movies.unpersist()
    return measured


def compared(
    config: Settings,
    learned: Learned,
    catalogue: metrics.Catalogue,
    popularity: pa.Table,
    split: protocol.Split,
    say: Callable[[str], None],
) -> Iterator[tuple[str, Answers]]:
    """Yield what else is measured in a split, and its answers: variants of the served lists, and the baselines."""
    requests = main_requests(split)
    if config.evaluation.variants:
        cosine = changed(config, {"neighbours.similarity": "cosine", "popularity.weight": 0.0})
        yield "these ALS factors, cosine", served_lists(cosine, learned, popularity, requests)
        strangers = {asked: part for asked, part in split.requests.items() if asked[0].startswith("strangers")}
        if config.neighbours.similarity == "spectral" and config.spectral.content and strangers:
            collaborative = changed(config, {"spectral.content": 0.0})
            yield report.WITHOUT_CONTENT, served_lists(collaborative, learned, popularity, strangers)
    data = as_matrices(config, learned.ratings, catalogue)
    for name, baseline in BASELINES.items():
        score = baseline(data)
        if score is None:
            say(f"{name} left out: it would invert a matrix of more than {baselines.EASE_LIMIT:,} rows")
        else:
            yield name, baseline_lists(score, data, requests)


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


def served_lists(
    config: Settings, learned: Learned, popularity: pa.Table, requests: dict[protocol.Asked, protocol.Requests]
) -> Answers:
    """Return what the page would answer to the requests: lists from what was learned, and the same SQL."""
    asked = {movie for part in requests.values() for ids in part.favourites for movie in ids.tolist()}
    neighbours = lists(config, learned, _ids(learned.movies.sparkSession, asked))
    tables = {"movies": learned.movies.toArrow(), "neighbours": neighbours.toArrow(), "popularity": popularity}
    connection = ranking.in_memory(tables, popularity_weight=config.popularity.weight)
    return {
        key: ranking.ranked(connection, part.favourites, protocol.lengths(key)[-1], part.seen)
        for key, part in requests.items()
    }


def similar_lists(config: Settings, learned: Learned, requests: dict[protocol.Asked, protocol.Requests]) -> Answers:
    """Return the titles most like each of the franchises' titles, the first of its own list, as similar.sql does."""
    if not (asked := requests.get(protocol.FRANCHISES)):
        return {}
    k = protocol.lengths(protocol.FRANCHISES)[-1]
    only = _ids(learned.movies.sparkSession, asked.users)
    table = lists(config, learned, only).where(F.col("rank") <= k).orderBy("movie_id", "rank").toArrow()
    movies, neighbours = (table.column(name).to_numpy() for name in ("movie_id", "neighbour_id"))
    return {protocol.FRANCHISES: [neighbours[movies == movie] for movie in asked.users]}


def _ids(session: SparkSession, movies: Iterable[int]) -> DataFrame:
    return session.createDataFrame(pa.table({"movie_id": pa.array(sorted(movies), pa.int32())}), "movie_id int")


def baseline_lists(
    score: baselines.Score, data: baselines.Training, requests: dict[protocol.Asked, protocol.Requests]
) -> Answers:
    """Return what a baseline answers to the requests."""
    return {
        key: baselines.ranked(score, data, part.favourites, part.seen, protocol.lengths(key)[-1])
        for key, part in requests.items()
    }


def as_matrices(config: Settings, training: DataFrame, catalogue: metrics.Catalogue) -> baselines.Training:
    """Return the training part as sparse matrices, for the baselines."""
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
