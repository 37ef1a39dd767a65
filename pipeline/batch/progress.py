"""Signs of life while Spark works: a bar on a terminal, now and then a line elsewhere."""

import contextlib
import threading
import time
from collections.abc import Iterator

from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

HEARTBEAT = 15  # seconds between signs of life where there is no terminal to draw on


@contextlib.contextmanager
def progress(name: str, spark: SparkSession | None, console: Console) -> Iterator[None]:
    """Show that a stage is alive: a bar of finished tasks on a terminal, else a line every HEARTBEAT seconds."""
    done = threading.Event()

    def watch(drawn: Progress | None) -> None:
        begin = spoken = time.monotonic()
        task = drawn.add_task(name, total=None) if drawn else None
        while not done.wait(0.2):
            finished, total = _tasks(spark) if spark else (0, 0)
            if drawn:
                drawn.update(task, completed=finished, total=total or None)
            elif time.monotonic() - spoken >= HEARTBEAT:
                spoken = time.monotonic()
                tasks = f", {finished} of {total} tasks" if total else ""
                console.print(f"{name:<11} running for {spoken - begin:.0f} s{tasks}", highlight=False)

    columns = (SpinnerColumn(), TextColumn("{task.description:<9}"), BarColumn(40), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True) if console.is_terminal else None
    with bar or contextlib.nullcontext():
        watcher = threading.Thread(target=watch, args=(bar,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _tasks(spark: SparkSession) -> tuple[int, int]:
    """Return finished and known tasks of the Spark jobs that run now."""
    finished = total = 0
    # The tracker only informs: whatever becomes of it must not touch the run.
    with contextlib.suppress(Exception):
        tracker = spark.sparkContext.statusTracker()
        for job in tracker.getActiveJobsIds():
            for stage in tracker.getJobInfo(job).stageIds:
                if info := tracker.getStageInfo(stage):
                    finished, total = finished + info.numCompletedTasks, total + info.numTasks
    return finished, total
