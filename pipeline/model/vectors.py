"""Vectors of movies: from item factors, cosine and whitened, and as Arrow's columns of lists."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.schemas import VECTORS

GRAM_ROWS = 4096  # rows summed at once: fixed, so that the sum does not depend on the batches Spark sends


class Scales(NamedTuple):
    """What makes similarities and weights of a search's scores, per movie, float64 [n]; movies: movie_id [n], rising.

    similarity(i, j) = agreement(i, j) * score(i, j) / (query_lengths_i * candidate_lengths_j)
    weight(i, j) = agreement(i, j) * score(i, j) * query_weights_i * candidate_weights_j
    agreement(i, j) = 1 - share + share * genres_i'genres_j; 1 where a movie has no genres

    genres: float32 [n, columns], of length 1, or 0 without genres; None: all agree.
    """

    movies: np.ndarray
    query_lengths: np.ndarray
    candidate_lengths: np.ndarray
    query_weights: np.ndarray
    candidate_weights: np.ndarray
    genres: np.ndarray | None = None
    share: float = 0.0

    def applied(self, ids: np.ndarray, neighbour_ids: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return similarities and weights, float32 [q, k], of the scores float32 [q, k] of movies ids int32 [q] and
        their neighbours int32 [q, k]."""
        rows = np.searchsorted(self.movies, ids)
        columns = np.minimum(np.searchsorted(self.movies, neighbour_ids), len(self.movies) - 1)  # -inf: no movie
        scores = scores.astype(np.float64)
        if self.genres is not None:
            known = (self.genres != 0).max(axis=1, initial=False)
            for row, own in enumerate(rows.tolist()):  # row by row: few vectors at a time
                if known[own]:
                    same = np.clip(self.genres[columns[row]] @ self.genres[own], 0, 1)
                    scores[row] *= np.where(known[columns[row]], 1 - self.share + self.share * same, 1)
        similarities = scores / (self.query_lengths[rows, None] * self.candidate_lengths[columns])
        weights = scores * (self.query_weights[rows, None] * self.candidate_weights[columns])
        similarities = np.where(np.isfinite(scores), np.clip(similarities, -1, 1), scores)  # rounding goes beyond 1
        return similarities.astype(np.float32), weights.astype(np.float32)


def cosine_vectors(item_factors: DataFrame) -> tuple[DataFrame, Scales]:
    """Return movie_id, query, candidate (the same), the factors at length 1, and their Scales: the cosine is similarity
    and weight. Factors of length 0 stay 0. Runs a small Spark job, for the lengths."""
    vectors = _mapped(item_factors, unit_rows)
    return vectors, _by_length(vectors)


def whitened_vectors(item_factors: DataFrame, *, whitening: float) -> tuple[DataFrame, Scales]:
    """Return movie_id, query, candidate (the same), z = L'f with LL' = (F'F + whitening * trace(F'F) / rank * I)^-1,
    and their Scales: z_i'z_j is the weight, and the cosine of z_i and z_j the similarity.

    F is the n x rank matrix of all factors. z_i'z_j is the linear part of how liking i moves the prediction for j
    when implicit ALS folds in a new user (Hu, Koren, Volinsky 2008). Runs two small Spark jobs: for F'F, rank x
    rank, and for the lengths of the vectors, 12 bytes per movie. Nothing else reaches the driver.
    """
    matrix = whitening_matrix(gram_matrix(item_factors), whitening)
    vectors = _mapped(item_factors, lambda factors: factors @ matrix)
    return vectors, _by_length(vectors)


def _by_length(vectors: DataFrame) -> Scales:
    """Return the Scales of vectors that are the same for query and candidate: the cosine is the similarity."""
    table = vectors.select("movie_id", F.vector_norm("query").alias("length")).orderBy("movie_id").toArrow()
    movies, lengths = (table.column(name).to_numpy() for name in ("movie_id", "length"))
    lengths = np.where(lengths > 0, lengths, 1)
    return Scales(movies, lengths, lengths, np.ones(len(movies)), np.ones(len(movies)))


def gram_matrix(item_factors: DataFrame) -> np.ndarray:
    """Return F'F, float64 [rank, rank], summed in order of movie_id by one task that holds GRAM_ROWS rows."""

    def gram(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total, rest = None, np.empty((0, 0))
        for batch in batches:
            if batch.num_rows:
                rows = as_matrix(batch.column("factors")).astype(np.float64)
                rest = np.vstack([rest, rows]) if rest.size else rows
                while len(rest) >= GRAM_ROWS:
                    part, rest = rest[:GRAM_ROWS], rest[GRAM_ROWS:]
                    total = part.T @ part if total is None else total + part.T @ part
        if rest.size:
            total = rest.T @ rest if total is None else total + rest.T @ rest
        if total is not None:
            yield pa.RecordBatch.from_arrays([as_lists(total, pa.float64())], names=["row"])

    ordered = item_factors.select("movie_id", "factors").coalesce(1).sortWithinPartitions("movie_id")
    return np.array([row.row for row in ordered.mapInArrow(gram, "row array<double>").collect()])


def whitening_matrix(gram: np.ndarray, whitening: float) -> np.ndarray:
    """Return L, float64 [rank, rank], with LL' = (gram + whitening * trace(gram) / rank * I)^-1.

    Raises ValueError when the factors are all zero or not finite.
    """
    ridge = whitening * np.trace(gram) / len(gram)
    if not np.isfinite(ridge) or np.trace(gram) == 0:
        raise ValueError("the item factors are zero or not finite; try a smaller als.alpha or a larger als.regParam")
    return np.linalg.cholesky(np.linalg.inv(gram + ridge * np.eye(len(gram))))


def _mapped(item_factors: DataFrame, function: Callable[[np.ndarray], np.ndarray]) -> DataFrame:
    def transform(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                vectors = as_lists(function(as_matrix(batch.column("factors"))))
                columns = [batch.column("movie_id"), vectors, vectors]
                yield pa.RecordBatch.from_arrays(columns, names=["movie_id", "query", "candidate"])

    return item_factors.select("movie_id", "factors").mapInArrow(transform, VECTORS)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return the rows [n, rank] at length 1; rows of zeros stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def as_matrix(lists: pa.ListArray) -> np.ndarray:
    """Return an Arrow column of equally long lists as an array [rows, length], without a copy."""
    return lists.flatten().to_numpy(zero_copy_only=True).reshape(len(lists), -1)


def as_lists(matrix: np.ndarray, kind: pa.DataType = pa.float32()) -> pa.ListArray:  # noqa: B008 (a type, not a call)
    """Return the rows of an array [rows, length] as an Arrow list column."""
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel(), kind))
