"""IMDb's files to the table imdb.parquet: runtime, genres, kind, rating and votes of the titles that the links name."""

import argparse

from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.data import checks, imdb, reader


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job alone."""
    parser.add_argument("--imdb", metavar="DIR", help="folder with IMDb's two files; default: data.dir")


def main(run: Run) -> None:
    """Write the table that every later run joins to its movies, and beside it the rejected rows."""
    data = run.config.data
    place = imdb.local_place(data.dir, data.imdb)
    folder = run.options.imdb or data.dir
    with run.stage("imdb") as stage, imdb.whole_files(folder):
        read_titles, read_ratings = reader.read_imdb_files(run.spark, folder)
        linked = imdb.linked_titles(run.spark, data.dir)
        titles = imdb.checked_titles(read_titles, linked).persist()
        ratings = imdb.checked_ratings(read_ratings, linked).persist()
        refused = imdb.require_sound(titles, ratings, data.max_rejected_share, folder)
        rejected = checks.rejected_table((titles, read_titles), (ratings, read_ratings)).toArrow()
        table = imdb.imdb_table(titles, ratings).orderBy("imdb_id").toArrow()
        imdb.replace(place.with_suffix(".rejected.parquet"), rejected)
        imdb.replace(place, table)
        n_rated = len(table) - table.column("imdb_votes").null_count
        stage.note = (
            f"{len(table):,} titles of {linked.count():,} linked, {n_rated:,} with votes, {refused:,} rows rejected"
        )
    run.say(f"{place} is written; the next ./spark-submit.sh with this data takes it up")


if __name__ == "__main__":
    start(main, __doc__, options, warehouse=False)
