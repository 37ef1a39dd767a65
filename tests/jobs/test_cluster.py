"""The main job on a Spark standalone cluster of separate processes, compared with one machine, and losing a worker."""

import os
import re
import subprocess
import threading
import time

import duckdb
import pytest

from benchmarks.cluster import standalone_cluster
from pipeline.release import store
from tests.conftest import FEW_ROWS, ROOT, TINY, settings

pytestmark = pytest.mark.cluster
# As in conftest.py: a short job spends half of its time in Java's optimising compiler.
EXECUTORS = ["--conf", "spark.executor.extraJavaOptions=-Xss16m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"]

CONJUGATE_GRADIENT = "als.solver=conjugate_gradient"


# The second solver takes as long again: on demand.
@pytest.fixture(
    scope="module", params=["als.solver=spark", pytest.param(CONJUGATE_GRADIENT, marks=pytest.mark.exhaustive)]
)
def options(request):
    """Settings of every run."""
    return [*TINY, "--set", request.param]


@pytest.fixture(scope="module")
def cluster(options):
    """A master and two workers for both tests. The second test kills a worker."""
    with standalone_cluster(workers=2, cores=1, memory="1g") as running:
        yield running


@pytest.fixture(scope="module")
def local(run, checkerboard, options, tmp_path_factory):
    """The lists of a run on one machine."""
    warehouse = tmp_path_factory.mktemp("local")
    result = run("jobs/run_pipeline.py", *settings(checkerboard, warehouse), *options)
    assert result.returncode == 0, result.stdout + result.stderr
    return lists(warehouse)


def lists(warehouse):
    folder = store.release_dir(warehouse)
    query = f"from read_parquet('{folder}/neighbours/*.parquet') order by movie_id, rank"
    return duckdb.sql(query).fetchall()


def start(cluster, *words):
    """Start the main job on the cluster; what it says comes line by line."""
    inherited = ("PIPELINE_LOG", "PYTHONPATH", "LOG4J_CONFIGURATION_FILE", "PYSPARK_PYTHON")
    environment = {key: value for key, value in os.environ.items() if key not in inherited}
    environment["SPARK_SUBMIT_OPTS"] += f" {FEW_ROWS}"
    return cluster.submit(
        *EXECUTORS, "jobs/run_pipeline.py", *words,
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def copies(cluster, number):
    """Return how many blocks of data a worker's executor holds for the other one, by what it logs."""
    logs = cluster.folder.glob(f"work-{number}/app-*/*/stderr")
    return sum(len(re.findall(r"Block rdd_\S+ stored as bytes", log.read_text(errors="replace"))) for log in logs)


@pytest.mark.exhaustive  # the next test compares the lists, too
def test_a_cluster_makes_the_lists_that_one_machine_makes(cluster, local, checkerboard, options, tmp_path):
    job = start(cluster, *settings(checkerboard, tmp_path), *options)
    printed, _ = job.communicate(timeout=900)
    assert job.returncode == 0, printed
    assert lists(tmp_path) == local
    assert [cluster.executors(number) for number in (0, 1)] == [1, 1]
    assert "WARN" not in printed and "ERROR" not in printed


def test_a_job_outlives_one_of_its_workers(cluster, local, checkerboard, options, tmp_path):
    started, held = cluster.executors(1), copies(cluster, 1)
    job = start(cluster, *settings(checkerboard, tmp_path), *options)
    guard = threading.Timer(400, job.kill)
    guard.start()
    printed, lost = [], 0
    for line in job.stdout:
        printed.append(line)
        if line.startswith("ingest ") and " ratings of " in line:  # training begins, on data that both workers hold
            while CONJUGATE_GRADIENT in options and copies(cluster, 1) < held + 3 and job.poll() is None:
                time.sleep(0.1)  # until factors of a few iterations are kept twice
            lost = cluster.executors(1) - started if job.poll() is None else 0
            cluster.kill_worker(1)
    guard.cancel()
    assert job.wait() == 0, "".join(printed)
    assert lost == 1 and cluster.workers[0].poll() is None
    assert lists(tmp_path) == local
