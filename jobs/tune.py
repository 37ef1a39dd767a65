"""A search over the configuration, on validation users only: writes the best one as an overlay for --conf."""

import argparse
import time
from pathlib import Path

from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest
from pipeline.config import PipelineError, changed
from pipeline.evaluation import tuning
from pipeline.evaluation.experiment import Data, splits


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job alone."""
    parser.add_argument("--protocol", choices=list(tuning.LENGTH), required=True, help="whom the lists are for")
    parser.add_argument("--budget", type=float, required=True, metavar="MINUTES", help="when to stop searching")
    parser.add_argument("--out", type=Path, required=True, metavar="OVERLAY.yaml", help="where the winner goes")


def main(run: Run) -> None:
    """Search for MINUTES, resuming an earlier search over the same data, and write the winner."""
    name, budget, out = run.options.protocol, run.options.budget, run.options.out
    tuning.require_writable(out, budget)
    deadline = time.monotonic() + 60 * budget
    run.config = config = changed(run.config, {"evaluation.protocol": name, **tuning.FIXED[name]})
    run.start_build("tuning")
    ratings, movies, words = ingest(run)
    space = tuning.search_space(config, name, movies, words)
    inputs = [run.manifest["inputs"], run.manifest["ratings"]]
    study, journal = tuning.open_study(config, name, space, run.warehouse / "searches", inputs)
    if n_tried := len(tuning.finished(study)):
        run.say(f"resuming after {n_tried:,} trials, kept in {journal.parent.name}/{journal.name}")
    data = Data(movies, words, run.cores)
    parts = [tuning.prepared(data, split) for split in splits(config, ratings, "validation")]
    if not parts:
        raise PipelineError(f"{config.data.dir}: too few users with enough likes to tune anything")
    failures = 0
    while (winner := tuning.best(study)) is None or time.monotonic() < deadline:
        failures = 0 if tuning.try_one(config, study, space, parts, run.say) else failures + 1
        if failures == 5:
            raise PipelineError("five trials failed one after the other: see above")
    tuning.write_overlay(out, name, Path(config.data.dir).name, study, winner)
    run.say(f"wrote {out}; use it: ./spark-submit.sh jobs/run_pipeline.py --conf {out}")


if __name__ == "__main__":
    start(main, __doc__, options)
