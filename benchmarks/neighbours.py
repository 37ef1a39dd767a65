"""How near is the neighbour stage to the matrix product that it cannot do without?

    ./spark-submit.sh benchmarks/neighbours.py [--movies 30000 60000 120000] [--rank 64] [--k 100] [--rounds 5]
        [--queries N] [--spectral] [--set neighbours.KEY=VALUE ...]

Times pipeline.model.neighbours on random vectors in a warm session, from vectors to Parquet, beside three peers on the
same vectors and cores: faiss's exact search alone, numpy in blocks (product, argpartition, sort), and Spark's own
nearestByJoin; the last two on a part of the queries, in proportion. All take turns, round by round: a ratio is the
median of the rounds' ratios. With --queries only so many movies are looked up, by stage and faiss alike, against all
candidates: the memory of a task is the same. With --spectral the driver makes the vectors as it does by default, from
random eigenpairs of that rank and random genres, years and words. Memory: the most that JVM, driver and workers held
at once while vectors were made and the stage ran. Prints a table and writes results/neighbours.md, with --queries
results/neighbours_part.md.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.memory import peak
from benchmarks.tables import machine, table, write
from pipeline import config
from pipeline.batch.session import session
from pipeline.model.blas import faiss
from pipeline.model.content import WORD_COLUMNS, Content
from pipeline.model.neighbours import NEIGHBOURS, Cut, Search, cut_of, write_neighbours
from pipeline.model.spectral import KNOBS, Spectrum, spectral_vectors
from pipeline.model.task_files import TaskFiles
from pipeline.model.vectors import Scales, as_lists, as_matrix
from pipeline.schemas import VECTORS
from pipeline.settings import NeighboursSettings

NUMPY_QUERIES = 4096  # of all; in proportion
JOIN_MOVIES = 1000  # queries and candidates of nearestByJoin; in proportion to the pairs
CONTENT = (20, 13, WORD_COLUMNS)  # columns for genres, decades and words: as many as MovieLens has
HEADS = ["movies", "looked up", "pieces", "neighbour stage, s", "faiss alone, s", "stage / faiss", "numpy / stage",
         "nearestByJoin / stage", "ns per pair", "memory, GiB", "of it JVM", "peak of a worker, MiB"]  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Time the neighbour stage beside its peers.")
    parser.add_argument("--movies", type=int, nargs="+", default=[30_000, 60_000, 120_000])
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, metavar="N", help="look up so many movies only")
    parser.add_argument("--spectral", action="store_true", help="vectors as the default makes them, on the driver")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="neighbours.KEY=VALUE")
    options = parser.parse_args()
    knobs = config.load([], [f"neighbours.k={options.k}", *options.settings]).neighbours
    spark = session("neighbours")
    cores = spark.sparkContext.defaultParallelism
    make = spectral if options.spectral else random
    stage(spark, *make(2000, options.rank), 2000, knobs, cores)  # warms the session and its workers
    rows = [
        measured(spark, lambda: make(n, options.rank), min(options.queries or n, n), knobs, cores, options.rounds)  # noqa: B023
        for n in options.movies
    ]
    heap = spark.conf.get("spark.driver.memory", "1g")
    part = f"; {options.queries:,} movies looked up against all" if options.queries else ""
    length = options.rank + sum(CONTENT)
    kind = f"spectral vectors of length {length}, made by the driver" if options.spectral else "random vectors"
    write(
        "neighbours_part" if options.queries else "neighbours",
        [
            "# The neighbour stage" + " for a part of the movies" * bool(options.queries),
            "",
            f"Made by `./spark-submit.sh benchmarks/neighbours.py {' '.join(sys.argv[1:])}` on {machine(cores)}, "
            f"{heap} of them Java's heap at most. Rank {options.rank}, K = {options.k}; {kind}{part}. Peers in "
            f"the same run on the same vectors and cores; numpy on {NUMPY_QUERIES:,} queries and nearestByJoin on "
            f"{JOIN_MOVIES:,} squared, in proportion. {options.rounds} rounds in turns: medians, of the ratio "
            "to faiss also the least and the largest. Memory: the most that JVM, driver and workers held at once while "
            "vectors were made and the stage ran, shared pages for each.",
            "",
            *table(HEADS, rows),
        ],
    )
    spark.stop()


def measured(
    spark: SparkSession,
    make: Callable[[], tuple[pa.Table, Scales | None]],
    n_queries: int,
    knobs: NeighboursSettings,
    cores: int,
    rounds: int,
) -> list[str]:
    """Return a row of the table: the first n_queries of the movies that make() returns looked up among all."""
    with peak(application()) as memory:
        made, scales = make()
        stage(spark, made, scales, n_queries, knobs, cores)
    queries, matrix = (as_matrix(made.column(name).combine_chunks()) for name in ("query", "candidate"))
    (n, rank), k, queries = matrix.shape, knobs.k, queries[:n_queries]
    part = queries[:NUMPY_QUERIES]
    small = spark.createDataFrame(random(JOIN_MOVIES, rank)[0], VECTORS).persist()
    small.count()
    faiss.omp_set_num_threads(cores)
    seconds = np.array([
        (
            stage(spark, made, scales, n_queries, knobs, cores),
            timed(lambda: faiss.knn(queries, matrix, k, metric=faiss.METRIC_INNER_PRODUCT)),
            timed(lambda: numpy_blocks(part, matrix, k)) * n_queries / len(part),
            timed(lambda: nearest_by_join(small, k)) * (n / JOIN_MOVIES) * (n_queries / JOIN_MOVIES),
        )
        for _ in range(rounds)
    ])  # fmt: skip
    ours, alone, blocks, join = seconds.T
    to_faiss = ours / alone
    return [
        f"{n:,}", f"{n_queries:,}", f"{cut(n_queries, made, knobs, cores).pieces}",
        f"{np.median(ours):.1f}", f"{np.median(alone):.1f}",
        f"{np.median(to_faiss):.2f} ({to_faiss.min():.2f} to {to_faiss.max():.2f})",
        f"{np.median(blocks / ours):.1f}", f"{np.median(join / ours):,.0f}",
        f"{np.median(ours) / n / n_queries * 1e9:.2f}",
        f"{memory.total / 2**30:.1f}", f"{memory.java / 2**30:.1f}", worker_peak(),
    ]  # fmt: skip


def application() -> int:
    """Return the process that all others of this application descend from: spark-submit's Java, or this Python."""
    parent = os.getppid()
    return parent if "java" in Path(f"/proc/{parent}/comm").read_text() else os.getpid()


def worker_peak() -> str:
    """Return the largest resident memory of a Python worker that is alive, in MiB; '?' where /proc is missing."""
    peaks = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"pyspark.daemon" in (process / "cmdline").read_bytes():
                status = (process / "status").read_text()
                peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
        except (OSError, IndexError):
            continue
    return f"{max(peaks):,.0f}" if peaks else "?"


def vectors(n: int, rank: int) -> np.ndarray:
    """Return random vectors, float32 [n, rank]; none is a copy of another."""
    return np.random.default_rng(n).standard_normal((n, rank)).astype(np.float32)


def random(n: int, rank: int) -> tuple[pa.Table, None]:
    """Return movie_id, query and candidate, random vectors that are the same in both; none is a copy of another."""
    lists = as_lists(vectors(n, rank))
    return pa.table([np.arange(n, dtype=np.int32), lists, lists], names=["movie_id", "query", "candidate"]), None


def spectral(n: int, rank: int) -> tuple[pa.Table, Scales]:
    """Return movie_id, query and candidate, and their Scales, as jobs/build_neighbours.py makes them by default, from
    random numbers."""
    rng = np.random.default_rng(n)
    likers = rng.pareto(1.0, n) + 1
    known = Spectrum(np.arange(n, dtype=np.int32), likers, rng.standard_normal((n, rank)), rng.random(rank), n, 10.0)
    described = Content(*(rng.random((n, columns)) for columns in CONTENT))
    weights = vars(config.load([], []).spectral)
    return spectral_vectors(known, described, **{name: weights[name] for name in KNOBS})


def stage(
    spark: SparkSession,
    made: pa.Table,
    scales: Scales | None,
    n_queries: int,
    knobs: NeighboursSettings,
    cores: int,
) -> float:
    """Return the seconds from vectors in Spark's memory to lists in Parquet, as jobs/build_neighbours.py cuts them."""
    table = spark.createDataFrame(made, VECTORS)
    table.count()
    folder = tempfile.mkdtemp()
    movies = table.select("movie_id")
    only = None if n_queries == made.num_rows else movies.where(F.col("movie_id") < n_queries)
    parts = TaskFiles(Path(folder) / "lists", NEIGHBOURS)
    search = Search(table, movies, cut(n_queries, made, knobs, cores), scales, only)
    written = write_neighbours(search, parts, k=knobs.k)
    seconds = timed(lambda: parts.keep(row.attempt for row in written.collect()))
    shutil.rmtree(folder)
    return seconds


def cut(n_queries: int, made: pa.Table, knobs: NeighboursSettings, cores: int) -> Cut:
    """Return how the search is cut."""
    length = len(made.column("candidate")[0])
    return cut_of(knobs, n_queries=n_queries, n_candidates=made.num_rows, length=length, cores=cores)


def numpy_blocks(queries: np.ndarray, items: np.ndarray, k: int, block: int = 512) -> None:
    """Find the k best items of each query with numpy alone."""
    for begin in range(0, len(queries), block):
        scores = queries[begin : begin + block] @ items.T
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        np.take_along_axis(scores, best, axis=1).sort(axis=1)


def nearest_by_join(movies: DataFrame, k: int) -> None:
    """Find the k best candidates of each query with Spark's own join."""
    queries = movies.select(F.col("movie_id").alias("of_id"), "query")
    ranking = F.vector_inner_product(F.col("query"), F.col("candidate"))
    items = movies.select("movie_id", "candidate")
    joined = queries.nearestByJoin(items, ranking, k, mode="exact", direction="similarity")
    joined.select("of_id", "movie_id").write.format("noop").mode("overwrite").save()


def timed(action) -> float:
    """Return the seconds that the action takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
