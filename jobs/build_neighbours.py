"""Item factors to top-K lists, then publish: goes on from train_als.py, or from the live release's factors."""

from types import SimpleNamespace

from pyspark.sql import DataFrame

from jobs.train_als import load
from pipeline.factors import likes_table
from pipeline.job import Run, start
from pipeline.neighbours import neighbours_table
from pipeline.vectors import cosine_vectors, spectral_vectors, whitened_vectors


def main(run: Run) -> None:
    """Compute the lists from factors that were trained before, and publish."""
    run.continue_build()
    ratings, movies = load(run)
    build_neighbours(run, ratings, movies, run.read("item_factors"))
    run.publish()


def build_neighbours(run: Run, ratings: DataFrame, movies: DataFrame, item_factors: DataFrame) -> DataFrame:
    """Return the neighbours table, saved."""
    with run.stage("neighbours") as stage:
        neighbours = run.save("neighbours", lists(run.config, ratings, movies, item_factors, run.cores))
        stage.note = f"{neighbours.count():,} neighbours, {run.config.neighbours.similarity}"
    return neighbours


def lists(
    config: SimpleNamespace,
    ratings: DataFrame,
    movies: DataFrame,
    item_factors: DataFrame,
    cores: int,
    only: DataFrame | None = None,
) -> DataFrame:
    """Return the neighbours table of these factors; only: movie_id of the movies whose lists are needed."""
    knobs = config.neighbours
    if knobs.similarity == "spectral":
        likes = likes_table(ratings, **vars(config.likes))
        vectors = spectral_vectors(item_factors, likes, movies, **vars(config.spectral))
    elif knobs.similarity == "whitened":
        vectors = whitened_vectors(item_factors, whitening=knobs.whitening)
    else:
        vectors = cosine_vectors(item_factors)
    n_movies = vectors.count()
    return neighbours_table(
        vectors,
        movies.where(movies.n_ratings >= knobs.min_support),
        only,
        k=knobs.k,
        query_blocks=max(cores, -(-n_movies // knobs.query_block)),
        item_blocks=-(-n_movies // knobs.item_block),
    )


if __name__ == "__main__":
    start(main, __doc__)
