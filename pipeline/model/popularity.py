"""The cold-start fallback: what most people like, per genre and overall."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.config import Settings


def popularity_table(
    ratings: DataFrame, movies: DataFrame, *, min_rating: float, titles_per_genre: int, min_support: int
) -> DataFrame:
    """Return the popularity table: the most liked movies of each genre and, as genre '*', of the catalogue.

    One row per genre, rank; at most titles_per_genre per genre, ties by movie_id. score: share of the users who gave
    min_rating stars or more. Movies with fewer than min_support ratings or without a like do not appear.
    """
    liked = ratings.where(F.col("rating") >= min_rating).groupBy("movie_id").agg(F.count("*").alias("n_likes"))
    liked = movies.where(F.col("n_ratings") >= min_support).join(liked, "movie_id", how="inner")
    users = ratings.agg(F.count_distinct("user_id").alias("n_users"))
    scored = liked.crossJoin(F.broadcast(users)).withColumn("score", F.col("n_likes") / F.col("n_users"))
    genre = F.explode(F.concat(F.array(F.lit("*")), "genres"))
    ranked = scored.select(genre.alias("genre"), "movie_id", F.col("score").cast("float").alias("score"))
    by_score = Window.partitionBy("genre").orderBy(F.desc("score"), "movie_id")
    best = ranked.withColumn("rank", F.row_number().over(by_score)).where(F.col("rank") <= titles_per_genre)
    # Not before: a catalogue has more titles than a smallint can count.
    return best.withColumn("rank", F.col("rank").cast("smallint")).select(schemas.names("popularity"))


def popular(config: Settings, ratings: DataFrame, movies: DataFrame) -> DataFrame:
    """Return the popularity table of these ratings."""
    return popularity_table(
        ratings,
        movies,
        min_rating=config.likes.min_rating,
        titles_per_genre=config.popularity.titles_per_genre,
        min_support=config.neighbours.min_support,
    )
