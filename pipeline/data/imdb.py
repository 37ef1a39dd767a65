"""IMDb's public files to a small table of the titles that the links name: checked, and refused with reasons."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.data.reader import PLACE, Rows

MAX_MINUTES = 100_000  # IMDb's longest film takes 51,420


def checked_titles(titles: Rows, linked: DataFrame) -> DataFrame:
    """Check title.basics for the linked titles (imdb_id); a row per row of theirs, and per row of the wrong form.

    imdb_id string, title_type string, runtime_minutes int, imdb_genres array<string>, reason string (null: accepted),
    then the row's place. \\N means that IMDb does not know. Refused: wrong number of fields, a runtime that is no whole
    number up to MAX_MINUTES, a title that stands there a second time. A runtime of 0 means nothing.
    """
    minutes, nothing = F.expr("try_cast(runtime_minutes as int)"), F.array().cast("array<string>")
    sound = _known("runtime_minutes").isNull() | F.coalesce(minutes.between(0, MAX_MINUTES), F.lit(False))
    parsed = _linked(titles, linked).select(
        "imdb_id",
        _known("title_type").alias("title_type"),
        F.nullif(minutes, F.lit(0)).alias("runtime_minutes"),
        F.coalesce(F.split(_known("genres"), ","), nothing).alias("imdb_genres"),
        sound.alias("sound"),
        "malformed",
        *PLACE,
    )
    reason = _misplaced().when(~F.col("sound"), "runtime is not a number of minutes")
    return parsed.select("imdb_id", "title_type", "runtime_minutes", "imdb_genres", reason.alias("reason"), *PLACE)


def checked_ratings(ratings: Rows, linked: DataFrame) -> DataFrame:
    """Check title.ratings for the linked titles (imdb_id), as checked_titles does.

    imdb_id string, imdb_rating float, imdb_votes int, reason string (null: accepted), then the row's place. Refused
    besides: a rating outside 1 to 10, votes that are no whole number from 1 on.
    """
    parsed = _linked(ratings, linked).select(
        "imdb_id",
        F.expr("try_cast(average_rating as float)").alias("imdb_rating"),
        F.expr("try_cast(num_votes as int)").alias("imdb_votes"),
        "malformed",
        *PLACE,
    )
    reason = (
        _misplaced()
        .when(~F.coalesce(F.col("imdb_rating").between(1, 10), F.lit(False)), "rating is not between 1 and 10")
        .when(~F.coalesce(F.col("imdb_votes") > 0, F.lit(False)), "votes are not a whole number from 1 on")
    )
    return parsed.select("imdb_id", "imdb_rating", "imdb_votes", reason.alias("reason"), *PLACE)


def imdb_table(titles: DataFrame, ratings: DataFrame) -> DataFrame:
    """Return the imdb table, see schemas.IMDB: a row per accepted title, with the rating of those that have one."""
    rated = ratings.where("reason is null").select("imdb_id", "imdb_rating", "imdb_votes")
    table = titles.where("reason is null").join(rated, "imdb_id", how="left")
    return table.select([column.name for column in schemas.IMDB])


def _linked(rows: Rows, linked: DataFrame) -> DataFrame:
    """Return the rows of the linked titles, and those of the wrong form, whose title nobody knows."""
    known = F.broadcast(linked.select("imdb_id", F.lit(True).alias("known")).distinct())
    found = rows.frame.join(known, "imdb_id", how="left")
    return found.where(F.col("known") | F.col("malformed"))


def _known(column: str) -> Column:
    """Return the column, null where IMDb writes that it does not know."""
    return F.nullif(F.nullif(F.trim(column), F.lit("\\N")), F.lit(""))


def _misplaced() -> Column:
    """Return the reason to refuse a row whose form or title is wrong; go on with .when(...)."""
    first = F.row_number().over(Window.partitionBy("imdb_id").orderBy("malformed", "file", "position")) == 1
    return F.when(F.col("malformed"), "wrong number of fields").when(~first, "title stands here a second time")
