"""The map of the catalogue: the best-known titles in the plane, near to each other where their lists are alike."""

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from pipeline.model.vectors import unit_rows

FEWEST = 10  # titles that make a map
COLUMNS = 50  # directions of the lists that t-SNE sees
SEED = 42
PERPLEXITY = 30  # about so many titles are kept near to each
ROUNDS = 350
ANGLE = 0.8  # how coarsely t-SNE sees what is far away: as good a map as with 0.5, in three quarters of the time


def catalogue_map(neighbours: DataFrame, movies: DataFrame, *, titles: int) -> pa.Table:
    """Return the catalogue_map table: a place for each of the titles with the most ratings.

    neighbours, movies: the tables. One row per movie_id, at most titles, rising; movies without ratings or without a
    list have none, and there is no row at all where fewer than FEWEST are left or where all lists are the same. Runs
    one Spark job; the driver holds the lists of these titles, 12 bytes per neighbour, however large the catalogue is.
    The same lists make the same map, on any number of cores.
    """
    best_known = movies.where("n_ratings > 0").orderBy(F.desc("n_ratings"), "movie_id").limit(titles)
    lists = neighbours.join(F.broadcast(best_known.select("movie_id")), "movie_id", how="left_semi")
    lists = lists.select("movie_id", "neighbour_id", "similarity").orderBy("movie_id", "rank").toArrow()
    ids, vectors = list_vectors(*(column.to_numpy() for column in lists.columns))
    points = places(vectors)
    ids = ids[: len(points)]
    columns = [pa.array(ids, pa.int32()), *(pa.array(axis, pa.float32()) for axis in points.T)]
    return pa.table(columns, names=["movie_id", "x", "y"])


def list_vectors(
    movie_ids: np.ndarray, neighbour_ids: np.ndarray, similarities: np.ndarray
) -> tuple[np.ndarray, sp.csr_matrix]:
    """Return the movies, rising, and the list of each as a sparse row of length 1, float64 [movies, all on the lists].

    A neighbour counts with its similarity in units of the first one's, a movie itself with 1: so those are alike that
    are on each other's list, and those with the same movies on their lists. Similarities below 0 count nothing.
    """
    ids, rows = np.unique(movie_ids, return_inverse=True)
    best = np.zeros(len(ids))
    np.maximum.at(best, rows, similarities)
    values = np.maximum(similarities, 0) / np.where(best > 0, best, 1)[rows]
    on_lists, columns = np.unique(np.concatenate([neighbour_ids, ids]), return_inverse=True)
    values, rows = np.concatenate([values, np.ones(len(ids))]), np.concatenate([rows, np.arange(len(ids))])
    matrix = sp.csr_matrix((values, (rows, columns)), (len(ids), len(on_lists)))
    return ids, sp.diags_array(1 / sp.linalg.norm(matrix, axis=1)) @ matrix


def places(vectors: sp.csr_matrix) -> np.ndarray:
    """Return where t-SNE (van der Maaten and Hinton 2008) puts the rows, float64 [rows, 2] in -1 to 1 around 0.

    Returns no places, [0, 2], for fewer than FEWEST rows and for rows that are all the same.
    """
    from sklearn.decomposition import TruncatedSVD  # here, because it takes a second that other jobs need not wait
    from sklearn.manifold import TSNE

    n = vectors.shape[0]
    if n < FEWEST:
        return np.empty((0, 2))
    # One thread: sums to the last bit, whatever the number of cores. Where all rows are the same, 0 / 0 is passed over.
    with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
        # At least as many columns on the lists as titles: every title is one of them.
        reduced = TruncatedSVD(min(COLUMNS, n - 1), random_state=SEED).fit_transform(vectors)
        reduced = unit_rows(reduced)
        if np.ptp(reduced, axis=0).max() < 1e-6:  # t-SNE would crash
            return np.empty((0, 2))
        perplexity = min(PERPLEXITY, (n - 1) / 3)  # t-SNE looks at three times as many neighbours
        tsne = TSNE(perplexity=perplexity, max_iter=ROUNDS, angle=ANGLE, init="pca", random_state=SEED)
        points = tsne.fit_transform(reduced)
    points = points - points.mean(axis=0)
    return points / np.abs(points).max()
