"""How fast is training, by Spark ML and by conjugate gradients, beside implicit's solvers?

    ./spark-submit.sh benchmarks/training.py DIR [--rank 64] [--iterations 10] [--rounds 3]

DIR: a data set as benchmarks/grow.py writes it. Trains on its likes with the configured parameters: both values of
als.solver from a persisted table of likes to factors, and implicit 0.7.3, Cholesky and conjugate gradients, from a
sparse matrix in memory, with as many threads as Spark has cores. All take turns. Prints a table, and where Spark ML
spends its time, by its tasks' stacks and by Spark's own metrics, and writes results/training.md; for Spark without its
native BLAS, in another file, put --conf spark.driver.extraJavaOptions=-Xss16m before benchmarks/. Spark ML's rounds are
the dear ones: --rounds 1 for large data.
"""

import argparse
import collections
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from pyspark.sql import DataFrame, SparkSession
from threadpoolctl import threadpool_limits

from benchmarks.tables import machine, table, write
from pipeline import config
from pipeline.batch.session import session
from pipeline.model.als import item_factors_table, likes_table, train_als

# What Spark adds up for every stage, and the parts of a second that it counts in; pauses of the collector are counted
# for each task that waits.
TIMES = {
    "tasks": ("executorRunTime", 1e3),
    "collecting garbage": ("jvmGcTime", 1e3),
    "waiting for shuffles": ("shuffleFetchWaitTime", 1e3),
    "writing shuffles": ("shuffleWriteTime", 1e9),
    "serialising results": ("resultSerializationTime", 1e3),
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Time training beside implicit.")
    parser.add_argument("dir", metavar="DIR")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    spark = session("training")
    spark.sparkContext.setLogLevel("ERROR")
    cores = spark.sparkContext.defaultParallelism
    blas = getattr(getattr(spark._jvm.org.apache.spark.ml.linalg, "BLAS$"), "MODULE$").nativeBLAS()
    blas = blas.getClass().getSimpleName()
    configured = config.load()
    params = {**vars(configured.als), "rank": options.rank, "maxIter": options.iterations}
    likes = likes_table(spark.read.parquet(f"{options.dir}/ratings"), **vars(configured.likes)).persist()
    n_likes = likes.count()
    matrix = as_matrix(likes, params["alpha"])
    trainers = {
        "Spark ML (als.solver: spark)": lambda: spark_seconds(likes, cores, {**params, "solver": "spark"}),
        "als.solver: conjugate_gradient": lambda: spark_seconds(
            likes, cores, {**params, "solver": "conjugate_gradient"}
        ),
        "implicit, Cholesky": lambda: implicit_seconds(matrix, cores, params, cg=False),
        "implicit, conjugate gradients": lambda: implicit_seconds(matrix, cores, params, cg=True),
    }
    samples: collections.Counter = collections.Counter()
    told: collections.Counter = collections.Counter()
    trainers["Spark ML (als.solver: spark)"] = sampled(spark, samples, told, trainers["Spark ML (als.solver: spark)"])
    rounds = [{name: train() for name, train in trainers.items()} for _ in range(options.rounds)]
    rows = []
    for name in trainers:
        seconds = [each[name] for each in rounds]
        ratios = [
            statistics.median(each[name] / each[peer] for each in rounds)
            for peer in ("implicit, Cholesky", "implicit, conjugate gradients")
        ]
        per_like = statistics.median(seconds) / n_likes / options.iterations / 2 * 1e9
        rows.append(
            [name, f"{statistics.median(seconds):.1f}", f"{per_like:.0f}", *(f"{ratio:.2f}" for ratio in ratios)]
        )
    native = blas == "JNIBLAS"
    options_of_java = "" if native else "--conf spark.driver.extraJavaOptions=-Xss16m "
    write(
        "training" if native else "training_without_native_blas",
        [
            "# Training" if native else "# Training without a native BLAS",
            "",
            f"Made by `./spark-submit.sh {options_of_java}benchmarks/training.py DIR` on {machine(cores)}: {n_likes:,} "
            f"likes of {matrix.shape[0]:,} users and {matrix.shape[1]:,} movies, rank {options.rank}, "
            f"{options.iterations} iterations. {options.rounds} rounds in turns: medians. ns: per like, iteration and "
            f"side. Spark's BLAS: {blas}.",
            "",
            *table(["trainer", "s", "ns", "/ implicit, Cholesky", "/ implicit, conjugate gradients"], rows),
            "",
            "Where Spark ML's tasks were, looked at once a second: the method on top of the stack.",
            "",
            *table(
                ["method", "share"],
                [[name, f"{n / samples.total():.0%}"] for name, n in samples.most_common(6)],
            ),
            "",
            "What the stacks of tasks do not show, from Spark's own metrics of its stages: of the tasks' time "
            + ", ".join(f"{told[name] / told['tasks']:.1%} {name}" for name in list(TIMES)[1:])
            + f"; {told['MiB'] / options.rounds:,.0f} MiB read from shuffles a round.",
        ],
    )
    spark.stop()


def as_matrix(likes: DataFrame, alpha: float) -> sp.csr_matrix:
    """Return users x movies with their confidences, float32."""
    read = likes.toArrow()
    users, movies = (np.unique(read.column(i).to_numpy(), return_inverse=True)[1] for i in (0, 1))
    return sp.csr_matrix((1 + alpha * read.column(2).to_numpy().astype(np.float32), (users, movies)))


def stages(spark: SparkSession) -> list:
    """Return what Spark's status store knows of every stage so far."""
    none, quantiles = spark._jvm.java.util.ArrayList(), spark._sc._gateway.new_array(spark._jvm.double, 0)
    found = spark._jsc.sc().statusStore().stageList(none, False, False, quantiles, none)
    return [found.apply(number) for number in range(found.size())]


def sampled(
    spark: SparkSession, samples: collections.Counter, told: collections.Counter, train: Callable[[], float]
) -> Callable[[], float]:
    """Return the trainer with somebody who counts, each second that it runs, what the tasks' threads are at, and what
    Spark's metrics tell of its stages: seconds by TIMES, and MiB."""

    def watched() -> float:
        done = threading.Event()
        last = max((stage.stageId() for stage in stages(spark)), default=-1)

        def look() -> None:
            while not done.wait(1):
                for entry in spark._jvm.java.lang.Thread.getAllStackTraces().entrySet():
                    if entry.getKey().getName().startswith("Executor task launch worker"):
                        stack = list(entry.getValue())
                        if stack and not stack[0].getMethodName().startswith("park"):
                            samples[f"{stack[0].getClassName()}.{stack[0].getMethodName()}"] += 1

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            return train()
        finally:
            done.set()
            watcher.join()
            for stage in stages(spark):
                if stage.stageId() > last:
                    told.update({name: getattr(stage, field)() / unit for name, (field, unit) in TIMES.items()})
                    told["MiB"] += stage.shuffleReadBytes() / 2**20

    return watched


def spark_seconds(likes: DataFrame, cores: int, params: dict) -> float:
    """Return the seconds from likes to item factors."""
    return timed(
        lambda: item_factors_table(train_als(likes, blocks=cores, **params)).write.format("noop").mode("append").save()
    )


def implicit_seconds(matrix: sp.csr_matrix, cores: int, params: dict, *, cg: bool) -> float:
    """Return the seconds that implicit takes for the same iterations."""
    with threadpool_limits(1, "blas"):  # as implicit asks for: it has threads of its own
        model = AlternatingLeastSquares(
            params["rank"], regularization=params["regParam"], iterations=params["maxIter"], use_cg=cg,
            num_threads=cores, random_state=params["seed"], dtype=np.float32,
        )  # fmt: skip
        return timed(lambda: model.fit(matrix, show_progress=False))


def timed(action: Callable) -> float:
    """Return the seconds that the action takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
