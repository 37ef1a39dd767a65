"""Ratings to item factors: reads and checks the data, trains ALS, saves movies, popularity, factors and the model."""

from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest, train


def main(run: Run) -> None:
    """Train into a new build and leave it for build_neighbours.py."""
    run.start_build()
    ratings, movies, _ = ingest(run)
    train(run, ratings, movies)
    run.build.save_manifest()
    run.say("trained; next: ./spark-submit.sh jobs/build_neighbours.py, with the same --conf and --set")


if __name__ == "__main__":
    start(main, __doc__)
