"""IMDb's public files to a small table of the titles that the links name: checked, and refused with reasons."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.config import PipelineError
from pipeline.data import checks, reader
from pipeline.data.reader import PLACE, Rows
from pipeline.files import replacing

MAX_MINUTES = 100_000  # IMDb's longest film takes 51,420


def checked_titles(titles: Rows, linked: DataFrame) -> DataFrame:
    """Check title.basics for the linked titles (imdb_id); a row per row of theirs, and per row of the wrong form.

    imdb_id string, title_type string, runtime_minutes int, imdb_genres array<string>, reason string (null: accepted),
    then the row's place. \\N means that IMDb does not know. Refused: wrong number of fields, a runtime that is no whole
    number up to MAX_MINUTES, a title that is there a second time. A runtime of 0 means nothing.
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


def local_place(directory: str, given: str) -> Path:
    """Return the file that the imdb table is written to; see reader.imdb_place. Raises PipelineError for a URI."""
    uri = reader.imdb_place(directory, given).removeprefix("file://")
    if "://" in uri:
        raise PipelineError(f"{uri}: the table is written to a local file; give --set data.imdb=FILE.parquet")
    return Path(uri)


def linked_titles(spark: SparkSession, folder: str) -> DataFrame:
    """Return the imdb_ids that a data set's links.csv names, persisted. Raises PipelineError if there are none."""
    links = reader.read_links(spark, folder)
    if links is None:
        raise PipelineError(f"{folder}: no links.csv here to say which titles are meant; give --set data.dir=DIR")
    linked = checks.links_table(links).where("imdb_id is not null").select("imdb_id").distinct().persist()
    if linked.isEmpty():
        raise PipelineError(f"{folder}: links.csv names no title of IMDb")
    return linked


@contextlib.contextmanager
def whole_files(folder: str) -> Iterator[None]:
    """Turn what Spark says of a packed file that is damaged, or whose download was cut off, into one line."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if not re.search("gzip|Unexpected end of input|EOFException|zlib", str(error)):
            raise
        raise PipelineError(f"{folder}: one of IMDb's files is damaged, or not whole; download both again") from error


def require_sound(titles: DataFrame, ratings: DataFrame, max_rejected_share: float, folder: str) -> int:
    """Return how many rows were refused. Raises PipelineError when no title is left, and when more than the given share
    was refused."""
    files = {"title.basics": titles, "title.ratings": ratings}
    counts = {name: dict(checked.groupBy("reason").count().collect()) for name, checked in files.items()}
    n_titles = counts["title.basics"].get(None, 0)
    reasons = [(n, f"{n:,} x {why} in {name}") for name, rows in counts.items() for why, n in rows.items() if why]
    refused, all_rows = sum(n for n, _ in reasons), sum(sum(rows.values()) for rows in counts.values())
    if refused > max_rejected_share * all_rows:
        worst = "; ".join(text for _, text in sorted(reasons, reverse=True)[:3])
        raise PipelineError(
            f"{folder}: {refused:,} of {all_rows:,} rows are unfit ({worst}), more than data.max_rejected_share="
            f"{max_rejected_share:g} allows; download the files again, or allow more with "
            "--set data.max_rejected_share=SHARE"
        )
    if not n_titles:
        raise PipelineError(f"{folder}: title.basics has none of the titles that links.csv names; download it again")
    return refused


def replace(place: Path, table: pa.Table) -> None:
    """Write a table so that a reader sees the old one or the new. Raises PipelineError when it cannot be written."""
    try:
        with replacing(place) as new:
            pq.write_table(table, new, compression="zstd")
    except OSError as error:
        raise PipelineError(
            f"{place}: cannot be written ({error.strerror}); give --set data.imdb=FILE.parquet"
        ) from error


def _linked(rows: Rows, linked: DataFrame) -> DataFrame:
    """Return the rows of the linked titles, and those of the wrong form, whose title nobody knows."""
    known = F.broadcast(linked.select("imdb_id", F.lit(True).alias("known")).distinct())
    found = rows.frame.join(known, "imdb_id", how="left")
    return found.where(F.col("known") | F.col("malformed"))


def _known(column: str) -> Column:
    """Return the column, null where IMDb writes that it does not know."""
    return F.nullif(F.nullif(F.trim(column), F.lit("\\N")), F.lit(""))


def _misplaced() -> Column:
    """Return the reason to refuse a row whose form or title is wrong; continue it with .when(...)."""
    first = F.row_number().over(Window.partitionBy("imdb_id").orderBy("malformed", "file", "position")) == 1
    return F.when(F.col("malformed"), "wrong number of fields").when(~first, "title is here a second time")
