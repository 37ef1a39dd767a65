"""Read all input files of a configuration: the data set, further ratings, IMDb's table and given tests."""

from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config import PipelineError, Settings
from pipeline.data import checks, reader
from pipeline.settings import DataSettings


class Inputs(NamedTuple):
    """The tables that were read, unchecked. more: the ratings of data.more_ratings; empty: places of it without any."""

    ratings: reader.Rows
    movies: reader.Rows
    links: reader.Rows | None
    tags: reader.Rows | None
    imdb: reader.Rows | None
    more: reader.Rows | None
    empty: list[str]


def read_inputs(spark: SparkSession, data: DataSettings) -> Inputs:
    """Return the tables of data.dir, data.more_ratings and data.imdb. Raises PipelineError if one cannot be read."""
    mapping = reader.mapping(data)
    more = {place: reader.read_more_ratings(spark, place, mapping) for place in data.more_ratings}
    ratings = reader.read_ratings(spark, data.dir, mapping)
    return Inputs(
        ratings=reader.together(ratings, *more.values()) or ratings,
        movies=reader.read_movies(spark, data.dir, mapping),
        links=reader.read_links(spark, data.dir, mapping),
        tags=reader.read_tags(spark, data.dir, mapping),
        imdb=reader.read_imdb(spark, data.dir, data.imdb),
        more=reader.together(*more.values()),
        empty=[place for place, rows in more.items() if rows is None],
    )


def read_tests(spark: SparkSession, config: Settings) -> DataFrame:
    """Return the interactions of the file evaluation.test, persisted: user_id, movie_id, rating.

    Raises PipelineError if the file has no rows, or rows without a user and a movie.
    """
    path = config.evaluation.test
    tests = checks.interactions_table(reader.read_ratings(spark, path, reader.mapping(config.data))).persist()
    unknown = F.col("user_id").isNull() | F.col("movie_id").isNull()
    lowest, highest, refused = tests.agg(F.min("rating"), F.max("rating"), F.count_if(unknown)).head()
    if refused or lowest is None:
        raise PipelineError(f"{path}: {refused:,} rows have no user and movie as 32-bit integers; correct the file")
    alike = lowest == highest or config.data.kind == "events"
    return checks.interactions_as_likes(tests, like_rating(config)) if alike else tests


def like_rating(config: Settings) -> float:
    """Return the stars given to an interaction without stars, so that training and evaluation count a like."""
    return max(config.likes.min_rating, config.evaluation.like_rating)
