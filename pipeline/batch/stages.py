"""The stages of a run: each reads or takes tables, computes, saves, and says in one line what it made."""

import shlex
import sys
from pathlib import Path

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.batch.run import Run
from pipeline.config import PipelineError
from pipeline.data import checks, reader
from pipeline.data.inputs import Inputs, like_rating, read_inputs
from pipeline.evaluation import metrics, report
from pipeline.evaluation.experiment import Data, measured_split, splits
from pipeline.model.als import fit, item_factors_table
from pipeline.model.catalogue_map import catalogue_map
from pipeline.model.lists import Learned, write_lists
from pipeline.model.neighbours import NEIGHBOURS
from pipeline.model.popularity import popular
from pipeline.release import store


def ingest(run: Run) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Return ratings and words, persisted, and between them the movies table, saved; save what was rejected."""
    config, data, events = run.config, run.config.data, run.config.data.kind == "events"
    with run.stage("ingest") as stage:
        inputs = read_inputs(run.spark, data)
        for place in inputs.empty:
            run.say(f"no new ratings in {place}")
        items, users = numbered_ids(run, inputs) if data.ids == "string" else (None, None)
        checked_movies = checks.checked_movies(
            inputs.movies, items, plain_titles=data.titles == "plain", genre_separator=data.genre_separator
        ).persist()
        known = checked_movies.where("reason is null")
        checked_ratings = checks.checked_ratings(
            inputs.ratings, known, users, min_rating=data.min_rating, max_rating=data.max_rating, events=events
        ).persist()
        checked_tags = inputs.tags and checks.checked_tags(inputs.tags, known, users).persist()
        more, places = reader.files(inputs.more), " and ".join([data.dir, *data.more_ratings])
        tally, stars = checks.require_sound(checked_ratings, data.max_rejected_share, places, more)
        ratings = checks.accepted_ratings(checked_ratings, events=events)
        if events:
            ratings = ratings.persist()  # added up once
        imdb = inputs.imdb.frame if inputs.imdb else None
        table = checks.movies_table(
            checked_movies, inputs.links, ratings, imdb, text_ids=items is not None, events=events
        )
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


def numbered_ids(run: Run, inputs: Inputs) -> tuple[DataFrame, DataFrame]:
    """Return the integers for ids that are text, numbered_items and numbered_users, persisted.

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


def train(run: Run, ratings: DataFrame, movies: DataFrame) -> DataFrame:
    """Return the item_factors table, saved; save the model and popularity."""
    config = run.config
    if run.done_before("train"):
        return run.read("item_factors")
    with run.stage("train") as stage:
        model = fit(config, ratings, run.factors_before(movies))
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


def build_neighbours(
    run: Run, ratings: DataFrame, movies: DataFrame, words: DataFrame, item_factors: DataFrame
) -> DataFrame:
    """Return the neighbours table, saved."""
    config = run.config
    if run.done_before("neighbours"):
        return run.read("neighbours")
    with run.stage("neighbours") as stage:
        learned = Learned(ratings, movies, words, run.cores, item_factors)
        neighbours = run.save_by_tasks("neighbours", NEIGHBOURS, lambda files: write_lists(config, learned, files))
        n_rows, support = run.saved["neighbours"]["rows"], config.neighbours.min_support
        if not n_rows:
            raise PipelineError(
                f"no movie has a neighbour: none has enough ratings to be recommended (neighbours.min_support="
                f"{support}); lower it with --set neighbours.min_support=N, or add ratings to {config.data.dir}"
            )
        stage.note = f"{n_rows:,} neighbours, {config.neighbours.similarity}"
        learned.forget()
    run.finish("neighbours")
    return neighbours


def draw_map(run: Run, movies: DataFrame, neighbours: DataFrame) -> None:
    """Save the catalogue_map table, unless the configuration wants none."""
    titles = run.config.map.titles
    if titles and not run.done_before("map"):
        with run.stage("map") as stage:
            table = catalogue_map(neighbours, movies, titles=titles)
            columns = schemas.spark_schema("catalogue_map")
            run.save("catalogue_map", run.spark.createDataFrame(table, columns), files=1)
            stage.note = f"{table.num_rows:,} titles"
        run.finish("map")


def evaluate(run: Run, ratings: DataFrame, movies: DataFrame, words: DataFrame) -> DataFrame:
    """Return the metrics table, saved: what is served beside the baselines, for strangers and for histories."""
    if run.done_before("evaluate"):
        return run.read("metrics")
    with run.stage("evaluate") as stage:
        data, variants = Data(movies, words, run.cores), run.config.evaluation.variants
        asked = splits(run.config, ratings, "test")
        parts = [
            measured_split(
                run.config,
                data,
                split,
                variants=variants and number == 0,
                likeness=number == len(asked) - 1,  # the histories, if there are any: they leave the most to learn from
                say=run.say,
            )
            for number, split in enumerate(asked)
        ]
        rows = metrics.rows_of(parts, seed=run.config.evaluation.seed)
        table = run.save("metrics", run.spark.createDataFrame(rows, schemas.spark_schema("metrics")), files=1)
        run.build.record("metrics", report.headlines(rows))
        name = Path(run.config.data.dir).name
        examples = [measured.examples for measured in parts if measured.examples]
        read = report.examples_table(examples[-1], titles_of(movies, examples[-1])) if examples else []
        report.write_report(run.build.path / "report", rows, data=name, command=command(), examples=read)
        stage.note = report.summary(rows)
    run.finish("evaluate")
    run.say(report.console_table(rows))
    return table


def titles_of(movies: DataFrame, examples: dict[str, dict[int, np.ndarray]]) -> dict[int, str]:
    """Return the titles of the movies in these lists, by movie_id."""
    shown = {movie for lists in examples.values() for ids in lists.values() for movie in ids.tolist()}
    rows = movies.where(F.col("movie_id").isin([*shown])).select("movie_id", "title").collect()
    return {row.movie_id: row.title for row in rows}


def command() -> str:
    """Return the job that runs and its options, as a reader would type it; without those that are Spark's."""
    return shlex.join(["./spark-submit.sh", f"jobs/{Path(sys.argv[0]).name}", *sys.argv[1:]])
