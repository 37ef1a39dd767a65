"""Item factors to top-K lists, then publish: from train_als.py's factors, or those of the live release."""

from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.batch.stages import build_neighbours, draw_map, ingest


def main(run: Run) -> None:
    """Compute the lists from factors that were trained before, and publish, with the metrics of evaluate.py."""
    run.continue_build()
    ratings, movies, words = ingest(run)
    neighbours = build_neighbours(run, ratings, movies, words, run.read("item_factors"))
    draw_map(run, movies, neighbours)
    run.take_over_evaluation()
    run.publish()


if __name__ == "__main__":
    start(main, __doc__)
