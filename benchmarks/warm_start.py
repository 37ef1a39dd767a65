"""How many iterations does training need that begins with the factors from before some ratings came in?

    ./spark-submit.sh benchmarks/warm_start.py [--new 0.05] [--set data.dir=DIR]

Of the users who are not asked, the newest ratings (--new: their share) are the new ones. Trains als.solver
conjugate_gradient on the ratings before them, then on all, cold and from these factors, with more and more iterations.
Beside each: the loss that implicit ALS minimises over all users and movies, beside that of --last iterations, and how
good the lists are for strangers with five favourites, who are in neither training. Prints a table and writes
results/warm_start.md.
"""

import argparse

import numpy as np
import pyarrow as pa
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.tables import machine, table, write
from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest
from pipeline.config import Settings, changed
from pipeline.evaluation import metrics, protocol
from pipeline.evaluation.experiment import as_catalogue, served_lists, with_support
from pipeline.model.als import fit, item_factors_table, likes_table
from pipeline.model.lists import Learned
from pipeline.model.popularity import popular

ASKED = ("strangers", 5)
ITERATIONS = (1, 2, 3, 5, 7, 10)


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this benchmark takes."""
    parser.add_argument("--new", type=float, default=0.05, help="share of the ratings that came in since")
    parser.add_argument("--last", type=int, default=40, help="iterations whose loss stands for the least")


def main(run: Run) -> None:
    """Train and measure."""
    run.start_build("benchmark")
    settings = {"als.solver": "conjugate_gradient", "als.warm_start": True}
    config = changed(run.config, settings)
    ratings, movies, words = ingest(run)
    knobs = config.evaluation
    splits = protocol.strangers(
        ratings, part="test", like_rating=knobs.like_rating, max_users=knobs.max_users, seed=knobs.seed,
        folds=knobs.folds, draws=knobs.draws, min_targets=knobs.min_targets,
    )  # fmt: skip
    split = next(iter(splits))
    after = split.training.persist()
    since = after.agg(F.percentile_approx("rated_at", 1 - run.options.new, 100_000)).head()[0]
    before = after.where(F.col("rated_at") <= since)
    n_after, n_before = after.count(), before.count()
    movies = with_support(movies, after).persist()
    asked, popularity = split.requests[ASKED], popular(config, after, movies).toArrow()
    catalogue = as_catalogue(movies)
    likes = likes_table(after, **vars(config.likes)).toArrow()

    def trained(n_iterations: int, ratings: DataFrame, start: DataFrame | None = None) -> ALSModel:
        return fit(changed(config, {"als.maxIter": n_iterations}), ratings, run.cores, start)

    def quality(model: ALSModel) -> dict[str, float]:
        learned = Learned(after, movies, words, run.cores, item_factors_table(model).persist())
        answers = served_lists(config, learned, popularity, {ASKED: asked})[ASKED]
        learned.forget()
        measures = metrics.per_request(answers, asked.targets, 10, catalogue)
        return {name: float(np.mean(measures[name])) for name in ("ndcg", "recall")}

    factors_before = item_factors_table(trained(config.als.maxIter, before)).persist()
    least = loss(trained(run.options.last, after, factors_before), likes, config)
    rows = []
    for n_iterations in ITERATIONS:
        for name, start_ in (("cold", None), ("warm", factors_before)):
            model = trained(n_iterations, after, start_)
            good = quality(model)
            above = loss(model, likes, config) / least - 1
            rows.append([str(n_iterations), name, f"{above:.2%}", f"{good['ndcg']:.4f}", f"{good['recall']:.4f}"])
            run.say(" ".join(rows[-1]))
    write(
        "warm_start",
        [
            "# Training from the factors before",
            "",
            f"Made by `./spark-submit.sh benchmarks/warm_start.py` on {machine(run.cores)}: {n_after:,} ratings, of "
            f"which the newest {n_after - n_before:,} came in since; rank {config.als.rank}. Loss: above that of "
            f"{run.options.last} iterations from the factors before. nDCG@10 and recall@10: {len(asked.users):,} "
            "requests of strangers with 5 favourites.",
            "",
            *table(["iterations", "start", "loss above the least", "nDCG@10", "recall@10"], rows),
        ],
    )


def loss(model: ALSModel, likes: pa.Table, config: Settings) -> float:
    """Return what implicit ALS minimises, over all users and movies; likes: user_id, movie_id, weight."""
    sides = [side.orderBy("id").toArrow() for side in (model.userFactors, model.itemFactors)]
    ids = [side.column("id").to_numpy() for side in sides]
    factors = [np.stack(side.column("features").to_numpy(zero_copy_only=False)).astype(np.float64) for side in sides]
    users, movies = (factors[side][np.searchsorted(ids[side], likes.column(side).to_numpy())] for side in (0, 1))
    predicted, confidence = (users * movies).sum(axis=1), 1 + config.als.alpha * likes.column("weight").to_numpy()
    everywhere = np.sum((factors[0].T @ factors[0]) * (factors[1].T @ factors[1]))  # predictions, squared
    liked = np.sum(confidence * (1 - predicted) ** 2 - predicted**2)
    return everywhere + liked + config.als.regParam * sum(np.sum(side**2) for side in factors)


if __name__ == "__main__":
    start(main, __doc__.splitlines()[0], options)
