"""How a job ends: its exit code, its last line, and what it leaves for Prometheus."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException

from pipeline.config import PipelineError, Settings
from pipeline.files import replacing
from pipeline.release import store


class Ended:
    """How a run ended, however far it came."""

    def __init__(self) -> None:
        self.config: Settings | None = None
        self.warehouse: Path | None = None  # of a job that holds its lock
        self.live: str | None = None  # the release that was live as the run began
        self.manifest: Callable[[], dict[str, Any]] = dict  # of the release in the making
        self.moved = False  # whether another release was live when main() was over

    def went_live(self) -> bool:
        """Tell whether another release is live than as the run began: only who holds the lock can have changed it."""
        with contextlib.suppress(PipelineError):
            return self.warehouse is not None and store.current_id(self.warehouse) != self.live
        return False

    def stopped(self, terminal: bool) -> None:
        """End the process as one that Ctrl-C has stopped."""
        with contextlib.suppress(Exception):  # in the middle of whatever the run was doing
            self.tell_prometheus(succeeded=False)
        show_cursor = "\x1b[?25h" if terminal else ""
        how = store.NEW_IS_LIVE if self.went_live() else "what was published before is untouched"
        leave(130, f"{show_cursor}stopped; {how}")

    def tell_prometheus(self, *, succeeded: bool) -> None:
        """Write how the run went where Prometheus' node exporter collects text files, if the configuration says where.

        Raises PipelineError when that place cannot be written.
        """
        if self.config is None or not self.config.operations.prometheus_file:
            return
        job = f'job="{Path(sys.argv[0]).stem}"'
        lines = [f"pipeline_last_run_succeeded{{{job}}} {succeeded:d}"]
        lines += [f"pipeline_last_run_end_seconds{{{job}}} {time.time():.0f}"]
        manifest = self.manifest()
        for stage, seconds in manifest.get("timings", {}).items():
            lines.append(f'pipeline_stage_seconds{{{job},stage="{stage}"}} {seconds}')
        for table, size in manifest.get("tables", {}).items():
            lines.append(f'pipeline_table_rows{{{job},table="{table}"}} {size["rows"]}')
            lines.append(f'pipeline_table_bytes{{{job},table="{table}"}} {size["bytes"]}')
        path = Path(self.config.operations.prometheus_file)
        try:
            with replacing(path) as new:
                new.write_text("\n".join(lines) + "\n", encoding="ascii")
        except OSError as error:
            raise PipelineError(
                f"{path}: cannot be written ({error.strerror}); give --set operations.prometheus_file=FILE"
            ) from error


def in_one_line(error: Exception) -> str:
    """Return what an error says to the operator: a mistake in its own words, any other with where its details are."""
    if isinstance(error, PipelineError):
        return str(error)
    log = os.environ.get("PIPELINE_LOG", "Spark's log")
    if isinstance(error, PySparkException):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # What a worker's Python raised is the last line of the stack trace that Spark passes on.
        cause = [line for line in lines if line.startswith(("ValueError:", "MemoryError", "OSError:"))]
        text = cause[-1].removeprefix("ValueError: ") if cause else lines[0]
    else:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"{text[:500]} (details: {log}, or run again with --verbose)"


def leave(code: int, line: str) -> None:
    """End the process with this exit code, and a last line."""
    # Straight to the descriptor: a signal may have come in the middle of a print.
    os.write(2, f"{line}\n".encode())
    # Not sys.exit: after Ctrl-C the JVM may be gone already, and py4j's exit handlers would complain about it.
    os._exit(code)
