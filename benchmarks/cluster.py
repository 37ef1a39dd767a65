"""A Spark standalone cluster of separate processes on loopback, and one of the project's jobs run on it.

    .venv/bin/python benchmarks/cluster.py [--workers 2] [--cores 1] [--memory 1g] [JOB [OPTIONS]]

starts a master and the workers, runs `./spark-submit.sh --master spark://... JOB OPTIONS` (the main job by default),
passes its exit code on, and stops what it started.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90  # in which a master must listen and its workers must register
LOOPBACK = {"SPARK_LOCAL_IP": "127.0.0.1"}  # where master, workers, executors and driver listen


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
def standalone_cluster(*, workers: int, cores: int, memory: str) -> Iterator[Cluster]:
    """Run a master and so many workers with so many cores and so much memory (Spark's notation, '1g') each.

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
            worker = _start("worker.Worker", [*arguments, *size, master], folder / f"worker-{number}.log")
            stack.callback(_stop, worker)
            started.append(worker)
        for number, worker in enumerate(started):
            _wait_for(worker, folder / f"worker-{number}.log", r"(Successfully registered) with master")
        yield Cluster(master, started, cores, memory, folder)


def _start(role: str, arguments: list[str], log: Path) -> subprocess.Popen:
    # As spark-submit.sh does, so that a machine without Java uses the same one here.
    script = 'ROOT=$0; . "$0/setup.sh"; PYTHON=$1; setup_java; shift; exec "$(dirname "$PYTHON")/spark-class" "$@"'
    # The processes log where this script looks for their address, and not where a job that started it logs.
    environment = {key: value for key, value in os.environ.items() if key != "LOG4J_CONFIGURATION_FILE"}
    environment |= {**LOOPBACK, "PYSPARK_PYTHON": sys.executable}  # by it spark-class finds Spark
    with log.open("wb") as file:
        return subprocess.Popen(
            ["bash", "-c", script, str(ROOT), sys.executable, f"org.apache.spark.deploy.{role}", *arguments],
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


def main() -> int:
    """Run the command line and return the job's exit code."""
    parser = argparse.ArgumentParser(description="Run a job on a standalone cluster of this machine's own.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="per worker")
    parser.add_argument("--memory", default="1g", help="per worker, in Spark's notation")
    parser.add_argument("job", nargs=argparse.REMAINDER, help="job and its options; the main job by default")
    options = parser.parse_args()
    with standalone_cluster(workers=options.workers, cores=options.cores, memory=options.memory) as cluster:
        return cluster.submit(*(options.job or ["jobs/run_pipeline.py"])).wait()


if __name__ == "__main__":
    sys.exit(main())
