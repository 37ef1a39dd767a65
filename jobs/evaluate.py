"""Held-out likes to metrics: trains without them, asks as visitors would, and compares with baselines."""

import argparse
import shutil
from pathlib import Path

from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.batch.stages import evaluate, ingest


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job alone."""
    parser.add_argument("--report", type=Path, metavar="DIR", help="write evaluation.md and its plots there")


def main(run: Run) -> None:
    """Evaluate a configuration and publish nothing. build_neighbours.py takes the metrics from the folder evaluation of
    the warehouse."""
    run.start_build("evaluation")
    evaluate(run, *ingest(run))
    run.build.save_manifest()
    folder = run.build.path / "report"
    if run.options.report:
        folder = shutil.copytree(folder, run.options.report, dirs_exist_ok=True)
    run.say(f"report: {folder / 'evaluation.md'}")


if __name__ == "__main__":
    start(main, __doc__, options)
