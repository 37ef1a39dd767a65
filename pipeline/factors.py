"""From ratings to vectors: likes, ALS item factors, and the vectors whose inner product is the similarity."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

GRAM_ROWS = 4096  # rows summed at once: fixed, so that the sum does not depend on the batches Spark sends


def likes_table(ratings: DataFrame, *, min_rating: float, weight: str, neutral_rating: float) -> DataFrame:
    """Return the ratings that speak for a movie: user_id, movie_id, weight float > 0.

    weight 'constant': min_rating stars or more weigh 1, fewer are left out. 'graded': neutral_rating and below is
    left out, min_rating weighs 1, linear between and beyond.
    """
    if weight == "graded":
        value = (F.col("rating") - neutral_rating) / (min_rating - neutral_rating)
    else:
        value = F.when(F.col("rating") >= min_rating, 1.0).otherwise(0.0)
    return ratings.select("user_id", "movie_id", value.cast("float").alias("weight")).where("weight > 0")


def train_als(training: DataFrame, *, blocks: int, **params) -> ALSModel:
    """Fit pyspark.ml ALS on (user_id, movie_id, third column) and return its model.

    params are ALS's own parameters, as under als: in the configuration; numUserBlocks and numItemBlocks of
    None become blocks. The input is sorted first: ALS adds up in the order it is given.
    """
    user, item, value = training.columns
    sizes = {name: params[name] or blocks for name in ("numUserBlocks", "numItemBlocks")}
    als = ALS(userCol=user, itemCol=item, ratingCol=value, **{**params, **sizes})
    return als.fit(training.repartition(blocks, user).sortWithinPartitions(user, item))


def item_factors_table(model: ALSModel) -> DataFrame:
    """Return the model's item factors: movie_id, factors array<float>[rank]; one row per movie trained on."""
    return model.itemFactors.select(F.col("id").alias("movie_id"), F.col("features").alias("factors"))


def vectors_table(item_factors: DataFrame, *, similarity: str, whitening: float) -> DataFrame:
    """Return movie_id, vector array<float>[rank], whose inner product is the similarity of two movies.

    'cosine': the factors at length 1; factors of length 0 stay 0. 'whitened': z = L'f with
    LL' = (F'F + whitening * trace(F'F) / rank * I)^-1 for the n x rank matrix F of all factors, so that
    z_i'z_j is the linear part of how liking i moves the prediction for j when implicit ALS folds in a new
    user (Hu, Koren, Volinsky 2008). Runs one small Spark job for F'F, rank x rank, the only thing that
    reaches the driver.
    """
    matrix = whitening_matrix(gram_matrix(item_factors), whitening) if similarity == "whitened" else None

    def transform(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                factors = as_matrix(batch.column("factors"))
                vectors = unit_rows(factors) if matrix is None else factors @ matrix
                yield pa.RecordBatch.from_arrays(
                    [batch.column("movie_id"), as_lists(vectors)], names=["movie_id", "vector"]
                )

    return item_factors.select("movie_id", "factors").mapInArrow(transform, "movie_id int, vector array<float>")


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
            yield pa.RecordBatch.from_arrays([as_lists(total)], names=["row"])

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


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return the rows [n, rank] at length 1; rows of zeros stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def as_matrix(lists: pa.ListArray) -> np.ndarray:
    """Return an Arrow column of equally long lists as an array [rows, length], without a copy."""
    return lists.flatten().to_numpy(zero_copy_only=True).reshape(len(lists), -1)


def as_lists(matrix: np.ndarray) -> pa.ListArray:
    """Return the rows of a float array [rows, length] as an Arrow list column: float64 stays, all else is float32."""
    values = matrix if matrix.dtype == np.float64 and matrix.shape[0] == matrix.shape[1] else matrix.astype(np.float32)
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(offsets, values.ravel())
