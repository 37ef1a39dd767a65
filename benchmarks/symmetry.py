"""Does it pay to multiply each pair of movies once instead of twice?

    .venv/bin/python benchmarks/symmetry.py [--movies 30000 60000] [--rank 64] [--k 100] [--rounds 3]

Where an inner product is symmetric, half of the products are enough: each block of them then serves two sets of lists,
and the best of its rows and of its columns must both be found. Times that, with numpy's product and faiss's heaps,
beside faiss's fused search of all pairs, on the same vectors and cores, in turns; and the products alone, which no such
search can do without. Writes results/symmetry.md.
"""

import argparse
import statistics

import numpy as np

from benchmarks.neighbours import timed, vectors
from benchmarks.tables import machine, table, write
from pipeline.model.blas import faiss

BLOCK = 4096


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Time a search that uses the symmetry beside one that does not.")
    parser.add_argument("--movies", type=int, nargs="+", default=[30_000, 60_000])
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for n in options.movies:
        matrix = vectors(n, options.rank)
        seconds = [
            (
                timed(lambda matrix=matrix: faiss.knn(matrix, matrix, options.k, metric=faiss.METRIC_INNER_PRODUCT)),
                timed(lambda matrix=matrix: half(matrix, options.k)),
                timed(lambda matrix=matrix: products(matrix)),
            )
            for _ in range(options.rounds)
        ]
        whole, once, bare = map(statistics.median, zip(*seconds, strict=True))
        rows.append([f"{n:,}", f"{whole:.1f}", f"{once:.1f}", f"{once / whole:.2f}", f"{bare:.1f}"])
    heads = ["movies", "faiss, all pairs, s", "each pair once, s", "once / faiss", "of it products alone, s"]
    write(
        "symmetry",
        [
            "# Each pair once",
            "",
            f"Made by `.venv/bin/python benchmarks/symmetry.py` on {machine()}: rank {options.rank}, K = {options.k}, "
            f"blocks of {BLOCK:,}; medians of {options.rounds} rounds in turns. The lists are checked to be faiss's.",
            "",
            *table(heads, rows),
        ],
    )
    small = vectors(BLOCK + 500, options.rank)
    expected, _ = faiss.knn(small, small, options.k, metric=faiss.METRIC_INNER_PRODUCT)
    if not np.allclose(half(small, options.k), expected, atol=1e-3):
        raise SystemExit("error: each pair once found other lists than faiss's")


def half(matrix: np.ndarray, k: int) -> np.ndarray:
    """Return the k best scores of each movie, [n, k], from the products of each pair of blocks once."""
    best = faiss.ResultHeap(len(matrix), k, keep_max=True)
    for begin in range(0, len(matrix), BLOCK):
        for other in range(begin, len(matrix), BLOCK):
            block = matrix[begin : begin + BLOCK] @ matrix[other : other + BLOCK].T
            add(best, block, begin, other)
            if other != begin:
                add(best, np.ascontiguousarray(block.T), other, begin)
    best.finalize()
    return best.D


def add(best: faiss.ResultHeap, block: np.ndarray, begin: int, other: int) -> None:
    """Offer a block of scores, [queries, items], of the movies from begin and from other on."""
    best.heaps.addn(block.shape[1], faiss.swig_ptr(block), other, begin, len(block))


def products(matrix: np.ndarray) -> None:
    """Multiply each pair of blocks once."""
    for begin in range(0, len(matrix), BLOCK):
        for other in range(begin, len(matrix), BLOCK):
            matrix[begin : begin + BLOCK] @ matrix[other : other + BLOCK].T


if __name__ == "__main__":
    main()
