"""What every Spark job shares: arguments, a session, stages, and the release in the making with its saved tables."""

import argparse
import contextlib
import functools
import hashlib
import importlib.resources
import json
import os
import resource
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.fs
import pyarrow.parquet
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console

from pipeline import config as configuration
from pipeline import schemas
from pipeline.batch.exit_codes import Ended, in_one_line, leave
from pipeline.batch.progress import progress
from pipeline.config import PipelineError
from pipeline.data.reader import Rows
from pipeline.model.task_files import Parts
from pipeline.release import store
from pipeline.release.changes import changes_in_words
from pipeline.release.database import parquet_files
from pipeline.serving.recommender import Recommender, named
from pipeline.terminal import console as open_console
from pipeline.terminal import recommendations_table

# What the tables depend on; what only makes a run faster stands in conf/spark-*.conf.
SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
}
ROW_GROUP_BYTES = 512 * 1024  # small, so that looking up five movies reads little
STAGES = ("train", "neighbours", "map", "evaluate")  # that a later run need not repeat
LATE = (
    "warehouse",
    "operations",
    "sessions",
    "gates",
    "page",
    "sql",
    "example",
)  # sections that shape nothing before publishing


class Run:
    """One run of a job: its configuration, Spark session, console, and the build it writes into."""

    def __init__(
        self, config: SimpleNamespace, spark: SparkSession, console: Console, options: argparse.Namespace
    ) -> None:
        self.config, self.spark, self.console, self.options = config, spark, console, options
        self.warehouse = Path(config.warehouse.dir.removeprefix("file://"))
        self._build: store.Build | None = None
        self.saved: dict[str, dict[str, int]] = {}  # rows and bytes of the tables that the stage has saved

    @property
    def build(self) -> store.Build:
        """The release in the making, once one of the methods below has begun it."""
        if self._build is None:
            raise RuntimeError("no release has been begun")
        return self._build

    @functools.cached_property
    def cores(self) -> int:
        """The cores that Spark has. Asked for once the first tasks have run: executors of a cluster join by then."""
        return self.spark.sparkContext.defaultParallelism

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[SimpleNamespace]:
        """Show a stage's progress while it runs, then one line: name, what it says in .note, seconds."""
        stage = SimpleNamespace(note="")
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
        self._build = store.Build.start(self.warehouse, folder)
        self._record_settings()

    def resume_build(self) -> None:
        """Go on where a run died that had the same configuration, versions and code; else begin an empty release."""
        made_with = [
            _shaping(configuration.as_dict(self.config)),
            store.versions(),
            _code(),
            self.starts_from.release_id,
        ]
        self._build = store.Build.resume(self.warehouse, _digest(json.dumps(made_with, default=str).encode()))
        self._record_settings()

    def done_before(self, stage: str) -> bool:
        """Tell whether the run that is gone on with finished this stage, from the same inputs; say so."""
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
        self._build = store.Build.from_trained(self.warehouse)
        self.build.manifest.update(inputs=[], ratings={}, metrics={})
        self._record_settings()

    def take_over_evaluation(self) -> None:
        """Copy what evaluate.py measured into the build, where its inputs and configuration were the same; say so."""
        folder = self.warehouse / "evaluation"
        with contextlib.suppress(PipelineError, KeyError):
            measured = store.read_manifest(folder)
            theirs, ours = (_shaping(manifest["config"]) for manifest in (measured, self.build.manifest))
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
    def starts_from(self) -> SimpleNamespace:
        """The live release whose factors training begins with, release_id, None for none; told: the same in words."""
        if not self.config.als.warm_start:
            return SimpleNamespace(release_id=None, told="scratch")
        try:
            live = store.release_dir(self.warehouse)
            before = store.read_manifest(live)["config"]
        except (PipelineError, KeyError):
            return SimpleNamespace(release_id=None, told="scratch (no live release to begin with)")
        if store.data_dir({"config": before}) != store.data_dir({"config": configuration.as_dict(self.config)}):
            return SimpleNamespace(release_id=None, told="scratch (the live release is of other data)")
        if not before["als"]["implicitPrefs"] or before["als"]["rank"] != self.config.als.rank:
            return SimpleNamespace(release_id=None, told="scratch (the live release has factors of another kind)")
        return SimpleNamespace(release_id=live.name, told=f"release {live.name}")

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

    def save_parts(self, table: str, schema: pyarrow.Schema, write: Callable[[Parts], DataFrame]) -> DataFrame:
        """Have Spark's tasks write a table of the release, as write() plans it, and return it as read back."""
        parts = Parts(self.build.path / table, schema)
        parts.keep(row.attempt for row in write(parts).collect())
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
                evaluated = _measured(store.read_manifest(store.release_dir(self.warehouse)))
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
            self.say(f"{'':<11} most moved, by lists on whose first ten they stand: {'; '.join(titles) or 'none'}")
        return folder

    def show_example(self, folder: Path) -> None:
        """Print ten recommendations from a release for the configured favourites, and how to go on."""
        with contextlib.closing(Recommender(folder)) as recommender:
            movies = recommender.example(self.config.example.favourites)
            favourites = [named(movie) for movie in movies]
            rows = recommender.recommend([movie.movie_id for movie in movies])
        self.console.print("", recommendations_table(favourites, rows), "")
        python = os.environ.get("PIPELINE_PYTHON", "python")
        overlays = self.options.conf
        where = "".join(f" --conf {shlex.quote(name)}" for name in overlays)
        if self.config.warehouse.dir != configuration.load(overlays).warehouse.dir:
            where += f" --set warehouse.dir={shlex.quote(str(self.warehouse))}"
        page = f"{python} -m streamlit run app/streamlit_app.py{where and ' --' + where}"
        titles = " ".join(shlex.quote(title) for title in favourites)
        self.say(f"ask for others: {python} -m pipeline recommend{where} {titles}\nopen the page: {page}")

    def log(self, **fields: Any) -> None:
        """Append a line of JSON to the run's log, beside Spark's, and to run.jsonl in the release in the making; where
        the disk does not take it, the run goes on without."""
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
        """Print a line for the operator, as it stands."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def start(
    main: Callable[[Run], None],
    description: str,
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    *,
    warehouse: bool = True,
) -> None:
    """Run a job's main() and exit: 0 done, 1 a mistake that one line explains, 2 wrong options, 3 refused by a gate, 75
    another run is at it, 130 stopped.

    add_options adds what only this job takes; main finds it in run.options. warehouse: whether it writes there.
    """
    parser = argparse.ArgumentParser(description=description)
    add_options(parser)
    configuration.add_arguments(parser)
    options = parser.parse_args()
    console = open_console(terminal=os.environ.get("PIPELINE_TERMINAL") == "yes")
    ended = Ended()
    try:
        config = ended.config = configuration.load(options.conf, options.settings)
        if warehouse and "://" in config.warehouse.dir.removeprefix("file://"):
            raise PipelineError(
                f"{config.warehouse.dir}: the warehouse must be a folder that the driver and every executor mount; "
                "give --set warehouse.dir=DIR"
            )
        place = Path(config.warehouse.dir.removeprefix("file://"))
        with store.writer_lock(place) if warehouse else contextlib.nullcontext():
            with contextlib.suppress(PipelineError):
                ended.live = store.current_id(place)
            ended.warehouse = place if warehouse else None
            with progress("start", None, console):
                spark = session(Path(sys.argv[0]).stem)
            # In place of PySpark's own handler, which asks a JVM that Ctrl-C has reached as well to cancel its jobs.
            signal.signal(signal.SIGINT, lambda *_: ended.stopped(console.is_terminal))
            run = Run(config, spark, console, options)
            ended.manifest = lambda: run.manifest
            try:
                main(run)
            finally:
                ended.moved = ended.went_live()
            spark.stop()
        ended.tell_prometheus(succeeded=True)
    except KeyboardInterrupt:
        ended.stopped(console.is_terminal)
    except Exception as error:
        with contextlib.suppress(PipelineError):  # what went wrong first is what is told
            ended.tell_prometheus(succeeded=False)
        if options.verbose:
            traceback.print_exc()
        elif log := os.environ.get("PIPELINE_LOG"):
            with contextlib.suppress(OSError), open(log, "a", encoding="utf-8") as file:
                traceback.print_exc(file=file)
        line = in_one_line(error)
        if ended.moved and store.NEW_IS_LIVE not in line:
            line += f"; {store.NEW_IS_LIVE}"
        leave(getattr(error, "exit_code", 1), f"error: {line}")


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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _measured(manifest: dict[str, Any]) -> set[str]:
    """Return what was measured of the lists that are served: what gates/bounds/live_quality.sql compares."""
    return {name for name in manifest.get("metrics", {}) if "favourites" in name}


def _shaping(config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the sections of a configuration that tables and measures depend on."""
    return {name: keys for name, keys in config.items() if name not in LATE}


def _code() -> list[str]:
    """Return the checksums of what makes the tables: pipeline and jobs, wherever they were loaded from."""
    found, left = [], [importlib.resources.files("pipeline"), importlib.resources.files("jobs")]
    while left:
        for entry in left.pop().iterdir():
            if entry.name.endswith((".py", ".sql")):
                found.append(_digest(entry.read_bytes()))
            elif entry.is_dir():
                left.append(entry)
    return sorted(found)


def input_files(paths: list[str]) -> list[dict]:
    """Return path, bytes and sha256 of input files, given as URIs or paths; sha256 is null where no driver-side
    file system can read them."""
    entries = []
    for path in paths:
        entry = {"path": path.removeprefix("file://"), "bytes": None, "sha256": None}
        try:
            filesystem, inner = pyarrow.fs.FileSystem.from_uri(path)
            digest = hashlib.sha256()
            with filesystem.open_input_stream(inner) as stream:
                entry["bytes"] = filesystem.get_file_info(inner).size
                while chunk := stream.read(1 << 22):
                    digest.update(chunk)
            entry["sha256"] = digest.hexdigest()
        except (OSError, ValueError, ImportError, NotImplementedError):
            pass
        entries.append(entry)
    return entries


def session(name: str) -> SparkSession:
    """Return the Spark session that the tables are made with; name: of the application."""
    builder = SparkSession.builder.appName(name)
    for key, value in SESSION.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
