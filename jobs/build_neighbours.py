"""Item factors to top-K lists, then publish: goes on from train_als.py, or from the live release's factors."""

from types import SimpleNamespace

from pyspark.sql import DataFrame

from pipeline.factors import vectors_table
from pipeline.job import Run, start
from pipeline.neighbours import neighbours_table


def main(run: Run) -> None:
    """Compute the lists from factors that were trained before, and publish."""
    run.continue_build()
    build_neighbours(run, run.read("movies"), run.read("item_factors"))
    run.publish()


def build_neighbours(run: Run, movies: DataFrame, item_factors: DataFrame) -> DataFrame:
    """Return the neighbours table, saved."""
    with run.stage("neighbours") as stage:
        n_movies = item_factors.count()
        neighbours = run.save("neighbours", lists(run.config, movies, item_factors, n_movies, run.cores))
        stage.note = f"{neighbours.count():,} neighbours ({run.config.neighbours.similarity}) for {n_movies:,} movies"
    return neighbours


def lists(config: SimpleNamespace, movies: DataFrame, item_factors: DataFrame, n_movies: int, cores: int) -> DataFrame:
    """Return the top-K list of each of the n_movies that have factors."""
    knobs = config.neighbours
    vectors = vectors_table(item_factors, similarity=knobs.similarity, whitening=knobs.whitening)
    return neighbours_table(
        vectors,
        movies.where(movies.n_ratings >= knobs.min_support),
        k=knobs.k,
        query_blocks=max(cores, -(-n_movies // knobs.query_block)),
        item_blocks=-(-n_movies // knobs.item_block),
    )


if __name__ == "__main__":
    start(main, __doc__)
