"""From item factors to the vectors whose inner product is the similarity of two movies: cosine, whitened, spectral."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

GRAM_ROWS = 4096  # rows summed at once: fixed, so that the sum does not depend on the batches Spark sends
LIKES_PER_BLOCK = 1_000_000  # likes that one task of the spectral vectors holds, about 20 bytes each
MOVIES_PER_BLOCK = 8192  # rows of a partial product that are added up in one task
VECTORS = "movie_id int, query array<float>, candidate array<float>"


def cosine_vectors(item_factors: DataFrame) -> DataFrame:
    """Return movie_id, query, candidate (the same): the factors at length 1; factors of length 0 stay 0."""
    return _mapped(item_factors, unit_rows)


def whitened_vectors(item_factors: DataFrame, *, whitening: float) -> DataFrame:
    """Return movie_id, query, candidate (the same): z = L'f with LL' = (F'F + whitening * trace(F'F) / rank * I)^-1.

    F is the n x rank matrix of all factors. z_i'z_j is the linear part of how liking i moves the prediction for j
    when implicit ALS folds in a new user (Hu, Koren, Volinsky 2008). Runs one small Spark job for F'F, rank x rank,
    the only thing that reaches the driver.
    """
    matrix = whitening_matrix(gram_matrix(item_factors), whitening)
    return _mapped(item_factors, lambda factors: factors @ matrix)


def spectral_vectors(
    item_factors: DataFrame,
    likes: DataFrame,
    movies: DataFrame,
    *,
    shrinkage: float,
    damping: float,
    user_exponent: float,
    popularity_exponent: float,
    content: float,
) -> DataFrame:
    """Return movie_id, query, candidate for every movie of the catalogue; query_i'candidate_j says how much more a
    person who likes i likes j than people do on the whole.

    With x_ui the weight of a like, d_u = sum_i x_ui^2, w_u = (d_u / median d)^-user_exponent, n_i = sum_u w_u x_ui^2
    and A_ui = sqrt(w_u) x_ui / sqrt(n_i + shrinkage), the eigenpairs (s, v) of A'A in the space that the ALS factors
    span, after one step of power iteration (Rayleigh-Ritz), give

        similarity(i, j) = sum_s v_i v_j ks / (k + s) * ((n_j + shrinkage) / (n_i + shrinkage))^0.5 * p_j
                           + content * cos(genres_i, genres_j) * sqrt(share of users who like j) / (n_i + shrinkage)

    with k = damping * the largest s, and p_j = ((n_j + shrinkage) / (0.05 * users))^popularity_exponent. The first
    term is the shrunk share of i's likers who like j; ks / (k + s) takes back the directions in which all tastes
    agree, as the linear autoencoders EASE and EDLAE do (Steck 2019, 2020). The second stands in for likes that a
    little-known movie does not have; genres weigh by their rarity.

    Runs three Spark jobs over the likes. The driver and every task hold n x rank floats for n movies, 8 bytes each
    on the driver (1 million movies of rank 64: 0.5 GB per matrix, four at a time), and a task LIKES_PER_BLOCK likes.
    """
    catalogue = movies.select("movie_id", "genres").orderBy("movie_id").toArrow()
    ids = catalogue.column("movie_id").to_numpy().astype(np.int32)
    weighted, likers, n_users = _weighted_likes(likes, user_exponent)
    support, liked = (_at(ids, likers, name) for name in ("support", "likers"))
    scale = 1 / np.sqrt(support + shrinkage)
    blocks = _user_blocks(weighted)

    basis = np.zeros((len(ids), len(item_factors.head().factors)))
    factors = item_factors.toArrow()
    basis[np.searchsorted(ids, factors.column("movie_id").to_numpy())] = as_matrix(
        factors.column("factors").combine_chunks()
    )
    basis = np.linalg.qr(basis)[0]
    basis = np.linalg.qr(_power_step(blocks, ids, scale, basis))[0]
    values, rotation = np.linalg.eigh(_projected_gram(blocks, ids, scale, basis))
    values = np.maximum(values, 0)
    largest = damping * values.max()
    collaborative = basis @ rotation * np.sqrt(largest * values / np.maximum(largest + values, 1e-12))

    genres = _genre_vectors(catalogue.column("genres").to_pylist())
    popular = ((support + shrinkage) / (0.05 * n_users)) ** popularity_exponent
    query = np.hstack([collaborative * scale[:, None], genres * (content * scale**2)[:, None]])
    candidate = np.hstack([collaborative * (popular / scale)[:, None], genres * np.sqrt(liked / n_users)[:, None]])
    table = pa.table([pa.array(ids), as_lists(query), as_lists(candidate)], names=["movie_id", "query", "candidate"])
    return item_factors.sparkSession.createDataFrame(table, VECTORS)


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


def _mapped(item_factors: DataFrame, function) -> DataFrame:
    def transform(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                vectors = as_lists(function(as_matrix(batch.column("factors"))))
                columns = [batch.column("movie_id"), vectors, vectors]
                yield pa.RecordBatch.from_arrays(columns, names=["movie_id", "query", "candidate"])

    return item_factors.select("movie_id", "factors").mapInArrow(transform, VECTORS)


def _weighted_likes(likes: DataFrame, user_exponent: float) -> tuple[DataFrame, pa.Table, int]:
    """Return the likes with weight sqrt(w_u) x_ui, each liked movie's support and likers, and the number of users."""
    activity = likes.groupBy("user_id").agg(F.sum(F.col("weight") * F.col("weight")).alias("activity"))
    median, n_users = activity.agg(F.percentile_approx("activity", 0.5), F.count("*")).head()
    factor = F.pow(F.col("activity") / median, -user_exponent / 2)
    weighted = likes.join(activity, "user_id", how="inner")
    weighted = weighted.select("user_id", "movie_id", (F.col("weight") * factor).alias("weight"))
    support = F.sum(F.col("weight") * F.col("weight")).alias("support")
    likers = weighted.groupBy("movie_id").agg(support, F.count("*").cast("double").alias("likers"))
    return weighted, likers.orderBy("movie_id").toArrow(), n_users


def _user_blocks(weighted: DataFrame) -> DataFrame:
    """Return the weighted likes with a block, so that a block holds whole users and about LIKES_PER_BLOCK likes."""
    n_blocks = max(-(-weighted.count() // LIKES_PER_BLOCK), 1)
    return weighted.withColumn("block", F.pmod(F.xxhash64("user_id"), F.lit(n_blocks)).cast("int"))


def _power_step(blocks: DataFrame, ids: np.ndarray, scale: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return A'A basis, float64 [n, rank]: products per block of users, added up per block of movies."""
    basis = basis.astype(np.float32)

    def multiply(likes: pa.Table) -> pa.Table:
        matrix, touched = _block_matrix(likes, ids, scale)
        product = matrix.T @ (matrix @ basis[touched])
        block = np.full(len(touched), likes.column("block")[0].as_py())
        columns = [pa.array(column, pa.int32()) for column in (touched // MOVIES_PER_BLOCK, block, touched)]
        return pa.table([*columns, as_lists(product)], names=["part", "block", "row", "product"])

    def add(partial: pa.Table) -> pa.Table:
        partial = partial.sort_by([("row", "ascending"), ("block", "ascending")]).combine_chunks()
        rows, begins = np.unique(partial.column("row").to_numpy(), return_index=True)
        products = as_matrix(partial.column("product").combine_chunks()).astype(np.float64)
        return pa.table([pa.array(rows), as_lists(np.add.reduceat(products, begins, axis=0))], names=["row", "product"])

    products = blocks.groupBy("block").applyInArrow(multiply, "part int, block int, row int, product array<float>")
    summed = products.groupBy("part").applyInArrow(add, "row int, product array<float>").toArrow()
    result = np.zeros(basis.shape)
    result[summed.column("row").to_numpy()] = as_matrix(summed.column("product").combine_chunks())
    return result


def _projected_gram(blocks: DataFrame, ids: np.ndarray, scale: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return (A basis)'(A basis), float64 [rank, rank]."""
    basis = basis.astype(np.float32)

    def gram(likes: pa.Table) -> pa.Table:
        matrix, touched = _block_matrix(likes, ids, scale)
        projected = (matrix @ basis[touched]).astype(np.float64)
        block = pa.array([likes.column("block")[0].as_py()], pa.int32())
        return pa.table(
            [block, as_lists((projected.T @ projected).reshape(1, -1), pa.float64())], names=["block", "gram"]
        )

    grams = blocks.groupBy("block").applyInArrow(gram, "block int, gram array<double>").orderBy("block").collect()
    return np.sum([row.gram for row in grams], axis=0).reshape(basis.shape[1], -1)


def _block_matrix(likes: pa.Table, ids: np.ndarray, scale: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """Return a block's part of A, float32 CSR [its users, its movies], and the rows of its movies among ids."""
    likes = likes.sort_by([("user_id", "ascending"), ("movie_id", "ascending")])
    users = np.unique(likes.column("user_id").to_numpy(), return_inverse=True)[1]
    rows = np.searchsorted(ids, likes.column("movie_id").to_numpy())
    touched, columns = np.unique(rows, return_inverse=True)
    values = (likes.column("weight").to_numpy() * scale[rows]).astype(np.float32)
    return sp.csr_matrix((values, (users, columns)), (users.max() + 1, len(touched))), touched


def _at(ids: np.ndarray, table: pa.Table, column: str) -> np.ndarray:
    """Return the table's column by movie_id at the place of each id, float64 [n]; 0 where the table has no row."""
    values = np.zeros(len(ids))
    values[np.searchsorted(ids, table.column("movie_id").to_numpy())] = table.column(column).to_numpy()
    return values


def _genre_vectors(genres: list[list[str]]) -> np.ndarray:
    """Return a row per movie, float64 [n, genres], of length 1, rare genres weighing more; 0 without genres."""
    names = sorted({name for movie in genres for name in movie})
    column = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(genres), len(names)))
    for row, movie in enumerate(genres):
        matrix[row, [column[name] for name in movie]] = 1
    return unit_rows(matrix * np.log(len(genres) / np.maximum(matrix.sum(axis=0), 1)))
