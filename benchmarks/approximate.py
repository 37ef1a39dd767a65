"""How much faster is the approximate search on real vectors, and how much of the exact lists does it find?

    ./spark-submit.sh benchmarks/approximate.py [--recall 0.95 0.99] [--rounds 3] [--set data.dir=DIR ...]

Trains once, then makes the lists exactly and approximately in turns, from factors and likes to Parquet, as
jobs/build_neighbours.py does; what does not depend on the search is made beforehand. Prints a table and writes
results/approximate.md, rows for each data set.
"""

import argparse
import shutil
import statistics
import time

from benchmarks.tables import machine, rows_so_far, table, write
from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest, train
from pipeline.config import Settings, changed
from pipeline.model.lists import Learned, lists
from pipeline.model.neighbours import movies_sample, recall_of

HEADS = ["titles", "may be listed", "K", "recall asked for", "recall", "titles in lists", "of them exactly",
         "seconds", "exact, seconds", "exact / approximate"]  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--recall", type=float, nargs="+", default=[0.95, 0.99])
    parser.add_argument("--rounds", type=int, default=3)


def main(run: Run) -> None:
    """Train, search in turns, compare."""
    run.start_build("approximate")
    ratings, movies, words = ingest(run)
    learned = Learned(ratings, movies, words, run.cores, train(run, ratings, movies))
    kinds = [("exact", 1.0), *(("approximate", recall) for recall in run.options.recall)]
    seconds, found = {kind: [] for kind in kinds}, {}
    lists(searched(run.config, *kinds[0]), learned, movies_sample(movies, "measure")).count()  # learns what all need
    for _ in range(run.options.rounds):
        for kind in kinds:
            begin = time.monotonic()
            neighbours = run.save("neighbours", lists(searched(run.config, *kind), learned))
            seconds[kind].append(time.monotonic() - begin)
            exact = lists(searched(run.config, *kinds[0]), learned, movies_sample(movies, "measure"))
            recall = recall_of(neighbours, exact)
            found[kind] = recall, neighbours.select("neighbour_id").distinct().count()
            run.say(f"{kind[0]} {kind[1]}: {seconds[kind][-1]:.1f} s, recall {recall:.4f}")
    n_movies = movies.count()
    candidates = movies.where(movies.n_ratings >= run.config.neighbours.min_support).count()
    whole = statistics.median(seconds[kinds[0]])
    rows = [
        [
            f"{n_movies:,}", f"{candidates:,}", f"{run.config.neighbours.k}", f"{kind[1]}",
            f"{found[kind][0]:.4f}", f"{found[kind][1]:,}", f"{found[kinds[0]][1]:,}",
            f"{statistics.median(seconds[kind]):.1f}", f"{whole:.1f}",
            f"{whole / statistics.median(seconds[kind]):.2f}",
        ]
        for kind in kinds[1:]
    ]  # fmt: skip
    write(
        "approximate",
        [
            "# The approximate search",
            "",
            f"Made by `./spark-submit.sh benchmarks/approximate.py --set data.dir=DIR` on {machine(run.cores)}: "
            f"{run.config.neighbours.similarity} vectors, medians of {run.options.rounds} rounds in turns, factors "
            "to Parquet; the recall of 1,000 titles other than those that the search is set by.",
            "",
            *table(HEADS, [*(row for row in rows_so_far("approximate") if row[0] != rows[0][0]), *rows]),
        ],
    )
    shutil.rmtree(run.build.path)


def searched(config: Settings, search: str, recall: float) -> Settings:
    """Return the configuration with this search."""
    return changed(config, {"neighbours.search": search, "neighbours.recall": recall})


if __name__ == "__main__":
    start(main, __doc__, options)
