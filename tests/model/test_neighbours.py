"""The lists are exactly those of brute force, however the work was cut."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from pipeline import config, schemas
from pipeline.model.neighbours import (
    NEIGHBOURS,
    Cut,
    Search,
    TopK,
    cut_of,
    neighbours_table,
    write_neighbours,
)
from pipeline.model.task_files import ROWS, TaskFiles
from pipeline.model.vectors import Scales

SCHEMA = "movie_id int, query array<float>, candidate array<float>"


def brute_force(ids, vectors, candidates, k):
    """All (movie, neighbour, rank, similarity, weight), from the full matrix; whole numbers, so every sum is exact."""
    similarity = vectors.astype(np.float64) @ vectors.T
    rows = []
    for i, movie in enumerate(ids):
        others = sorted((-similarity[i, j], other) for j, other in enumerate(ids) if j != i and other in candidates)
        rows += [(movie, other, rank, -value, -value) for rank, (value, other) in enumerate(others[:k], 1)]
    return rows


def grid(n, rank, seed, spread=3):
    """Vectors of small whole numbers: full of ties, and exact in any order of summation."""
    return np.random.default_rng(seed).integers(-spread, spread + 1, (n, rank)).astype(np.float32)


def lists(batch):
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


@pytest.mark.parametrize(
    ("n", "rank", "k", "block"), [(300, 2, 7, 40), (300, 8, 50, 300), (40, 3, 100, 7), (900, 4, 20, 900)]
)
def test_kernel_equals_brute_force_ties_included(n, rank, k, block):
    ids, vectors = np.arange(n, dtype=np.int32) * 3 + 1, grid(n, rank, seed=n)
    best = TopK(ids, vectors, k)
    for begin in np.random.default_rng(1).permutation(range(0, n, block)):
        best.add(ids[begin : begin + block], vectors[begin : begin + block])
    assert lists(best.as_batch()) == brute_force(ids.tolist(), vectors, set(ids.tolist()), k)


def test_identical_vectors_are_ties_in_whatever_block_they_stand():
    """Rounding of a matrix product depends on the place in the matrix; the lists must not."""
    rng = np.random.default_rng(0)
    few = rng.standard_normal((5, 64)).astype(np.float32)
    ids, vectors = np.arange(1000, dtype=np.int32), few[rng.integers(0, 5, 1000)]
    results = []
    for block in (1000, 333, 64):
        best = TopK(ids, vectors, 30)
        for begin in range(0, 1000, block):
            best.add(ids[begin : begin + block], vectors[begin : begin + block])
        results.append(lists(best.as_batch()))
    assert results[0] == results[1] == results[2]
    for (movie, neighbour, _, value, _), (next_movie, next_neighbour, _, next_value, _) in itertools.pairwise(
        results[0]
    ):
        if movie == next_movie:
            assert (value, -neighbour) > (next_value, -next_neighbour)
    assert len(results[0]) == 30_000


def test_cuts_give_every_core_as_many_blocks_and_keep_pieces_small():
    knobs = config.load([], ["neighbours.query_block=4096", "neighbours.piece_mib=256"]).neighbours
    assert cut_of(knobs, n_queries=60_000, n_candidates=60_000, length=64, cores=2) == Cut(16, 1, 1)
    assert cut_of(knobs, n_queries=3, n_candidates=0, length=64, cores=4) == Cut(4, 1, 1)
    # A million vectors of 256 bytes are 244 MiB, of 512 bytes 488.
    assert cut_of(knobs, n_queries=10, n_candidates=10**6, length=64, cores=4) == Cut(4, 16, 1)
    assert cut_of(knobs, n_queries=10, n_candidates=10**6, length=128, cores=4).pieces == 2


def test_three_four_five():
    """(3, 4) is nearer to (6, 8) than to (5, 0): inner products 50 and 15, worked by hand."""
    ids, vectors = np.array([1, 2, 3], np.int32), np.array([[3, 4], [6, 8], [5, 0]], np.float32)
    best = TopK(ids[:1], vectors[:1], 2)
    best.add(ids, vectors)
    assert lists(best.as_batch()) == [(1, 2, 1, 50.0, 50.0), (1, 3, 2, 15.0, 15.0)]


@pytest.mark.parametrize("pieces", [1, 3])
def test_scores_choose_similarities_order_and_weights_count(spark, pieces):
    """The scores 8, 6 and 4 put titles 4, 3 and 2 on the list. Their similarities, the scores divided by both lengths,
    put 2 first. The expected values were calculated on paper."""
    vectors = [(1, [1.0], [9.0]), (2, [1.0], [4.0]), (3, [1.0], [6.0]), (4, [1.0], [8.0]), (5, [1.0], [1.0])]
    lengths = np.array([1.0, 4.0, 8.0, 16.0, 1.0])  # of 5 the similarity is 0.5, too, but its score is the least
    scales = Scales(np.arange(1, 6), np.full(5, 2.0), lengths, np.full(5, 0.5), np.array([1.0, 2, 3, 4, 5]))
    frame = spark.createDataFrame(vectors, SCHEMA)
    rows = neighbours_table(Search(frame, frame.where("movie_id > 1"), Cut(2, 3, pieces), scales), k=3).collect()
    assert [tuple(row) for row in rows if row.movie_id == 1] == [
        (1, 2, 1, 0.5, 4.0), (1, 3, 2, 0.375, 9.0), (1, 4, 3, 0.25, 16.0),
    ]  # fmt: skip


def test_vectors_that_are_not_finite_raise():
    vectors = np.array([[1, np.nan]], np.float32)
    with pytest.raises(ValueError, match="NaN"):
        TopK(np.array([1], np.int32), vectors, 1)


@pytest.mark.parametrize(
    ("partitions", "query_blocks", "item_blocks", "pieces"),
    [(1, 1, 1, 1), (3, 2, 1, 1), (7, 5, 3, 1), (3, 1, 2, 2), (5, 3, 9, 4)],
)
def test_table_is_the_same_however_it_was_cut(spark, partitions, query_blocks, item_blocks, pieces):
    ids, vectors = list(range(1, 201)), grid(200, 6, seed=5)
    frame = spark.createDataFrame(
        [(i, v.tolist(), v.tolist()) for i, v in zip(ids, vectors, strict=True)], SCHEMA
    ).repartition(partitions, F.hash("movie_id"))
    candidates = frame.where("movie_id % 3 != 0").select("movie_id")
    table = neighbours_table(Search(frame, candidates, Cut(query_blocks, item_blocks, pieces)), k=12)
    rows = [tuple(row) for row in table.collect()]
    assert rows == brute_force(ids, vectors, {i for i in ids if i % 3 != 0}, 12)
    kinds = ["int", "int", "smallint", "float", "float"]
    assert table.dtypes == list(zip(schemas.names("neighbours"), kinds, strict=True))


def test_pieces_make_the_same_lists_to_the_last_bit(spark):
    """Vectors that are not whole numbers, and many of them twice: rounding and ties must not depend on the pieces."""
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((150, 64)).astype(np.float32)[rng.integers(0, 150, 400)]
    frame = spark.createDataFrame([(i, v.tolist(), v.tolist()) for i, v in enumerate(vectors)], SCHEMA).persist()
    cuts = [Cut(3, 1), Cut(3, 6, 3), Cut(3, 5, 5)]
    whole, *cut = ([tuple(r) for r in neighbours_table(Search(frame, frame, c), k=20).collect()] for c in cuts)
    assert len(whole) == 400 * 20
    assert cut == [whole, whole]


@pytest.mark.parametrize("pieces", [1, 3])
def test_more_blocks_than_movies_and_lists_longer_than_the_catalogue(spark, pieces):
    frame = spark.createDataFrame([(1, [3.0, 4.0], [1.0, 1.0]), (2, [6.0, 8.0], [2.0, 0.0])], SCHEMA)
    rows = neighbours_table(Search(frame, frame, Cut(4, 3, pieces)), k=9).collect()
    assert [tuple(row) for row in rows] == [(1, 2, 1, 6.0, 6.0), (2, 1, 1, 14.0, 14.0)]


@pytest.mark.parametrize("pieces", [1, 2])
def test_tasks_write_the_rows_that_the_table_has(spark, tmp_path, pieces):
    """Movies 1 to 40 in five blocks; what an attempt that Spark does not count has written is not kept."""
    ids, vectors = list(range(1, 41)), grid(40, 6, seed=5)
    frame = spark.createDataFrame([(i, v.tolist(), v.tolist()) for i, v in zip(ids, vectors, strict=True)], SCHEMA)
    search = Search(frame, frame, Cut(5, 2, pieces))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "part-00007.zstd.parquet").write_text("of a run before")
    parts = TaskFiles(tmp_path / "lists", NEIGHBOURS)
    attempts = [row.attempt for row in write_neighbours(search, parts, k=12).collect()]
    (parts.aside / "part-00000.4711").write_text("half a file")
    parts.keep(attempts)
    files = sorted(parts.folder.iterdir())
    assert [path.name for path in files] == [f"part-{number:05d}.zstd.parquet" for number in range(5)]
    rows = [tuple(row.values()) for path in files for row in pq.read_table(path).to_pylist()]
    assert rows == [tuple(row) for row in neighbours_table(search, k=12).collect()] and len(rows) == 40 * 12
    column = pq.ParquetFile(files[0]).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD" and column.statistics.max == 8


def test_a_part_has_row_groups_of_a_bounded_size_and_nothing_makes_no_part(spark, tmp_path):
    def make(batches):
        for batch in batches:
            for number in batch.column("id").to_pylist():
                yield pa.record_batch({"number": np.full(ROWS * number, number)})

    parts = TaskFiles(tmp_path / "numbers", pa.schema([("number", pa.int64())]))
    written = spark.range(3, numPartitions=3).mapInArrow(lambda batches: parts.write(make(batches)), parts.COLUMNS)
    parts.keep(row.attempt for row in written.collect())
    groups = {}
    for path in parts.folder.iterdir():
        metadata = pq.ParquetFile(path).metadata
        groups[path.name] = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == {"part-00001.zstd.parquet": [ROWS], "part-00002.zstd.parquet": [ROWS, ROWS]}
