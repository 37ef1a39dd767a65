"""How long does the main job take on data of this size, stage by stage, and how much memory?

    .venv/bin/python benchmarks/main_job.py DIR [DIR ...] [--set SECTION.KEY=VALUE ...]

DIR: data sets, e.g. of benchmarks/grow.py. Runs the main job on each, without its evaluation (with it: --set
evaluation.enabled=true), in a warehouse of its own, and asks Linux for the resident memory of the JVM, of the driver's
Python and of the Python workers, together and five times a second. Prints a table; writes results/main_job.md, a row
for each data set and settings.
"""

import argparse
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.memory import SECONDS, held
from benchmarks.tables import machine, rows_so_far, table, write, yardstick
from pipeline.release import store
from pipeline.release.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent

STAGES = ["ingest", "train", "neighbours", "publish"]
HEADS = ["ratings", "movies", "settings", "total, s", *(f"{stage}, s" for stage in STAGES),
         *(f"{stage}, GiB" for stage in STAGES), "of it JVM, GiB", "plain Python, seconds"]  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Time the main job, and look at its memory.")
    parser.add_argument("dirs", nargs="+", metavar="DIR")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    for folder in options.dirs:
        row = measured(folder, options.settings)
        rows = [*(other for other in rows_so_far("main_job") if other[:3] != row[:3]), row]
        write(
            "main_job",
            [
                "# The main job",
                "",
                f"Made by `.venv/bin/python benchmarks/main_job.py DIR --set ...` on {machine()}; evaluation off "
                "but where the settings say otherwise: its seconds are part of the total, its memory of publish. "
                "Memory: the most that JVM, driver and workers held at once in a stage, shared pages for each. Plain "
                "Python: how quick the machine was, in the seconds that ten million squares took just before.",
                "",
                *table(HEADS, rows),
            ],
        )


def measured(folder: str, settings: list[str]) -> list[str]:
    """Return a row of the table. Raises subprocess.CalledProcessError when the job fails."""
    with tempfile.TemporaryDirectory(prefix="main-job-") as warehouse:
        chosen = [f"data.dir={folder}", f"warehouse.dir={warehouse}", "evaluation.enabled=false", *settings]
        command = [ROOT / "spark-submit.sh", "jobs/run_pipeline.py", *(word for s in chosen for word in ("--set", s))]
        quick, begin = yardstick(), time.monotonic()
        job = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        peaks, stage, times = {}, [STAGES[0]], {}
        watcher = threading.Thread(target=watch, args=(job, stage, peaks))
        watcher.start()
        for line in job.stdout:
            print(line, end="", flush=True)
            if (ended := re.match(r"(\w+) .* ([\d.]+) s$", line)) and ended[1] in STAGES:
                times[ended[1]] = float(ended[2])
                stage[0] = STAGES[min(len(times), len(STAGES) - 1)]
        seconds = time.monotonic() - begin
        watcher.join()
        if job.wait():
            raise subprocess.CalledProcessError(job.returncode, job.args)
        manifest = read_manifest(store.release_dir(Path(warehouse)))
    counts = f"{manifest['ratings']['accepted']:,}", f"{manifest['tables']['movies']['rows']:,}"
    memory = [f"{peaks.get(stage, (0, 0))[0] / 2**30:.1f}" for stage in STAGES]
    jvm = max(java for _, java in peaks.values()) / 2**30
    return [
        *counts,
        " ".join(settings) or "default",
        f"{seconds:.0f}",
        *(f"{times[stage]:.0f}" for stage in STAGES),
        *memory,
        f"{jvm:.1f}",
        quick,
    ]


def watch(job: subprocess.Popen, stage: list[str], peaks: dict[str, tuple[int, int]]) -> None:
    """Keep the largest memory of the job and all its descendants by stage, in bytes, and that of the JVM among it."""
    while job.poll() is None:
        peaks[stage[0]] = max(peaks.get(stage[0], (0, 0)), held(job.pid))
        time.sleep(SECONDS)


if __name__ == "__main__":
    main()
