"""Ratings to item factors: reads and checks the data, trains ALS, saves movies, popularity, factors and the model."""

from types import SimpleNamespace
from typing import NamedTuple

from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.batch.run import Run, start
from pipeline.config import PipelineError
from pipeline.data import checks, reader
from pipeline.model.als import item_factors_table, likes_table, train_als
from pipeline.model.popularity import popularity_table
from pipeline.release import store


def main(run: Run) -> None:
    """Train into a new build and leave it for build_neighbours.py."""
    run.start_build()
    ratings, movies, _ = load(run)
    train(run, ratings, movies)
    run.build.save_manifest()
    run.say("trained; next: ./spark-submit.sh jobs/build_neighbours.py, with the same --conf and --set")


class Inputs(NamedTuple):
    """What was read, as it stands there; more: those of the ratings that came from data.more_ratings."""

    ratings: reader.Rows
    movies: reader.Rows
    links: reader.Rows | None
    tags: reader.Rows | None
    imdb: reader.Rows | None
    more: reader.Rows | None


def load(run: Run) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Return ratings and words, persisted, and between them the movies table, saved; save what was rejected."""
    config, data, events = run.config, run.config.data, run.config.data.kind == "events"
    with run.stage("ingest") as stage:
        inputs = read(run)
        items, users = numbers(run, inputs) if data.ids == "string" else (None, None)
        titles = {"plain_titles": data.titles == "plain", "genre_separator": data.genre_separator}
        checked_movies = checks.checked_movies(inputs.movies, items, **titles).persist()
        known = checked_movies.where("reason is null")
        bounds = {"min_rating": data.min_rating, "max_rating": data.max_rating, "events": events}
        checked_ratings = checks.checked_ratings(inputs.ratings, known, users, **bounds).persist()
        checked_tags = inputs.tags and checks.checked_tags(inputs.tags, known, users).persist()
        more, places = reader.files(inputs.more), " and ".join([data.dir, *data.more_ratings])
        tally, stars = checks.require_sound(checked_ratings, data.max_rejected_share, places, more)
        ratings = checks.accepted_ratings(checked_ratings, events=events)
        if events:
            ratings = ratings.persist()  # added up once
        imdb, of_ids = inputs.imdb and inputs.imdb.frame, {"text_ids": items is not None, "events": events}
        table = checks.movies_table(checked_movies, inputs.links, ratings, imdb, **of_ids)
        movies = run.save("movies", table, files=1)
        words = checks.words_table(movies, checked_tags).persist()  # every split of an evaluation asks again
        checked = [(checked_ratings, inputs.ratings), (checked_movies, inputs.movies)]
        checked += [(checked_tags, inputs.tags)] if inputs.tags else []
        rejected = run.save("rejected", checks.rejected_table(*checked), files=1)
        run.record_inputs([inputs.ratings, inputs.movies, inputs.links, inputs.tags, inputs.imdb], tally)
        if events:
            step = max(config.likes.min_rating - config.likes.neutral_rating, 0.0)
            ratings = checks.events_as_likes(ratings, like_rating=like_rating(config), weight=step)
            checked_ratings.unpersist()
        elif stars[0] == stars[1]:
            likes = checks.interactions_as_likes(checked_ratings, like_rating(config), more)
            ratings = checks.accepted_ratings(likes)
        of = f"{tally['accepted']:,} {data.kind} of {movies.count():,} movies"
        stage.note = f"{of}, {rejected.count():,} rows rejected"
    return ratings, movies, words


def read(run: Run) -> Inputs:
    """Read the files of data.dir, data.more_ratings and data.imdb; say where no new ratings are."""
    spark, data, mapping = run.spark, run.config.data, reader.mapping(run.config.data)
    more = {place: reader.read_more_ratings(spark, place, mapping) for place in data.more_ratings}
    for place in [place for place, rows in more.items() if rows is None]:
        run.say(f"no new ratings in {place}")
    ratings = reader.read_ratings(spark, data.dir, mapping)
    return Inputs(
        ratings=reader.together(ratings, *more.values()) or ratings,
        movies=reader.read_movies(spark, data.dir, mapping),
        links=reader.read_links(spark, data.dir, mapping),
        tags=reader.read_tags(spark, data.dir, mapping),
        imdb=reader.read_imdb(spark, data.dir, data.imdb),
        more=reader.together(*more.values()),
    )


def numbers(run: Run, inputs: Inputs) -> tuple[DataFrame, DataFrame]:
    """Return the integers that stand for ids that are text, numbered_items and numbered_users, persisted.

    An item keeps the number that it has in a published release of the same warehouse, so that links, sessions and
    comparisons of releases stay right.
    """
    folders, largest = store.numbered_before(run.warehouse)
    kept = None
    if folders:
        before = run.spark.read.schema(schemas.spark_schema("movies")).parquet(*[f"{f}/movies" for f in folders])
        before = before.select("item_id", "movie_id", F.col("_metadata.file_path").alias("file"))
        kept = before.groupBy("item_id").agg(F.max_by("movie_id", "file").alias("movie_id"))
    items = checks.numbered_items(inputs.movies, kept, largest).persist()
    run.build.manifest["largest_movie_id"] = max(largest, items.agg(F.max("movie_id")).head()[0] or 0)
    return items, checks.numbered_users(*filter(None, [inputs.ratings, inputs.tags])).persist()


def load_tests(run: Run) -> DataFrame:
    """Return the interactions of the file evaluation.test: user_id, movie_id, rating."""
    config, path = run.config, run.config.evaluation.test
    tests = checks.interactions_table(reader.read_ratings(run.spark, path, reader.mapping(config.data))).persist()
    unknown = F.col("user_id").isNull() | F.col("movie_id").isNull()
    lowest, highest, refused = tests.agg(F.min("rating"), F.max("rating"), F.count_if(unknown)).head()
    if refused or lowest is None:
        raise PipelineError(f"{path}: {refused:,} rows have no user and movie as 32-bit integers; mend the file")
    alike = lowest == highest or config.data.kind == "events"
    return checks.interactions_as_likes(tests, like_rating(config)) if alike else tests


def like_rating(config: SimpleNamespace) -> float:
    """Return the stars that stand for an interaction without stars: a like in training and in evaluation."""
    return max(config.likes.min_rating, config.evaluation.like_rating)


def train(run: Run, ratings: DataFrame, movies: DataFrame) -> DataFrame:
    """Return the item_factors table, saved; save the model and popularity."""
    config = run.config
    if run.done_before("train"):
        return run.read("item_factors")
    with run.stage("train") as stage:
        model = fit(config, ratings, run.cores, run.factors_before(movies))
        run.build.manifest["als_rank"] = model.rank
        model.write().overwrite().save(str(run.build.path / "model" / "als"))
        item_factors = run.save("item_factors", item_factors_table(model), files=run.cores)
        run.save("popularity", popular(config, ratings, movies), files=1)
        kind = "implicit" if config.als.implicitPrefs else "explicit"
        solver = "" if config.als.solver == "spark" else ", by conjugate gradients"
        solver += f" from {run.starts_from.told}" if config.als.warm_start else ""
        stage.note = f"{kind} ALS of rank {model.rank}{solver}, {item_factors.count():,} movies"
    run.finish("train")
    return item_factors


def fit(config: SimpleNamespace, ratings: DataFrame, cores: int, start: DataFrame | None = None) -> ALSModel:
    """Return ALS fitted to the interactions in the ratings; start: item factors to begin with."""
    training = interactions(config, ratings)
    if training.isEmpty():
        raise PipelineError("no rating counts as a like: lower it with --set likes.min_rating=STARS")
    return train_als(training, blocks=cores, start=start, **vars(config.als))


def interactions(config: SimpleNamespace, ratings: DataFrame) -> DataFrame:
    """Return what ALS learns from: likes as user_id, movie_id, weight or, where it is explicit, stars as rating."""
    if config.als.implicitPrefs:
        return likes_table(ratings, **vars(config.likes))
    return ratings.select("user_id", "movie_id", "rating")


def popular(config: SimpleNamespace, ratings: DataFrame, movies: DataFrame) -> DataFrame:
    """Return the popularity table of these ratings."""
    return popularity_table(
        ratings,
        movies,
        min_rating=config.likes.min_rating,
        titles_per_genre=config.popularity.titles_per_genre,
        min_support=config.neighbours.min_support,
    )


if __name__ == "__main__":
    start(main, __doc__)
