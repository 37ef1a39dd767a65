"""Exact top-K neighbour lists: every movie's vector against every candidate's, block by block."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.model.blas import faiss
from pipeline.model.task_files import TaskFiles
from pipeline.model.vectors import Scales
from pipeline.settings import NeighboursSettings

SLACK = 16  # neighbours beyond k: rounding then hardly ever hides one of the best k behind the last one found
TILE = 512  # queries and items that faiss multiplies at once: their products, 1 MiB, stay near the processor
PAIRS_AT_ONCE = 65_536  # pairs whose vectors are gathered at a time
PAIR_COLUMNS = ("pair_movies", "pair_ids", "pair_similarities")

NEIGHBOURS = pa.schema(
    [
        ("movie_id", pa.int32()),
        ("neighbour_id", pa.int32()),
        ("rank", pa.int16()),
        ("similarity", pa.float32()),
        ("weight", pa.float32()),
    ]
)
PACKED_LISTS = "query_block int, ids binary, best_ids binary, similarities binary"


class Cut(NamedTuple):
    """How the work is cut: blocks of queries, blocks of candidates, and the pieces that the latter are sent in."""

    query_blocks: int
    item_blocks: int
    pieces: int = 1


class Search(NamedTuple):
    """A search for neighbours.

    vectors: movie_id, query, candidate array<float>. candidates: movie_id of the movies that may be recommended.
    only: movie_id of the movies whose lists are wanted, None for all. pairs: movie_id, ids (int32) and similarities
    (float32, 0 or more) packed as binary: the score of single pairs on top of their inner product. scales: of the
    scores; None: the score is the similarity and the weight.
    """

    vectors: DataFrame
    candidates: DataFrame
    cut: Cut
    scales: Scales | None = None
    only: DataFrame | None = None
    pairs: DataFrame | None = None


def neighbours_table(search: Search, *, k: int) -> DataFrame:
    """Return the neighbours table: for every movie i the k candidates j with the largest score, query_i'candidate_j
    plus the score of their pair, in the order of their similarity.

    One row per movie_id, rank; sorted so within a partition, and partitions follow movie_id. No movie is its
    own neighbour; ties come in order of neighbour_id; a list is shorter than k only when the candidates are.

    A task answers one block of queries: it sees one block of candidates after the other and keeps the best k so far.
    With one piece, all candidates' vectors, 4 n r bytes for n of length r, are broadcast to every executor. With more
    pieces, a task meets one piece, 4 n r / pieces bytes, and a second step merges the lists of the pieces. The lists
    depend on the vectors and pairs alone, not on the cut.

    Memory of a task's Python, with q queries, c candidates and p pairs per block: 4 r (q + 2c) + 24 q (k + SLACK)
    + 50 p bytes, and twice a batch of Spark's: spark.sql.execution.arrow.maxBytesPerBatch and one pair of
    blocks, 4 r (q + c). Memory of its JVM: the piece. Of the second step's Python: 32 q k bytes, and twice a batch of
    Spark's, lists of 8 q k. None of these grows with n; movie ids and
    Scales, 40 bytes per movie and 4 per column of genres, alone are sent whole.
    """
    table, lists = _search_plan(search, k)
    return table.mapInArrow(lists, schemas.spark_schema("neighbours"))


def write_neighbours(search: Search, files: TaskFiles, *, k: int) -> DataFrame:
    """Have the tasks write the neighbours table into files; return their attempts, see TaskFiles.COLUMNS."""
    table, lists = _search_plan(search, k)
    return table.mapInArrow(lambda batches: files.write(lists(batches)), TaskFiles.COLUMNS)


def _search_plan(
    search: Search, k: int
) -> tuple[DataFrame, Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]]:
    """Return the last table of the search, and the function that makes NEIGHBOURS of its partitions."""
    vectors, candidates, cut, scales, only, pairs = search
    recommendable = vectors.join(F.broadcast(candidates.select("movie_id")), "movie_id", how="left_semi")
    wanted = vectors if only is None else vectors.join(F.broadcast(only), "movie_id", how="left_semi")
    # Only ids pass through the one task that numbers them.
    query_block = F.broadcast(wanted.select("movie_id", _in_order(cut.query_blocks).alias("block")))
    queries = _packed(wanted.join(query_block, "movie_id", how="inner"), "query")
    if pairs is not None:
        packed = _packed_pairs(pairs.join(query_block, "movie_id", how="inner"))
        queries = queries.join(packed, "query_block", how="left")
    queries = queries.repartitionById(cut.query_blocks, "query_block")
    item_blocks = cut.pieces * -(-cut.item_blocks // cut.pieces)  # the same number in every piece
    item_block = F.pmod(F.xxhash64("movie_id"), F.lit(item_blocks)).cast("int")
    items = _packed(recommendable.withColumn("block", item_block), "candidate")

    def searched(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, "TopK"]]:
        faiss.omp_set_num_threads(1)  # Spark runs a task on every core already
        faiss.cvar.distance_compute_blas_query_bs = faiss.cvar.distance_compute_blas_database_bs = TILE
        best: dict[int, TopK] = {}
        for batch in batches:
            for row in range(batch.num_rows):
                block = batch.column("query_block")[row].as_py()
                if block not in best:
                    ids, queries = _unpacked(batch, "query", row)
                    best[block] = TopK(ids, queries, k, _unpacked_pairs(batch, ids, row))
                best[block].add(*_unpacked(batch, "candidate", row))
        for block in sorted(best):
            yield block, best[block]

    def search_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return (lists.as_batch(scales) for _, lists in searched(batches))

    def search_piece(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return (lists.packed(block) for block, lists in searched(batches))

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        best: dict[int, Lists] = {}
        for batch in batches:
            for row in range(batch.num_rows):
                ids, best_ids, similarities = _unpacked_lists(batch, row)
                lists = best.setdefault(batch.column("query_block")[row].as_py(), Lists(ids, k))
                lists.merge(best_ids, similarities)
        for block in sorted(best):
            yield best[block].as_batch(scales)

    if cut.pieces == 1:
        return queries.crossJoin(F.broadcast(items)), search_all
    pieces = items.repartitionById(cut.pieces, F.col("candidate_block") % cut.pieces)
    # This hint makes a task of every partition of queries and every piece.
    lists = queries.crossJoin(pieces.hint("shuffle_replicate_nl")).mapInArrow(search_piece, PACKED_LISTS)
    return lists.repartitionById(cut.query_blocks, "query_block"), merge


def cut_of(knobs: NeighboursSettings, *, n_queries: int, n_candidates: int, length: int, cores: int) -> Cut:
    """Return how to cut a search. length: of the vectors.

    Blocks hold at most knobs.query_block and knobs.item_block movies. Every core gets as many blocks of queries, so
    that no core waits at the end. Pieces hold at most knobs.piece_mib MiB of vectors.
    """
    return Cut(
        query_blocks=cores * max(1, -(-n_queries // (knobs.query_block * cores))),
        item_blocks=max(1, -(-n_candidates // knobs.item_block)),
        pieces=max(1, -(-4 * n_candidates * length // (knobs.piece_mib << 20))),
    )


class Pairs(NamedTuple):
    """What single pairs have on top of their inner product: row of the query int64 [p], item id int32 [p] and
    similarity float32 [p], 0 or more."""

    rows: np.ndarray
    ids: np.ndarray
    similarities: np.ndarray


class Lists:
    """The best k items seen so far for each of some queries: best_ids int32 and best float32, [q, at most k], the best
    first, ties by id, filled up with similarity -inf."""

    def __init__(self, ids: np.ndarray, k: int) -> None:
        """ids: int32 [q]."""
        self.ids, self.k = ids, k
        self.best_ids = np.empty((len(ids), 0), np.int32)
        self.best = np.empty((len(ids), 0), np.float32)

    def merge(self, ids: np.ndarray, similarities: np.ndarray) -> None:
        """Merge the best of other items, in the form of Lists. ids int32, similarities float32 [q, m]."""
        if self.best.size:
            ids = np.hstack([self.best_ids, ids])
            similarities = np.hstack([self.best, similarities])
            ids, similarities = _sorted_rows(ids, similarities)
        self.best_ids, self.best = ids[:, : self.k], similarities[:, : self.k]

    def packed(self, block: int) -> pa.RecordBatch:
        """Return one row of PACKED_LISTS."""
        arrays = (np.ascontiguousarray(array).tobytes() for array in (self.ids, self.best_ids, self.best))
        columns = [pa.array([block], pa.int32()), *(pa.array([array], pa.binary()) for array in arrays)]
        return pa.RecordBatch.from_arrays(columns, names=["query_block", "ids", "best_ids", "similarities"])

    def as_batch(self, scales: Scales | None = None) -> pa.RecordBatch:
        """Return the lists as rows of the neighbours table, sorted by movie_id, rank."""
        ids, similarities, weights = self.best_ids, self.best, self.best
        if scales is not None:
            similarities, weights = scales.applied(self.ids, ids, self.best)
            order = np.lexsort((ids, -similarities), axis=1)
            ids = np.take_along_axis(ids, order, axis=1)
            similarities = np.take_along_axis(similarities, order, axis=1)
            weights = np.take_along_axis(weights, order, axis=1)
        real = np.isfinite(similarities)
        rank = np.broadcast_to(np.arange(1, ids.shape[1] + 1, dtype=np.int16), ids.shape)
        movie = np.broadcast_to(self.ids[:, None], ids.shape)
        columns = [movie[real], ids[real], rank[real], similarities[real], weights[real]]
        return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=NEIGHBOURS)


class TopK(Lists):
    """The best k items for each of a block of queries, found block of items by block of items.

    similarity is the float32 inner product as faiss computes it for a single pair: the same two vectors give
    the same bits in whatever block they meet, so that ties are ties and lists do not depend on the blocks.
    """

    def __init__(self, ids: np.ndarray, vectors: np.ndarray, k: int, pairs: Pairs | None = None) -> None:
        """ids: int32 [q]; vectors: float32 [q, rank], finite, else ValueError."""
        _require_finite(vectors)
        super().__init__(ids, k)
        self.vectors, self.pairs = vectors, pairs

    def add(self, item_ids: np.ndarray, items: np.ndarray) -> None:
        """Take a block of items into account. item_ids: int32 [c], rising; items: float32 [c, rank]."""
        _require_finite(items)
        ids, similarities = top_k(self.ids, self.vectors, item_ids, items, self.k)
        if self.pairs is not None:
            ids, similarities = self._with_pairs(self.pairs, ids, similarities, item_ids, items)
        self.merge(ids, similarities)

    def _with_pairs(
        self, pairs: Pairs, ids: np.ndarray, similarities: np.ndarray, item_ids: np.ndarray, items: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the best k of a block's best by inner product alone, [q, m], and of the pairs with these items.

        Nothing else can be among the best: pairs only add, and an item in no pair is beaten by its own list.
        """
        position = np.minimum(np.searchsorted(item_ids, pairs.ids), len(item_ids) - 1)
        here = item_ids[position] == pairs.ids
        rows, paired, position = pairs.rows[here], pairs.ids[here], position[here]
        added = pairs.similarities[here]
        for begin in range(0, len(rows), PAIRS_AT_ONCE):
            part = slice(begin, begin + PAIRS_AT_ONCE)
            queries = self.vectors[rows[part]]
            added[part] += _pair_similarities(queries, items, position[part, None].astype(np.int64))[:, 0]
        # Below the k-th best by inner product alone there is nothing to win.
        good = added >= (similarities[rows, self.k - 1] if similarities.shape[1] == self.k else -np.inf)
        rows, paired, added = rows[good], paired[good], added[good]
        every_row = np.repeat(np.arange(len(ids)), ids.shape[1])
        alone = ~np.isin((every_row << 32) + ids.ravel(), (rows << 32) + paired)
        rows = np.concatenate([every_row[alone], rows])
        flat_ids = np.concatenate([ids.ravel()[alone], paired])
        flat = np.concatenate([similarities.ravel()[alone], added])
        order = np.lexsort((flat_ids, -flat, rows))
        rows, flat_ids, flat = rows[order], flat_ids[order], flat[order]
        column = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = column < self.k
        width = min(self.k, int(column.max(initial=-1)) + 1)
        ids, similarities = np.zeros((len(ids), width), np.int32), np.full((len(ids), width), -np.inf, np.float32)
        ids[rows[kept], column[kept]], similarities[rows[kept], column[kept]] = flat_ids[kept], flat[kept]
        return ids, similarities


def top_k(
    query_ids: np.ndarray, queries: np.ndarray, item_ids: np.ndarray, items: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids int32 and similarities float32, both [q, at most k], best first, ties by id, never oneself.

    query_ids [q], queries [q, rank]; item_ids [c] rising, items [c, rank]; all float32 and finite. Where a
    list is shorter than its row, it is filled up with similarity -inf.

    faiss finds the k + SLACK best by matrix product, whose rounding depends on the shape of the matrices;
    they are scored again pair by pair. Only where rounding could hide one of the best k behind the last one
    found, the row is searched exhaustively.
    """
    found = min(k + 1 + SLACK, len(items))
    rough, positions = faiss.knn(queries, items, found, metric=faiss.METRIC_INNER_PRODUCT)
    similarities = _pair_similarities(queries, items, positions)
    ids = item_ids[positions]
    ids, similarities = _without_self(query_ids, ids, similarities)
    ids, similarities = _sorted_rows(ids, similarities)
    if found < len(items):
        longest = np.sqrt(np.einsum("ij,ij->i", items, items).max())
        lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries))
        rounding = 2.0**-23 * items.shape[1] * lengths * longest
        for row in np.flatnonzero(similarities[:, k - 1] <= rough[:, -1] + rounding):
            every = np.arange(len(items), dtype=np.int64)[None, :]
            exact = _pair_similarities(queries[row : row + 1], items, every)[0]
            exact[item_ids == query_ids[row]] = -np.inf
            order = np.lexsort((item_ids, -exact))[:k]
            ids[row, :k], similarities[row, :k] = item_ids[order], exact[order]
    return ids[:, :k], similarities[:, :k]


def _pair_similarities(queries: np.ndarray, items: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the inner products, float32 [q, m], of each query with the items at its positions, int64 [q, m]."""
    result = np.empty(positions.shape, np.float32)
    pointers = [faiss.swig_ptr(array) for array in (result, queries, items, positions)]
    faiss.fvec_inner_products_by_idx(*pointers, items.shape[1], *positions.shape)
    return result


def _without_self(query_ids: np.ndarray, ids: np.ndarray, similarities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the query itself out of its row: what follows moves up, and the row ends with similarity -inf."""
    own = ids == query_ids[:, None]
    width = ids.shape[1]
    own_column = np.where(own.any(axis=1), own.argmax(axis=1), width)[:, None]
    columns = np.arange(width)
    shifted = np.minimum(columns + (columns >= own_column), width - 1)
    ids = np.take_along_axis(ids, shifted, axis=1)
    similarities = np.take_along_axis(similarities, shifted, axis=1)
    similarities[own_column[:, 0] < width, -1] = -np.inf
    return ids, similarities


def _sorted_rows(ids: np.ndarray, similarities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with the largest similarity first, ties by id; most rows come in order and stay untouched."""
    left, right = similarities[:, :-1], similarities[:, 1:]
    rows = np.flatnonzero(((left < right) | ((left == right) & (ids[:, :-1] > ids[:, 1:]))).any(axis=1))
    order = np.lexsort((ids[rows], -similarities[rows]), axis=1)
    ids[rows] = np.take_along_axis(ids[rows], order, axis=1)
    similarities[rows] = np.take_along_axis(similarities[rows], order, axis=1)
    return ids, similarities


def _packed(vectors: DataFrame, name: str) -> DataFrame:
    """Return one row per block of movies: <name>_block, and their _ids and _vectors (binary) in order of movie_id."""

    def pack(movies: pa.Table) -> pa.Table:
        movies = movies.sort_by("movie_id").combine_chunks()
        ids = movies.column("movie_id").to_numpy().astype(np.int32)
        vectors = movies.column(name).combine_chunks().flatten().to_numpy().astype(np.float32)
        columns = [movies.column("block")[:1], pa.array([ids.tobytes()]), pa.array([vectors.tobytes()])]
        return pa.table(columns, names=[f"{name}_{part}" for part in ("block", "ids", "vectors")])

    schema = f"{name}_block int, {name}_ids binary, {name}_vectors binary"
    return vectors.select("movie_id", name, "block").groupBy("block").applyInArrow(pack, schema)


def _packed_pairs(pairs: DataFrame) -> DataFrame:
    """Return one row per block: query_block, pair_movies, pair_ids, pair_similarities (binary)."""

    def pack(pairs: pa.Table) -> pa.Table:
        pairs = pairs.sort_by("movie_id")
        ids, similarities = (pairs.column(name).to_pylist() for name in ("ids", "similarities"))
        movies = np.repeat(pairs.column("movie_id").to_numpy(), [len(packed) // 4 for packed in ids]).astype(np.int32)
        packed = [pa.array([packed]) for packed in (movies.tobytes(), b"".join(ids), b"".join(similarities))]
        return pa.table([pairs.column("block").combine_chunks()[:1], *packed], names=["query_block", *PAIR_COLUMNS])

    schema = "query_block int, " + ", ".join(f"{name} binary" for name in PAIR_COLUMNS)
    return pairs.groupBy("block").applyInArrow(pack, schema)


def _unpacked_pairs(batch: pa.RecordBatch, query_ids: np.ndarray, row: int) -> Pairs | None:
    """Return the pairs of a packed block of queries; None when the batch knows none."""
    if PAIR_COLUMNS[0] not in batch.schema.names or not batch.column(PAIR_COLUMNS[0])[row].is_valid:
        return None
    buffers = [batch.column(name)[row].as_buffer() for name in PAIR_COLUMNS]
    movies, ids, similarities = map(np.frombuffer, buffers, (np.int32, np.int32, np.float32))
    return Pairs(np.searchsorted(query_ids, movies), ids, similarities)


def _unpacked_lists(batch: pa.RecordBatch, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, best_ids and similarities of a row of PACKED_LISTS, in the form of Lists."""
    buffers = [batch.column(name)[row].as_buffer() for name in ("ids", "best_ids", "similarities")]
    ids, best_ids, similarities = map(np.frombuffer, buffers, (np.int32, np.int32, np.float32))
    return ids, best_ids.reshape(len(ids), -1), similarities.reshape(len(ids), -1)


def _in_order(blocks: int) -> Column:
    """Return the movie's block, 0 to blocks - 1: cut evenly in order of movie_id."""
    return F.ntile(blocks).over(Window.orderBy("movie_id")) - 1


def _unpacked(batch: pa.RecordBatch, name: str, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a packed block's ids, int32 [n], and vectors, float32 [n, rank]; views of the batch, not copies."""
    ids = np.frombuffer(batch.column(f"{name}_ids")[row].as_buffer(), np.int32)
    vectors = np.frombuffer(batch.column(f"{name}_vectors")[row].as_buffer(), np.float32)
    return ids, vectors.reshape(len(ids), -1)


def _require_finite(vectors: np.ndarray) -> None:
    if not np.isfinite(vectors).all():
        raise ValueError("the vectors hold NaN or infinity; try a smaller als.alpha or a larger als.regParam")
