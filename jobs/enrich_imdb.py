"""IMDb's files to the table imdb.parquet: runtime, genres, kind, rating and votes of the titles that the links name."""

import argparse
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from pipeline.batch.run import Run, start
from pipeline.config import PipelineError
from pipeline.data import checks, imdb, reader
from pipeline.files import replacing


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this job takes."""
    parser.add_argument("--imdb", metavar="DIR", help="folder with IMDb's two files; default: data.dir")


def main(run: Run) -> None:
    """Write the table that every later run joins to its movies, and beside it what was rejected."""
    data = run.config.data
    uri = reader.imdb_place(data.dir, data.imdb).removeprefix("file://")
    if "://" in uri:
        raise PipelineError(f"{uri}: the table is written to a local file; give --set data.imdb=FILE.parquet")
    place = Path(uri)
    folder = run.options.imdb or data.dir
    with run.stage("imdb") as stage, whole_files(folder):
        read_titles, read_ratings = reader.read_imdb_files(run.spark, folder)
        linked = linked_titles(run)
        titles = imdb.checked_titles(read_titles, linked).persist()
        ratings = imdb.checked_ratings(read_ratings, linked).persist()
        refused = require_sound(titles, ratings, data.max_rejected_share, folder)
        rejected = checks.rejected_table((titles, read_titles), (ratings, read_ratings)).toArrow()
        table = imdb.imdb_table(titles, ratings).orderBy("imdb_id").toArrow()
        replace(place.with_suffix(".rejected.parquet"), rejected)
        replace(place, table)
        n_rated = len(table) - table.column("imdb_votes").null_count
        stage.note = (
            f"{len(table):,} titles of {linked.count():,} linked, {n_rated:,} with votes, {refused:,} rows rejected"
        )
    run.say(f"{place} is written; the next ./spark-submit.sh with this data takes it up")


def linked_titles(run: Run) -> DataFrame:
    """Return the imdb_ids that links.csv names, persisted. Raises PipelineError when there are none."""
    data = run.config.data
    links = reader.read_links(run.spark, data.dir)
    if links is None:
        raise PipelineError(f"{data.dir}: no links.csv here to say which titles are meant; give --set data.dir=DIR")
    linked = checks.links_table(links).where("imdb_id is not null").select("imdb_id").distinct().persist()
    if linked.isEmpty():
        raise PipelineError(f"{data.dir}: links.csv names no title of IMDb")
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


if __name__ == "__main__":
    start(main, __doc__, options, warehouse=False)
