"""Item factors to top-K lists, then publish: goes on from train_als.py, or from the live release's factors."""

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
    """Save and return the neighbours table."""
    knobs = run.config.neighbours
    with run.stage("neighbours") as stage:
        vectors = vectors_table(item_factors, similarity=knobs.similarity, whitening=knobs.whitening)
        candidates = movies.where(movies.n_ratings >= knobs.min_support)
        n_movies = item_factors.count()
        neighbours = neighbours_table(
            vectors,
            candidates,
            k=knobs.k,
            query_blocks=max(run.cores, -(-n_movies // knobs.query_block)),
            item_blocks=-(-n_movies // knobs.item_block),
        )
        neighbours = run.save("neighbours", neighbours)
        stage.note = f"{neighbours.count():,} neighbours ({knobs.similarity}) for {n_movies:,} movies"
    return neighbours


if __name__ == "__main__":
    start(main, __doc__)
