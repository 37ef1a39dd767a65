"""Spectral similarity: what the likers of two movies share, beyond what all tastes share, and what that counts."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline.config import PipelineError
from pipeline.model.content import Content
from pipeline.model.vectors import Scales, as_lists, as_matrix

LIKES_PER_BLOCK = 1_000_000  # likes that one task holds, about 80 bytes each
MOVIES_PER_BLOCK = 8192  # rows that are added up in one task, or weighed at once
PAIR_LIKES_PER_BLOCK = 50_000  # likes whose pairs one task counts
MOVIES_PER_PART = 2048  # movies whose pairs are added up in one task
PAIRED_LIKES = 2000  # of a user's likes so many are paired with each other: the pairs grow with the square
KNOBS = ("damping", "popularity_exponent", "residual", "content", "year", "words", "agreement")  # of spectral_vectors
PAIRS_PER_MOVIE = 2048  # co-occurrences that a movie keeps, the largest


class Spectrum(NamedTuple):
    """What the likes say of the movies, before it is weighed.

    With x_ui the weight of a like, d_u = sum_i x_ui^2, w_u = (d_u / median d)^-user_exponent, n_i = sum_u w_u x_ui^2
    and A_ui = sqrt(w_u) x_ui / sqrt(n_i + shrinkage):

    movies: movie_id of the catalogue, int32 [n], rising; support: n_i, float64 [n]; axes, values: the eigenpairs of
    A'A, float64 [n, rank] and [rank]; n_users.
    """

    movies: np.ndarray
    support: np.ndarray
    axes: np.ndarray
    values: np.ndarray
    n_users: int
    shrinkage: float


def weighted_likes(likes: DataFrame, *, user_exponent: float) -> DataFrame:
    """Return user_id, movie_id, weight = sqrt(w_u) x_ui of Spectrum's formula. Runs a Spark job, for the median."""
    activity = likes.groupBy("user_id").agg(F.sum(F.col("weight") * F.col("weight")).alias("activity"))
    median = activity.agg(F.percentile_approx("activity", 0.5)).head()[0]
    factor = F.pow(F.col("activity") / median, -user_exponent / 2)
    weighted = likes.join(activity, "user_id", how="inner")
    return weighted.select("user_id", "movie_id", (F.col("weight") * factor).cast("float").alias("weight"))


def spectrum(item_factors: DataFrame, weighted: DataFrame, movies: DataFrame, *, shrinkage: float) -> Spectrum:
    """Return the Spectrum of weighted_likes in the space that the ALS factors span, after one step of power iteration
    (Rayleigh-Ritz).

    Runs four Spark jobs over the likes. The driver holds four arrays of n x rank floats for n movies, 8 bytes each
    (1 million movies of rank 64: 0.5 GB per array), a task up to four of 4 bytes each and LIKES_PER_BLOCK likes.
    """
    ids = movies.select("movie_id").orderBy("movie_id").toArrow().column("movie_id").to_numpy().astype(np.int32)
    sums = [F.sum(F.col("weight") * F.col("weight")).alias("support"), F.count("*").alias("likes")]
    liked = weighted.groupBy("movie_id").agg(*sums).orderBy("movie_id").toArrow()
    support, n_likes = np.zeros(len(ids)), int(liked.column("likes").to_numpy().sum())
    support[np.searchsorted(ids, liked.column("movie_id").to_numpy())] = liked.column("support").to_numpy()
    n_users = weighted.agg(F.count_distinct("user_id")).head()[0]
    scale = 1 / np.sqrt(support + shrinkage)
    blocks = _user_blocks(weighted, LIKES_PER_BLOCK, n_likes)

    factors = item_factors.toArrow().combine_chunks()
    vectors = as_matrix(factors.column("factors").combine_chunks())
    basis = np.zeros((len(ids), vectors.shape[1]))
    basis[np.searchsorted(ids, factors.column("movie_id").to_numpy())] = vectors
    basis = np.linalg.qr(basis)[0]
    basis = np.linalg.qr(_power_step(blocks, ids, scale, basis))[0]
    values, rotation = np.linalg.eigh(_projected_gram(blocks, ids, scale, basis))
    return Spectrum(ids, support, basis @ rotation, np.maximum(values, 0), n_users, shrinkage)


def spectral_vectors(
    known: Spectrum,
    described: Content,
    *,
    damping: float,
    popularity_exponent: float,
    residual: float,
    content: float,
    year: float,
    words: float,
    agreement: float,
) -> tuple[pa.Table, Scales]:
    """Return movie_id, query, candidate for every movie of the catalogue, and the Scales of their inner products.

    similarity(i, j) = sum_s v_i v_j (ks / (k + s) - residual s) + content * same(i, j) * g_i g_j

    over the eigenpairs (s, v), with k = damping * the largest s and g_i = (n_i + shrinkage)^-0.5. ks / (k + s) takes
    back the directions in which all tastes agree, as the linear autoencoders EASE and EDLAE do (Steck 2019, 2020).
    What the eigenpairs leave out is small, where ks / (k + s) is about s: residual times all of A'A comes from
    co_occurrences, less the part that is counted here. The second term replaces likes that a little-known movie does
    not have: same is the inner product of the genres, and year and words times those of the years and of the words of
    described, as likes that both movies have in common.

    times 1 - agreement * (1 - the inner product of the genres), which no number of likes makes up for. It is a shrunk
    cosine: the same both ways, in [-1, 1], and 1 for a movie and itself, whose shrinkage counts as likes of its own.
    In a sum of lists a neighbour counts

    weight(i, j) = similarity(i, j) ((n_j + shrinkage) / (n_i + shrinkage))^0.5 p_j,
    p_j = ((n_j + shrinkage) / (0.05 * users))^popularity_exponent

    the shrunk share of i's likers who like j, with p_j to lean towards better or lesser known movies. Lists hold the
    movies with the largest geometric mean of the two, agreement aside, so that they serve both.

    Raises PipelineError if content is worth more likes than shrinkage: a similarity could be above 1.
    """
    evidence = content * (1 + year + words)
    if evidence > known.shrinkage:
        raise PipelineError(
            f"spectral.content * (1 + year + words) is {evidence:g}, above spectral.shrinkage, {known.shrinkage:g}: "
            f"set spectral.shrinkage to {evidence:g} or more, or spectral.content lower"
        )
    scale, pull = _scale_and_pull(known, popularity_exponent)
    values = known.values
    largest = damping * values.max()
    filtered = largest * values / np.maximum(largest + values, 1e-12) - residual * values
    alike = ((described.genres, 1.0), (described.years, np.sqrt(year)), (described.words, np.sqrt(words)))
    width = known.axes.shape[1] + sum(columns.shape[1] for columns, _ in alike)
    query, candidate = (np.empty((len(scale), width), np.float32) for _ in range(2))
    for begin in range(0, len(scale), MOVIES_PER_BLOCK):  # all in one piece would be held three times
        rows = slice(begin, begin + MOVIES_PER_BLOCK)
        axes = known.axes[rows] * np.sqrt(np.abs(filtered))
        same = np.hstack([weight * columns[rows] for columns, weight in alike]) * np.sqrt(content) * scale[rows, None]
        query[rows] = np.hstack([axes * np.sign(filtered), same])
        candidate[rows] = np.hstack([axes, same]) * pull[rows, None]
    columns = [pa.array(known.movies), as_lists(query), as_lists(candidate)]
    genres = described.genres.astype(np.float32) if agreement else None
    scales = Scales(known.movies, np.ones(len(scale)), pull, scale, pull, genres, agreement)
    return pa.table(columns, names=["movie_id", "query", "candidate"]), scales


def pairs_table(weighted: DataFrame) -> DataFrame:
    """Return movie_id, ids, common: the movies that share users with a movie, int32 and rising, and the sum over those
    users of the product of both weights, float32; packed as binary, a row per movie.

    Of a user with more than PAIRED_LIKES likes so many are taken, by chance, and weigh more in place of the rest.
    A task holds the pairs of PAIR_LIKES_PER_BLOCK likes, at most PAIRED_LIKES for each of them, or those of
    MOVIES_PER_PART movies, at most as many as likes of their likers, 8 bytes each.
    """
    by_chance = Window.partitionBy("user_id").orderBy(F.xxhash64("movie_id", "user_id"), "movie_id")
    counted = weighted.withColumns(
        {"position": F.row_number().over(by_chance), "n": F.count("*").over(Window.partitionBy("user_id"))}
    )
    grown = F.col("weight") * F.greatest(F.col("n") / PAIRED_LIKES, F.lit(1.0))
    kept = counted.where(F.col("position") <= PAIRED_LIKES)
    kept = kept.select("user_id", "movie_id", grown.cast("float").alias("weight"))
    n_likes, n_movies = kept.agg(F.count("*"), F.count_distinct("movie_id")).head()
    blocks = _user_blocks(kept, PAIR_LIKES_PER_BLOCK, n_likes)

    def multiply(likes: pa.Table) -> pa.Table:
        ids = np.unique(likes.column("movie_id").to_numpy()).astype(np.int32)
        matrix, _ = _block_matrix(likes, ids, np.ones(len(ids)))
        rows = _packed_rows(ids, (matrix.T @ matrix).tocsr(), ids)
        block = np.full(len(ids), likes.column("block")[0].as_py(), np.int32)
        return rows.append_column("block", pa.array(block))

    def add(partial: pa.Table) -> pa.Table:
        partial = partial.sort_by([("movie_id", "ascending"), ("block", "ascending")])  # sums to the last bit
        of_row, others, common = _unpacked_rows(partial, "common")
        movies, rows = np.unique(partial.column("movie_id").to_numpy()[of_row], return_inverse=True)
        ids, columns = np.unique(others, return_inverse=True)
        return _packed_rows(movies, sp.csr_matrix((common, (rows, columns)), (len(movies), len(ids))), ids)

    schema = "movie_id int, ids binary, common binary"
    partial = blocks.groupBy("block").applyInArrow(multiply, f"{schema}, block int")
    part = F.pmod(F.xxhash64("movie_id"), F.lit(-(-n_movies // MOVIES_PER_PART)))
    return partial.groupBy(part.alias("part")).applyInArrow(add, schema)


def co_occurrences(pairs: DataFrame, known: Spectrum, *, popularity_exponent: float, residual: float) -> DataFrame:
    """Return movie_id, ids, similarities: of pairs_table, residual * common * g_i g_j, the part of the similarity that
    spectral_vectors leaves out, times the candidate's pull; a movie's PAIRS_PER_MOVIE largest, packed as there.

    A pair may be among the largest of one of its movies alone: it counts on that one's list, and not on the other's.
    """
    scale, pull = _scale_and_pull(known, popularity_exponent)
    of_candidate = scale * pull
    ids = known.movies

    def weigh(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            movies = batch.column("movie_id").to_numpy()
            of_row, others, common = _unpacked_rows(batch, "common")
            of_query = residual * scale[np.searchsorted(ids, movies)]
            similarities = (common * of_query[of_row] * of_candidate[np.searchsorted(ids, others)]).astype(np.float32)
            begins = np.searchsorted(of_row, np.arange(len(movies) + 1))
            best = np.ones(len(others), bool)
            for row in np.flatnonzero(np.diff(begins) > PAIRS_PER_MOVIE):  # the others keep all that they have
                own = slice(begins[row], begins[row + 1])
                best[own][np.lexsort((others[own], -similarities[own]))[PAIRS_PER_MOVIE:]] = False
            lengths = np.bincount(of_row[best], minlength=len(movies))
            columns = [batch.column("movie_id"), *(_binary(values[best], lengths) for values in (others, similarities))]
            yield pa.RecordBatch.from_arrays(columns, names=["movie_id", "ids", "similarities"])

    return pairs.mapInArrow(weigh, "movie_id int, ids binary, similarities binary")


def _packed_rows(movies: np.ndarray, matrix: sp.csr_matrix, ids: np.ndarray) -> pa.Table:
    """Return the rows of a matrix as movie_id, ids, common; ids [columns]; the diagonal left out."""
    matrix.sort_indices()
    row = np.repeat(np.arange(len(movies)), np.diff(matrix.indptr))
    other = movies[row] != ids[matrix.indices]
    lengths = np.bincount(row[other], minlength=len(movies))
    others, common = ids[matrix.indices[other]].astype(np.int32), matrix.data[other].astype(np.float32)
    columns = [_binary(values, lengths) for values in (others, common)]
    return pa.table([pa.array(movies, pa.int32()), *columns], names=["movie_id", "ids", "common"])


def _unpacked_rows(rows: pa.Table | pa.RecordBatch, values: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for every pair its row int64, the other movie int32 and its value float32."""
    ids, common = (rows.column(name).to_pylist() for name in ("ids", values))
    of_row = np.repeat(np.arange(len(ids)), [len(packed) // 4 for packed in ids])
    return of_row, np.frombuffer(b"".join(ids), np.int32), np.frombuffer(b"".join(common), np.float32)


def _binary(values: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Return values of 4 bytes, so many a row, as a binary column."""
    offsets = np.concatenate([[0], 4 * np.cumsum(lengths)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(np.ascontiguousarray(values).tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(lengths), buffers)


def _scale_and_pull(known: Spectrum, popularity_exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Return g of spectral_vectors, and the pull of each candidate; float64 [n] both.

    A list's movies are chosen by similarity * pull; their weight is similarity * g of the list's movie * pull^2.
    """
    n = known.support + known.shrinkage
    popular = (n / (0.05 * max(known.n_users, 1))) ** popularity_exponent
    pull = np.sqrt(np.sqrt(n) * popular)
    return 1 / np.sqrt(n), pull


def _user_blocks(weighted: DataFrame, per_block: int, n_likes: int) -> DataFrame:
    """Return the weighted likes with a block, so that a block holds whole users and about per_block likes."""
    n_blocks = max(-(-n_likes // per_block), 1)
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

    def add(grams: pa.Table) -> pa.Table:
        grams = grams.sort_by("block").combine_chunks()  # sums to the last bit
        total = as_matrix(grams.column("gram").combine_chunks()).sum(axis=0, keepdims=True)
        return pa.table([as_lists(total, pa.float64())], names=["gram"])

    grams = blocks.groupBy("block").applyInArrow(gram, "block int, gram array<double>")
    total = grams.groupBy().applyInArrow(add, "gram array<double>").head()
    return np.array(total.gram).reshape(basis.shape[1], -1)


def _block_matrix(likes: pa.Table, ids: np.ndarray, scale: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """Return a block's part of A, float32 CSR [its users, its movies], and the rows of its movies among ids."""
    likes = likes.sort_by([("user_id", "ascending"), ("movie_id", "ascending")])
    users = np.unique(likes.column("user_id").to_numpy(), return_inverse=True)[1]
    rows = np.searchsorted(ids, likes.column("movie_id").to_numpy())
    touched, columns = np.unique(rows, return_inverse=True)
    values = (likes.column("weight").to_numpy() * scale[rows]).astype(np.float32)
    return sp.csr_matrix((values, (users, columns)), (users.max() + 1, len(touched))), touched
