"""The main job: ratings to item factors to top-K neighbour lists to a published release, in one Spark application."""

import argparse

from pipeline.batch.application import start
from pipeline.batch.example import show_example
from pipeline.batch.run import Run
from pipeline.batch.stages import build_neighbours, draw_map, evaluate, ingest, train


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job alone."""
    parser.add_argument("--fresh", action="store_true", help="start over, whatever a run that died has finished")


def main(run: Run) -> None:
    """Build a release from the ratings, make it live, and show ten recommendations from it."""
    if run.options.fresh:
        run.start_build()
    else:
        run.resume_build()
    ratings, movies, words = ingest(run)
    item_factors = train(run, ratings, movies)
    neighbours = build_neighbours(run, ratings, movies, words, item_factors)
    draw_map(run, movies, neighbours)
    if run.config.evaluation.enabled:
        evaluate(run, ratings, movies, words)
    release = run.publish()
    show_example(run, release)


if __name__ == "__main__":
    start(main, __doc__, options)
