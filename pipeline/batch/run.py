"""One run of a job: its progress, and the release in the making with its saved tables."""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console

from pipeline import config as configuration
from pipeline import schemas
from pipeline.batch.exit_codes import in_one_line
from pipeline.batch.fingerprints import code, digest, input_files, shaping
from pipeline.batch.progress import progress
from pipeline.config import PipelineError, Settings
from pipeline.data.reader import Rows
from pipeline.model.task_files import TaskFiles
from pipeline.release import store
from pipeline.release.build import Build
from pipeline.release.changes import changes_in_words
from pipeline.release.database import parquet_files
from pipeline.release.manifest import data_dir, read_manifest, versions

ROW_GROUP_BYTES = 512 * 1024  # small, so that looking up five movies reads little
STAGES = ("train", "neighbours", "map", "evaluate")  # that a later run need not repeat


@dataclasses.dataclass
class Stage:
    """A stage of a run. note: what the stage has made, in words; the stage fills it in."""

    note: str = ""


class StartsFrom(NamedTuple):
    """The factors that training begins with: those of a release, or None for random ones. told: the same in words."""

    release_id: str | None
    told: str


class Run:
    """One run of a job: its configuration, Spark session, console, and the build it writes into."""

    def __init__(self, config: Settings, spark: SparkSession, console: Console, options: argparse.Namespace) -> None:
        self.config, self.spark, self.console, self.options = config, spark, console, options
        self.warehouse = Path(config.warehouse.dir.removeprefix("file://"))
        self._build: Build | None = None
        self.saved: dict[str, dict[str, int]] = {}  # rows and bytes of the tables that the stage has saved

    @property
    def build(self) -> Build:
        """The release in the making, once one of the methods below has begun it."""
        if self._build is None:
            raise RuntimeError("no release has been begun")
        return self._build

    @functools.cached_property
    def cores(self) -> int:
        """The cores that Spark has. Asked for once the first tasks have run: executors of a cluster join by then."""
        return self.spark.sparkContext.defaultParallelism

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator["Stage"]:
        """Show a stage's progress while it runs, then one line: its name, its note and its seconds."""
        stage = Stage()
        self.saved.clear()
        begin = time.monotonic()
        try:
            with progress(name, self.spark, self.console):
                yield stage
        except Exception as error:
            self.log(stage=name, seconds=round(time.monotonic() - begin, 2), error=in_one_line(error), **_memory())
            raise
        seconds = time.monotonic() - begin
        if self._build:
            self._build.record("timings", {name: round(seconds, 2)})
        self.log(stage=name, seconds=round(seconds, 2), note=stage.note, tables=dict(self.saved), **_memory())
        self.say(f"{name:<11} {stage.note:<72} {seconds:6.1f} s")

    def start_build(self, folder: str = store.BUILDING) -> None:
        """Begin an empty release, in a folder of the warehouse, and note what it will be made from."""
        self._build = Build.start(self.warehouse, folder)
        self._record_settings()

    def resume_build(self) -> None:
        """Go on where a run died that had the same configuration, versions and code; else begin an empty release."""
        made_with = [
            shaping(configuration.as_dict(self.config)),
            versions(),
            code(),
            self.starts_from.release_id,
        ]
        self._build = Build.resume(self.warehouse, digest(json.dumps(made_with, default=str).encode()))
        self._record_settings()

    def done_before(self, stage: str) -> bool:
        """Return whether the resumed run finished this stage, from the same inputs, and say so."""
        if stage not in self.build.manifest.get("finished", []) or not self.build.same_inputs():
            return False
        self.say(f"{stage:<11} was finished by the run before (--fresh starts over)")
        return True

    def finish(self, stage: str) -> None:
        """Note that a stage need not be done again, should this run die, and that those after it must."""
        if "finished" in self.build.manifest:
            before = self.build.manifest["finished"] if self.build.same_inputs() else []
            self.build.manifest["finished"] = [name for name in STAGES if name in before or name == stage]
            self.build.manifest["inputs_before"] = self.build.manifest["inputs"]
            self.build.save_manifest()

    def continue_build(self) -> None:
        """Go on with what train_als.py left, or with the live release's factors."""
        self._build = Build.from_trained(self.warehouse)
        self.build.manifest.update(inputs=[], ratings={}, metrics={})
        self._record_settings()

    def take_over_evaluation(self) -> None:
        """Copy what evaluate.py measured into the build, where its inputs and configuration were the same; say so."""
        folder = self.warehouse / "evaluation"
        with contextlib.suppress(PipelineError, KeyError):
            measured = read_manifest(folder)
            theirs, ours = (shaping(manifest["config"]) for manifest in (measured, self.build.manifest))
            if measured["inputs"] == self.build.manifest["inputs"] and json.dumps(theirs) == json.dumps(ours):
                for name in ("metrics", "report"):
                    shutil.copytree(folder / name, self.build.path / name, dirs_exist_ok=True)
                self.build.record("metrics", measured["metrics"])
                self.say(f"{'evaluate':<11} was measured by evaluate.py, from the same inputs and configuration")

    def _record_settings(self) -> None:
        self.build.record("config", configuration.as_dict(self.config))
        java = self.spark._jvm.System.getProperty("java.version")
        self.build.record("versions", {"java": java})

    @functools.cached_property
    def starts_from(self) -> StartsFrom:
        """The live release that training begins with, if its data.dir and the kind of its factors are the same."""
        if not self.config.als.warm_start:
            return StartsFrom(None, "scratch")
        try:
            live = store.release_dir(self.warehouse)
            before = read_manifest(live)["config"]
        except (PipelineError, KeyError):
            return StartsFrom(None, "scratch (no live release to begin with)")
        if data_dir({"config": before}) != data_dir({"config": configuration.as_dict(self.config)}):
            return StartsFrom(None, "scratch (the live release is of other data)")
        if not before["als"]["implicitPrefs"] or before["als"]["rank"] != self.config.als.rank:
            return StartsFrom(None, "scratch (the live release has factors of another kind)")
        return StartsFrom(live.name, f"release {live.name}")

    def factors_before(self, movies: DataFrame) -> DataFrame | None:
        """Return the item factors that training begins with, of those movies that had the same title; note in the
        manifest whose they are. None: at random."""
        release_id = self.starts_from.release_id
        self.build.manifest["started_from"] = release_id
        if release_id is None:
            return None
        folder = store.release_dir(self.warehouse, release_id)
        factors, titles = (
            self.spark.read.schema(schemas.spark_schema(table)).parquet(str(folder / table))
            for table in ("item_factors", "movies")
        )
        same = titles.join(movies, ["movie_id", "raw_title"], how="inner").select("movie_id")
        return factors.join(same, "movie_id", how="left_semi")

    def save(self, table: str, frame: DataFrame, *, files: int | None = None) -> DataFrame:
        """Write a table of the release as Parquet and return it as read back.

        files: gather the rows in so many files, each sorted by the table's first column; None: as they come.
        """
        if files is not None:
            frame = frame.repartition(files).sortWithinPartitions(frame.columns[0])
        expected = [(column.name, column.type) for column in schemas.TABLES[table]]
        if frame.dtypes != expected:
            raise TypeError(f"table {table} would be written with columns {frame.dtypes}, not {expected}")
        path = str(self.build.path / table)
        frame.write.mode("overwrite").option("parquet.block.size", ROW_GROUP_BYTES).parquet(path)
        self.saved[table] = _size(self.build.path / table)
        return self.read(table)

    def save_by_tasks(self, table: str, schema: pyarrow.Schema, write: Callable[[TaskFiles], DataFrame]) -> DataFrame:
        """Have Spark's tasks write a table of the release, as write() plans it, and return it as read back."""
        files = TaskFiles(self.build.path / table, schema)
        files.keep(row.attempt for row in write(files).collect())
        self.saved[table] = _size(self.build.path / table)
        return self.read(table)

    def read(self, table: str) -> DataFrame:
        """Return a table that the build holds already."""
        return self.spark.read.schema(schemas.spark_schema(table)).parquet(str(self.build.path / table))

    def record_inputs(self, read: list[Rows | None], tally: dict[str, int]) -> None:
        """Note in the manifest which files were read, and how many ratings were accepted and rejected."""
        files = {file for rows in read if rows for file in rows.frame.inputFiles()}
        self.build.record("inputs", input_files(sorted(files)))
        if self.build.manifest.get("finished") and not self.build.same_inputs():  # nothing of that run is good now
            self.build.manifest |= {"finished": [], "inputs_before": self.build.manifest["inputs"]}
            self.build.save_manifest()
        self.build.record("ratings", tally)

    def publish(self) -> Path:
        """Check the build and make it the live release; return its folder."""
        config, live, evaluated = self.config, None, set()
        with self.stage("publish") as stage:
            rank = self.build.manifest.get("als_rank", config.als.rank)  # what was trained apart may have another
            shape = {"k": config.neighbours.k, "als_rank": rank, "min_support": config.neighbours.min_support}
            with contextlib.suppress(PipelineError):  # one that cannot be read is replaced
                live = store.current_id(self.warehouse)
                evaluated = _measured(read_manifest(store.release_dir(self.warehouse)))
            bounds = {name: value for name, value in vars(config.gates).items() if name != "skip"}
            folder = self.build.publish(
                **shape, popularity_weight=config.popularity.weight, bounds=bounds, skip=config.gates.skip
            )
            gone = store.retire(self.warehouse, config.warehouse.keep)
            stage.note = f"release {folder.name} is live in {self.warehouse}"
            stage.note += f", {len(gone)} retired" if gone else ""
        if live and not self.build.manifest["compared_with"]:
            self.say(f"{'gates':<11} not compared with release {live}, which is of another data.dir or damaged")
        elif evaluated and not evaluated & _measured(self.build.manifest):
            self.say(
                f"{'gates':<11} quality not compared with release {live}, which was evaluated, and not like this one"
            )
        if found := self.build.manifest.get("changes"):
            self.say(f"{'changes':<11} {changes_in_words(found)}")
            titles = [f"{row['title']} {row['n_before']} > {row['n_after']}" for row in found["movers"]]
            self.say(f"{'':<11} most moved, by lists that have them in the first ten: {'; '.join(titles) or 'none'}")
        return folder

    def log(self, **fields: Any) -> None:
        """Append a line of JSON to the run's log, beside Spark's, and to run.jsonl in the release in the making; where
        the disk does not take it, the run continues without it."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **fields}) + "\n"
        places = [Path(log).with_suffix(".jsonl")] if (log := os.environ.get("PIPELINE_LOG")) else []
        places += [self.build.path / "run.jsonl"] if self._build and self.build.path.exists() else []
        for place in places:
            with contextlib.suppress(OSError), place.open("a", encoding="utf-8") as file:
                file.write(line)

    @property
    def manifest(self) -> dict[str, Any]:
        """What is known of the release in the making; nothing before it is begun."""
        return self._build.manifest if self._build else {}

    def say(self, text: str) -> None:
        """Print a line for the operator, never as markup."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _size(folder: Path) -> dict[str, int]:
    """Return rows and bytes of a table's Parquet files, from their footers."""
    files = parquet_files(folder)
    rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
    return {"rows": rows, "bytes": sum(file.stat().st_size for file in files)}


def _memory() -> dict[str, int]:
    """Return the largest memory so far of the driver's Python and, on Linux, of its JVM, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    peaks = {"python_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20}
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{os.getppid()}/status").read_text()
        if status.startswith("Name:\tjava"):  # spark-submit's JVM starts the driver's Python
            peaks["jvm_mib"] = int(status.split("VmHWM:")[1].split()[0]) // 1024
    return peaks


def _measured(manifest: dict[str, Any]) -> set[str]:
    """Return what was measured of the lists that are served: what gates/bounds/live_quality.sql compares."""
    return {name for name in manifest.get("metrics", {}) if "favourites" in name}
