"""A Spark standalone cluster of separate processes on loopback: what a second executor brings, or any job run on it.

    .venv/bin/python benchmarks/cluster.py [--rounds 3] [--memory 1g] [--set data.dir=DIR ...]
    .venv/bin/python benchmarks/cluster.py [--workers 2] [--cores 1] [--memory 1g] [SPARK OPTIONS] JOB [OPTIONS]

Without a job: trains once on this machine, builds the lists from the same factors on one and on two workers, each held
to a processor of its own, in turns, checks that they are the same, prints how long the neighbour stage took and writes
results/cluster.md.

With a job: starts a master and the workers, runs `./spark-submit.sh --master spark://...` with these words, passes its
exit code on, and stops what it started.
"""

import argparse
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from operator import truediv
from pathlib import Path
from typing import NamedTuple

import duckdb

from benchmarks.tables import machine, table, write
from pipeline.release import store
from pipeline.release.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent

START_SECONDS = 180  # in which a master must listen and its workers must register
LOOPBACK = {"SPARK_LOCAL_IP": "127.0.0.1"}  # where every server of master, workers, executors and driver listens


class Cluster(NamedTuple):
    """A running cluster: the master's URL, the workers, each the leader of its own process group, and their size."""

    master: str
    workers: list[subprocess.Popen]
    cores: int
    memory: str
    folder: Path

    def submit(self, *words: str | Path, **options) -> subprocess.Popen:
        """Start spark-submit.sh with these words on all of the cluster, an executor per worker; options: of Popen."""
        size = ["--executor-memory", self.memory, "--executor-cores", self.cores]
        # Only where it is told how many cores there will be does a standalone cluster wait for its executors.
        size += ["--total-executor-cores", self.cores * len(self.workers)]
        command = [ROOT / "spark-submit.sh", "--master", self.master, *size, *words]
        environment = {**options.pop("env", os.environ), **LOOPBACK}
        return subprocess.Popen(list(map(str, command)), env=environment, **options)

    def executors(self, number: int) -> int:
        """Return how many executors a worker has started: each has a folder of its own."""
        return len(list(self.folder.glob(f"work-{number}/app-*/*")))

    def kill_worker(self, number: int) -> None:
        """Kill a worker and its executors as a power cut would, without a chance to say goodbye."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait()


@contextlib.contextmanager
def standalone_cluster(*, workers: int, cores: int, memory: str, pinned: bool = False) -> Iterator[Cluster]:
    """Run a master and so many workers with so many cores and so much memory (Spark's notation, '1g') each.

    pinned: worker n and its executors run on processor n alone, as on a host of that size; takes Linux's taskset.
    Logs and work folders are temporary. Raises RuntimeError with the end of a log when a process does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="cluster-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        arguments = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
        start_master = _start("master.Master", arguments, folder / "master.log")
        stack.callback(_stop, start_master)
        master = _wait_for(start_master, folder / "master.log", r"Starting Spark master at (spark://\S+)")
        started = []
        for number in range(workers):
            size = ["--cores", str(cores), "--memory", memory, "--work-dir", str(folder / f"work-{number}")]
            prefix = ["taskset", "-c", str(number)] if pinned else []
            worker = _start("worker.Worker", [*arguments, *size, master], folder / f"worker-{number}.log", prefix)
            stack.callback(_stop, worker)
            started.append(worker)
        for number, worker in enumerate(started):
            _wait_for(worker, folder / f"worker-{number}.log", r"(Successfully registered) with master")
        yield Cluster(master, started, cores, memory, folder)


def _start(role: str, arguments: list[str], log: Path, prefix: Sequence[str] = ()) -> subprocess.Popen:
    # As spark-submit.sh does, so that a machine without Java uses the same one here.
    script = 'ROOT=$0; . "$0/setup.sh"; PYTHON=$1; setup_java; shift; exec "$(dirname "$PYTHON")/spark-class" "$@"'
    # The processes log where this script looks for their address, and not where a job that started it logs.
    environment = {key: value for key, value in os.environ.items() if key != "LOG4J_CONFIGURATION_FILE"}
    # The master's REST server, on a fixed port, would take jobs from anybody.
    environment |= {**LOOPBACK, "SPARK_DAEMON_MEMORY": "256m", "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false"}
    environment["PYSPARK_PYTHON"] = sys.executable  # by it spark-class finds Spark
    with log.open("wb") as file:
        return subprocess.Popen(
            [*prefix, "bash", "-c", script, str(ROOT), sys.executable, f"org.apache.spark.deploy.{role}", *arguments],
            stdout=file, stderr=file, env=environment, start_new_session=True,
        )  # fmt: skip


def _stop(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # nothing of value is held: the release is the driver's
    process.wait()


def _wait_for(process: subprocess.Popen, log: Path, pattern: str) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.1)
    end = log.read_text(errors="replace")[-1000:]
    raise RuntimeError(f"{log.name}: ended, or not up after {START_SECONDS} s: {end}")


def measure(words: list[str], *, rounds: int, memory: str) -> None:
    """Print and note how much faster two one-core executors are than one at the neighbour stage.

    Raises subprocess.CalledProcessError when a job fails, RuntimeError when the lists are not the same.
    """
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        warehouse, executors = Path(name), (1, 2)
        job_options = [*words, "--set", f"warehouse.dir={warehouse}"]
        subprocess.run([ROOT / "spark-submit.sh", "jobs/train_als.py", *job_options], check=True)
        seconds: dict[int, list[float]] = {workers: [] for workers in executors}
        releases = []
        for workers in executors * rounds:
            with standalone_cluster(workers=workers, cores=1, memory=memory, pinned=True) as cluster:
                job = cluster.submit("jobs/build_neighbours.py", *job_options)
                if job.wait():
                    raise subprocess.CalledProcessError(job.returncode, job.args)
            releases.append(store.release_dir(warehouse))
            seconds[workers].append(read_manifest(releases[-1])["timings"]["neighbours"])
        lists = [f"from read_parquet('{folder}/neighbours/*.parquet')" for folder in releases[:2]]
        if duckdb.sql(f"({lists[0]} except {lists[1]}) union all ({lists[1]} except {lists[0]})").fetchall():
            raise RuntimeError("one executor and two made different lists of the same factors")
        tables = read_manifest(releases[-1])["tables"]
    shown = re.sub(r"data\.dir=\S+", "data.dir=DIR", " ".join(words))
    rows = [
        [f"{workers}", f"{statistics.median(times):.1f}", f"{statistics.median(map(truediv, seconds[1], times)):.2f}"]
        for workers, times in seconds.items()
    ]
    write(
        "cluster",
        [
            "# A second executor",
            "",
            f"Made by `.venv/bin/python benchmarks/cluster.py {shown}` on {machine()}. Every worker is held "
            f"to a processor of its own; master and driver share them. {tables['movies']['rows']:,} movies, "
            f"{tables['neighbours']['rows']:,} neighbours. {rounds} rounds in turns: medians.",
            "",
            *table(["one-core executors", "neighbour stage, s", "times as fast"], rows),
        ],
    )


def main() -> int:
    """Run the command line and return the job's exit code."""
    parser = argparse.ArgumentParser(
        description="Time the neighbour stage on one and on two executors, or run a job on a cluster on loopback.",
        epilog="All other words are spark-submit.sh's: its options, a job and the job's options.",
        allow_abbrev=False,
    )
    parser.add_argument("--workers", type=int, default=2, help="of a job's cluster")
    parser.add_argument("--cores", type=int, default=1, help="per worker of a job's cluster")
    parser.add_argument("--memory", default="1g", help="per worker, in Spark's notation")
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement")
    options, words = parser.parse_known_args()
    if not any(word.endswith(".py") for word in words):
        measure(words, rounds=options.rounds, memory=options.memory)
        return 0
    with standalone_cluster(workers=options.workers, cores=options.cores, memory=options.memory) as cluster:
        return cluster.submit(*words).wait()


if __name__ == "__main__":
    sys.exit(main())
