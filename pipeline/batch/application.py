"""A job from the command line to its exit code."""

import argparse
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from pipeline import config as configuration
from pipeline.batch.exit_codes import Ended, in_one_line, leave
from pipeline.batch.progress import progress
from pipeline.batch.run import Run
from pipeline.batch.session import session
from pipeline.config import PipelineError, Settings
from pipeline.release import store
from pipeline.terminal import console as open_console

Main = Callable[[Run], None]
AddOptions = Callable[[argparse.ArgumentParser], None]


def start(
    main: Main, description: str, add_options: AddOptions = lambda parser: None, *, warehouse: bool = True
) -> None:
    """Run a job's main() and exit: 0 done, 1 a mistake that one line explains, 2 wrong options, 3 refused by a gate,
    75 another run is writing, 130 stopped.

    add_options adds the options of this job; main finds them in run.options. warehouse: whether the job writes there.
    """
    options = _options(description, add_options)
    console = open_console(terminal=os.environ.get("PIPELINE_TERMINAL") == "yes")
    ended = Ended()
    try:
        config = ended.config = configuration.load(options.conf, options.settings)
        if warehouse:
            place = ended.warehouse = _local_folder(config)
            with store.writer_lock(place):
                with contextlib.suppress(PipelineError):
                    ended.live = store.current_id(place)
                _run(main, config, console, options, ended)
        else:
            _run(main, config, console, options, ended)
        ended.tell_prometheus(succeeded=True)
    except KeyboardInterrupt:
        ended.stopped(console.is_terminal)
    except Exception as error:
        _fail(error, ended, verbose=options.verbose)


def _options(description: str, add_options: AddOptions) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    add_options(parser)
    configuration.add_arguments(parser)
    return parser.parse_args()


def _local_folder(config: Settings) -> Path:
    """Return the warehouse's folder. Raises PipelineError for the address of an object store."""
    place = config.warehouse.dir.removeprefix("file://")
    if "://" in place:
        raise PipelineError(
            f"{config.warehouse.dir}: the warehouse must be a folder that the driver and every executor mount; "
            "give --set warehouse.dir=DIR"
        )
    return Path(place)


def _run(main: Main, config: Settings, console: Console, options: argparse.Namespace, ended: Ended) -> None:
    """Make the Spark session, run main() in it, and note in ended how far the run came."""
    with progress("start", None, console):
        spark = session(Path(sys.argv[0]).stem)
    # PySpark's own handler asks the JVM to cancel its jobs, but Ctrl-C has reached the JVM as well.
    signal.signal(signal.SIGINT, lambda *_: ended.stopped(console.is_terminal))
    run = Run(config, spark, console, options)
    ended.manifest = lambda: run.manifest
    try:
        main(run)
    finally:
        ended.moved = ended.went_live()
    spark.stop()


def _fail(error: Exception, ended: Ended, *, verbose: bool) -> None:
    """End the process with the error's exit code and one line; the stack trace goes to the log, or is shown."""
    with contextlib.suppress(PipelineError):  # the first error is the one to report
        ended.tell_prometheus(succeeded=False)
    if verbose:
        traceback.print_exception(error)
    elif log := os.environ.get("PIPELINE_LOG"):
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    line = in_one_line(error)
    if ended.moved and store.NEW_IS_LIVE not in line:
        line += f"; {store.NEW_IS_LIVE}"
    leave(getattr(error, "exit_code", 1), f"error: {line}")
