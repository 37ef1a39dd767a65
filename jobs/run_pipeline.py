"""The main job: ratings to item factors to top-K neighbour lists to a published release, in one Spark application."""

import argparse

from jobs.build_neighbours import build_neighbours, draw_map
from jobs.evaluate import evaluate
from jobs.train_als import load, train
from pipeline.batch.run import Run, start


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this job takes."""
    parser.add_argument("--fresh", action="store_true", help="start over, whatever a run that died has finished")


def main(run: Run) -> None:
    """Build a release from the ratings, make it live, and show ten recommendations from it."""
    run.start_build() if run.options.fresh else run.resume_build()
    ratings, movies, words = load(run)
    item_factors = train(run, ratings, movies)
    neighbours = build_neighbours(run, ratings, movies, words, item_factors)
    draw_map(run, movies, neighbours)
    if run.config.evaluation.enabled:
        evaluate(run, ratings, movies, words)
    release = run.publish()
    run.show_example(release)


if __name__ == "__main__":
    start(main, __doc__, options)
