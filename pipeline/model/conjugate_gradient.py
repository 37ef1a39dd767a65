"""Implicit ALS by conjugate gradients: in less than half of the time of Spark ML's, which solves every system exactly.

The same model (Hu, Koren, Volinsky 2008), solved as by Takács, Pilászy, Tikk 2011: a few steps of conjugate gradients
for every user and movie, from where the last iteration left it. The kernel is implicit's; Spark hands out the blocks.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from pyspark import StorageLevel
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.model.vectors import as_lists

STEPS = 3  # of conjugate gradients per iteration
LIKES_PER_BLOCK = 8_000_000  # likes that one task holds, 30 bytes each: every block is sent the factors of a whole side
START = 0.01  # size of a movie's first factors
USERS, MOVIES = 0, 1  # the two sides

# Some likes of one block of a side: the ids of its end and of the other, int32, and confidences, float32, as binary.
CHUNKS = "side int, block int, own binary, others binary, confidences binary"
# A row per block of a side, all arrays as binary. Its ids int32, rising, and of their likes: where each id's begin,
# int32; the place of the other end among all factors of its side, int32 (before that is known: its id); float32.
LIKES = "block int, ids binary, begins binary, others binary, confidences binary"
KNOWN = "block int, movie_id int, factors array<float>"  # of movies, before training
# A row per side and block: ids int32, rising, and factors float32 [ids, rank].
FACTORS = "side int, block int, ids binary, factors binary"


def train_conjugate_gradient(
    training: DataFrame,
    *,
    blocks: int,
    rank: int,
    maxIter: int,
    regParam: float,
    alpha: float,
    seed: int,
    blockSize: int,
    coldStartStrategy: str,
    start: DataFrame | None = None,
) -> ALSModel:
    """Fit implicit ALS on (user_id, movie_id, weight) and return it as pyspark.ml's model.

    The parameters are Spark's but for regParam, which is the same for everybody here: Spark multiplies it by the number
    of likes of the user or movie. Users and movies are cut into as many blocks each, or a multiple where there are many
    likes; the factors depend on that number, as Spark's do.

    start: movie_id, factors array<float>[rank] to begin with, once per movie; movies that are not in it, and all
    without it, begin at random. The users need none: they are solved first, from the movies'.

    A task holds LIKES_PER_BLOCK likes of some users or movies, or all of one that has more: at most 30 bytes each while
    they are sorted, and 20 while they are solved; and then all factors of the other side and its own twice, 8 * rank
    bytes per user or movie. The driver holds none of it.
    """
    sides = training.columns[:2]
    labels = _labels(training.sparkSession, blocks * -(-training.count() // (blocks * LIKES_PER_BLOCK)))
    chunks = _chunks(training, alpha, labels).persist()
    packed = [_packed(chunks, side, labels).persist() for side in (USERS, MOVIES)]
    factors = _kept(_first_factors(packed, labels, rank, seed, start))
    placed = [_beside(packed[side], factors, side, labels, _placed(side), LIKES) for side in (USERS, MOVIES)]
    # Spread out by block, or Spark would do it again in every iteration, and put small blocks into one task.
    likes = [of_side.repartition(len(labels), "block").persist() for of_side in placed]
    for _ in range(maxIter):
        for side in (USERS, MOVIES):
            solve = _solved(side, rank, regParam)
            factors = _kept(_beside(likes[side], factors, side, labels, solve, FACTORS))
    for frame in (chunks, *packed, *likes):
        frame.unpersist()
    users, movies = (_unpacked(factors, side, rank) for side in (USERS, MOVIES))
    return _as_model(sides, rank, users, movies, blockSize=blockSize, coldStartStrategy=coldStartStrategy)


def _labels(spark: SparkSession, n_blocks: int) -> list[int]:
    """Return names of blocks by which Spark's hash partitioning sends each to a partition of its own."""
    tried = spark.range(64 * n_blocks).select(F.col("id").cast("int").alias("label"))
    first = tried.groupBy(F.pmod(F.hash("label"), F.lit(n_blocks)).alias("place")).agg(F.min("label").alias("label"))
    return sorted(row.label for row in first.collect())


def _kept(factors: DataFrame) -> DataFrame:
    """Return the factors computed, without their history: Spark would go through all of it for each new step. They are
    kept twice, so that the run outlives an executor."""
    return factors.localCheckpoint(storageLevel=StorageLevel.MEMORY_AND_DISK_2)


def _chunks(training: DataFrame, alpha: float, labels: list[int], per_chunk: int = 1_000_000) -> DataFrame:
    """Return the likes in few rows, CHUNKS, and each of them twice, once for either side; per_chunk: likes that a task
    collects before it hands them on."""

    def cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        n_held = 0
        for batch in itertools.chain(batches, [None]):
            if batch is not None:
                held, n_held = [*held, batch], n_held + batch.num_rows
            if n_held and (batch is None or n_held >= per_chunk):
                ends_and_weights = pa.Table.from_batches(held).columns
                likes = [column.to_numpy() for column in ends_and_weights]
                likes[2] = (1 + alpha * likes[2]).astype(np.float32)
                for side, own in enumerate(likes[:2]):
                    block = _block_of(own, len(labels))
                    order = np.argsort(block, kind="stable")
                    cuts = np.searchsorted(block[order], np.arange(len(labels) + 1))
                    for label, (begin, end) in zip(labels, itertools.pairwise(cuts.tolist()), strict=True):
                        rows = order[begin:end]
                        chunk = [likes[of][rows] for of in (side, 1 - side, 2)]
                        yield from _row(CHUNKS, side, label, *chunk).to_batches()
                held, n_held = [], 0

    kinds = ("int", "int", "float")
    columns = [F.col(name).cast(kind).alias(name) for name, kind in zip(training.columns, kinds, strict=True)]
    return training.select(*columns).mapInArrow(cut, CHUNKS)


def _block_of(ids: np.ndarray, n_blocks: int) -> np.ndarray:
    """Return the number of each id's block. Fibonacci hashing: neighbouring ids go to different blocks."""
    return (ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)) % n_blocks


def _packed(chunks: DataFrame, side: int, labels: list[int]) -> DataFrame:
    """Return the LIKES of a side; others holds ids."""

    def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if held := [batch for batch in batches if batch.num_rows]:
            chunks = pa.Table.from_batches(held)
            block = chunks.column("block")[0].as_py()
            own, others, confidences = (
                _joined(chunks, name, kind)
                for name, kind in (("own", np.int32), ("others", np.int32), ("confidences", np.float32))
            )
            del held, chunks  # before it is sorted: memory
            key = own.astype(np.int64)  # one key: several times as quick to sort by as two
            key <<= 32
            key += others
            order = np.argsort(key)
            del key
            own = own[order]
            begins = np.flatnonzero(np.append(True, own[1:] != own[:-1])).astype(np.int32)
            ids, begins = own[begins], np.append(begins, len(own)).astype(np.int32)
            others, confidences = others[order], confidences[order]
            del own, order
            yield from _row(LIKES, block, ids, begins, others, confidences).to_batches()

    blocks = chunks.where(F.col("side") == side).repartition(len(labels), "block").mapInArrow(pack, LIKES)
    return blocks.repartition(len(labels), "block")


def _first_factors(
    packed: list[DataFrame], labels: list[int], rank: int, seed: int, start: DataFrame | None
) -> DataFrame:
    """Return the FACTORS to begin with: the users' 0, the movies' those of start, or random; every block of both sides
    has a row."""

    def of(side: int) -> Callable[[pa.Table, pa.Table], pa.Table]:
        def first(likes: pa.Table, known: pa.Table) -> pa.Table:
            block, ids = likes.column("block")[0].as_py(), b"".join(likes.column("ids").to_pylist())
            size = (len(ids) // 4, rank)
            random = np.random.Generator(np.random.Philox(key=[seed % 2**64, block]))
            drawn = np.zeros(size, np.float32) if side == USERS else START * random.standard_normal(size, np.float32)
            if side == MOVIES and len(known):
                vectors = dict(zip(known.column("movie_id").to_pylist(), known.column("factors"), strict=True))
                for place, movie in enumerate(np.frombuffer(ids, np.int32).tolist()):
                    if movie in vectors:
                        drawn[place] = vectors[movie].values.to_numpy()
            return _row(FACTORS, side, block, ids, drawn)

        return first

    spark = packed[0].sparkSession
    every = spark.createDataFrame([(label,) for label in labels], "block int")
    filled = [every.join(blocks, "block", how="left").select("block", "ids").groupBy("block") for blocks in packed]
    known = _with_blocks(start, labels) if start else spark.createDataFrame([], KNOWN)
    users, movies = (
        blocks.cogroup(known.groupBy("block")).applyInArrow(of(side), FACTORS) for side, blocks in enumerate(filled)
    )
    return users.unionByName(movies)


def _with_blocks(start: DataFrame, labels: list[int]) -> DataFrame:
    """Return factors with the block of their movie, KNOWN."""

    def add(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbers = _block_of(batch.column(0).to_numpy(), len(labels)).astype(np.int64)
            blocks = pa.array(np.array(labels, np.int32)[numbers])
            yield pa.RecordBatch.from_arrays([blocks, *batch.columns], names=["block", "movie_id", "factors"])

    return start.select("movie_id", "factors").mapInArrow(add, KNOWN)


def _beside(
    likes: DataFrame, factors: DataFrame, side: int, labels: list[int], function: Callable, schema: str
) -> DataFrame:
    """Return what the function makes of each block of a side's likes and the factors that it needs: all of the other
    side's and the block's own."""
    own = F.array("block")
    every = F.array(*map(F.lit, labels))
    wanted = factors.withColumn("wanted_by", F.explode(F.when(F.col("side") == side, own).otherwise(every)))
    return likes.groupBy("block").cogroup(wanted.groupBy("wanted_by")).applyInArrow(function, schema)


def _placed(side: int) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """Return the function that replaces the ids in others by places."""

    def place(likes: pa.Table, factors: pa.Table) -> pa.Table:
        if not len(likes):
            return likes
        ids = _joined(_of_side(factors, 1 - side), "ids", np.int32)
        order = np.argsort(ids)
        others = _joined(likes, "others", np.int32)
        places = order.astype(np.int32)[np.searchsorted(ids, others, sorter=order)]
        return likes.set_column(likes.column_names.index("others"), "others", _as_binary(places))

    return place


def _solved(side: int, rank: int, regularization: float) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """Return what takes a side's factors one iteration further. The other side's pass through, block by block."""
    from implicit.cpu._als import least_squares_cg  # here, because the other solver need not wait for it

    def solve(likes: pa.Table, factors: pa.Table) -> pa.Table:
        own, other = _of_side(factors, side), _of_side(factors, 1 - side)
        block, ids = own.column("block")[0].as_py(), own.column("ids")[0].as_py()
        vectors = _joined(own, "factors", np.float32).reshape(-1, rank)
        if ids:
            others = _joined(other, "factors", np.float32).reshape(-1, rank)
            begins, places = (_joined(likes, name, np.int32) for name in ("begins", "others"))
            confidences = _joined(likes, "confidences", np.float32)
            matrix = sp.csr_matrix((confidences, places, begins), (len(vectors), len(others)))
            least_squares_cg(matrix, vectors, others, regularization, num_threads=1, cg_steps=STEPS)
        passing = other.filter(pc.equal(other.column("block"), block)).select(factors.column_names[:4])
        return pa.concat_tables([_row(FACTORS, side, block, ids, vectors), passing])

    return solve


def _unpacked(factors: DataFrame, side: int, rank: int) -> DataFrame:
    """Return a side's factors as pyspark.ml's model keeps them: id int, features array<float>."""

    def unpack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids, vectors = _joined(batch, "ids", np.int32), _joined(batch, "factors", np.float32)
            columns = [pa.array(ids), as_lists(vectors.reshape(-1, rank))]
            yield pa.RecordBatch.from_arrays(columns, names=["id", "features"])

    return factors.where(F.col("side") == side).mapInArrow(unpack, "id int, features array<float>")


def _as_model(
    sides: list[str], rank: int, users: DataFrame, movies: DataFrame, *, blockSize: int, coldStartStrategy: str
) -> ALSModel:
    """Return factors (id, features) as pyspark.ml's model, which has no constructor of its own for them."""
    java = users.sparkSession._jvm.org.apache.spark.ml.recommendation.ALSModel
    model = ALSModel(java("conjugate_gradient", rank, users._jdf, movies._jdf))
    model = model.setUserCol(sides[0]).setItemCol(sides[1]).setPredictionCol("prediction")
    return model.setBlockSize(blockSize).setColdStartStrategy(coldStartStrategy)


def _of_side(factors: pa.Table, side: int) -> pa.Table:
    """Return a side's rows in order of their blocks. Slices: Arrow's own filter and sort make three copies."""
    sides, blocks = (factors.column(name).to_numpy() for name in ("side", "block"))
    rows = np.flatnonzero(sides == side)
    return pa.concat_tables([factors.slice(row, 1) for row in rows[np.argsort(blocks[rows])].tolist()])


def _joined(rows: pa.Table | pa.RecordBatch, name: str, kind: type) -> np.ndarray:
    """Return a binary column's arrays one behind the other; a copy."""
    joined = bytearray()
    for value in rows.column(name):  # Arrow copies what it hands out: one at a time
        joined += value.as_buffer()
    return np.frombuffer(joined, kind)


def _row(schema: str, *values: int | np.integer | bytes | np.ndarray) -> pa.Table:
    """Return one row of a schema: integers as int32, arrays as binary."""
    columns = [
        pa.array([value], pa.int32()) if isinstance(value, int | np.integer) else _as_binary(value) for value in values
    ]
    return pa.table(columns, names=[field.split()[0] for field in schema.split(", ")])


def _as_binary(value: bytes | np.ndarray) -> pa.Array:
    """Return a binary column of one row that holds the array itself, not a copy."""
    content = pa.py_buffer(value)
    return pa.Array.from_buffers(pa.binary(), 1, [None, pa.py_buffer(np.array([0, content.size], np.int32)), content])
