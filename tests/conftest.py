"""What the tests share: one Spark session, the jobs run as an operator runs them, and small releases made by hand."""

import contextlib
import io
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import schemas
from pipeline.release.build import Build

# Many inputs, the same ones on every run; tests/data/test_fuzz.py says how to try far more, new ones each time.
hypothesis.settings.register_profile("ci", max_examples=60, derandomize=True)
hypothesis.settings.register_profile("exhaustive", max_examples=5000)
hypothesis.settings.load_profile("ci")

ROOT = Path(__file__).resolve().parent.parent
# Half of the time of a job as short as these goes into Java's optimising compiler, and some of it into proving that
# Spark's classes are well formed. spark-submit reads this variable for the driver.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
QUICK += (
    " -XX:ReservedCodeCacheSize=128m"  # by default too small for a session that many tests share: it would be swept
)
os.environ["SPARK_SUBMIT_OPTS"] = QUICK
# For a few rows, to write Java for each plan and compile it takes longer than to go through the plan; from a hundred
# thousand on it does not.
OF_FEW_ROWS = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.python.sql.dataFrameDebugging.enabled": "false",  # it looks at Python's stack at every call
}
FEW_ROWS = " ".join(f"-D{key}={value}" for key, value in OF_FEW_ROWS.items())
WITHOUT_BLAS = ["--conf", "spark.driver.extraJavaOptions=-Xss16m"]  # as a cluster's executors add up
# These files take minutes each: begun last, one of them would keep a single processor busy when all else is done.
LONG = [
    "test_main_job.py", "test_evaluation_jobs.py", "test_docs.py", "test_runs.py", "test_cluster.py", "test_browser.py",
    "test_your_data.py", "test_checks.py", "test_schedule.py", "test_als.py", "test_faults.py", "test_app.py",
]  # fmt: skip
ARROW_TYPES = {
    "int": pa.int32(),
    "bigint": pa.int64(),
    "smallint": pa.int16(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "array<string>": pa.list_(pa.string()),
    "array<float>": pa.list_(pa.float32()),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """One local session for all tests that need one, made when the first asks for it."""
    os.environ["PIPELINE_LOG"] = str(tmp_path_factory.mktemp("log") / "spark.log")
    os.environ["LOG4J_CONFIGURATION_FILE"] = str(ROOT / "conf" / "log4j2.properties")
    os.environ["PYTHONPATH"] = str(ROOT)  # the workers import pipeline, too
    os.environ["PYSPARK_PYTHON"] = sys.executable  # by default the first python3 on PATH
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.sql import SparkSession

    from pipeline.batch.session import SESSION

    builder = SparkSession.builder.master("local[2]").config("spark.driver.extraJavaOptions", "-Xss16m")
    lines = (ROOT / "conf" / "spark-local.conf").read_text().splitlines()
    of_one_machine = dict(line.split() for line in lines if not line.startswith("#"))
    for key, value in {**of_one_machine, **OF_FEW_ROWS, "spark.sql.shuffle.partitions": "2", **SESSION}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def of_the_copy(checkout: Path) -> dict[str, str]:
    """Return an environment in which a copy of the project imports its own code: .venv is that of the project."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


def submit(*arguments: str, root: Path = ROOT, **env: str) -> subprocess.CompletedProcess:
    """Run spark-submit.sh of a checkout as an operator would, on a few rows; stdout and stderr as text. env: None takes
    away a variable, SPARK_SUBMIT_OPTS=QUICK is for more rows."""
    quick = {"PYSPARK_PYTHON": "", "LOG4J_CONFIGURATION_FILE": "", "SPARK_SUBMIT_OPTS": f"{QUICK} {FEW_ROWS}"}
    environment = {**os.environ, **quick, **env}
    environment = {key: value for key, value in environment.items() if value is not None and value != ""}
    for inherited in ("PIPELINE_LOG", "PYTHONPATH", "SPARK_LOCAL_IP"):
        environment.pop(inherited, None)
    if root != ROOT:
        environment["PYTHONPATH"] = str(root)
    is_job = any(str(argument).startswith(("jobs/", "benchmarks/")) for argument in arguments)
    command = [str(root / "spark-submit.sh"), *(WITHOUT_BLAS if is_job else []), *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="session")
def run(spark):
    """Runs a job as submit() does, in this process and on the session that is there: starting both takes longer than
    all that a job does with a few rows."""

    class Left(BaseException):
        """The job has ended its process."""

    def leave(code, line):
        print(line)
        raise Left(code)

    def run(script, *arguments):
        printed, code = io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, contextlib.chdir(ROOT):
            patch.setattr(sys, "argv", [str(ROOT / script), *map(str, arguments)])
            patch.setattr("pipeline.batch.application.leave", leave)
            patch.setattr(type(spark), "stop", lambda _: None)
            handler = signal.getsignal(signal.SIGINT)
            try:
                with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                    runpy.run_path(sys.argv[0], run_name="__main__")
            except Left as left:
                (code,) = left.args
            finally:
                signal.signal(signal.SIGINT, handler)
                spark.catalog.clearCache()
                for kept in spark.sparkContext._jsc.getPersistentRDDs().values():
                    kept.unpersist()
        return subprocess.CompletedProcess([script, *arguments], code, printed.getvalue(), "")

    return run


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project with this environment, so that the developer's own warehouse stays as it is."""
    folder = tmp_path_factory.mktemp("checkout")
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in names.stdout.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    # What is shown does not depend on how often it was measured.
    change_settings(folder, protocol=("all", "strangers"), folds=(3, 2), draws=(2, 1), max_users=(2000, 100))
    return folder


def change_settings(checkout: Path, **changes: tuple) -> None:
    """Change defaults in a checkout's conf/pipeline.yaml; changes: what a setting was, and what it is to be."""
    conf = checkout / "conf" / "pipeline.yaml"
    text = conf.read_text()
    for name, (before, after) in changes.items():
        text, found = re.subn(rf"^  {name}: {before}(?=\s)", f"  {name}: {after}", text, flags=re.M)
        assert found == 1, name
    conf.write_text(text)


def write_table(folder: Path, table: str, rows: list[tuple]) -> None:
    """Write rows as a table of a release, one Parquet file; last columns that a row leaves out are null."""
    columns = schemas.TABLES[table]
    schema = pa.schema([(column.name, ARROW_TYPES[column.type]) for column in columns])
    (folder / table).mkdir(parents=True, exist_ok=True)
    records = [dict(zip(schema.names, row, strict=False)) for row in rows]
    pq.write_table(pa.Table.from_pylist(records, schema=schema), folder / table / "part-0.parquet")


MOVIES = [
    # movie_id, title, year, genres, imdb_id, tmdb_id, n_ratings, mean_rating, raw_title; without IMDb's files
    (1, "Toy Story", 1995, ["Animation", "Comedy"], "tt0114709", 862, 200, 3.9, "Toy Story (1995)"),
    (2, "Toy Story 2", 1999, ["Animation", "Comedy"], None, None, 90, 3.8, "Toy Story 2 (1999)"),
    (3, "Heat", 1995, ["Crime"], None, None, 100, 3.9, "Heat (1995)"),
    (4, "The Heat", 2013, ["Comedy", "Crime"], None, None, 6, 3.0, "Heat, The (2013)"),
    (5, "The Matrix", 1999, ["Action"], None, None, 270, 4.2, "Matrix, The (1999)"),
    (6, "Amélie (Le Fabuleux destin)", 2001, ["Comedy"], None, None, 120, 4.1, "Amelie (Fabuleux destin, Le) (2001)"),
    (7, "Emma", 1996, ["Comedy"], None, None, 30, 3.9, "Emma (1996)"),
    (8, "Emma", 1996, ["Drama"], None, None, 1, 3.0, "Emma (1996)"),
    (9, "Unseen", None, ["Crime"], None, None, 0, None, "Unseen"),
    (10, "Genreless", None, [], None, None, 0, None, "Genreless"),
]
MOVIES = [(*movie, str(movie[0])) for movie in MOVIES]  # item_id
NEIGHBOURS = [
    # movie_id, neighbour_id, rank, similarity, which is the weight as well where a row has none
    (1, 2, 1, 0.75), (1, 6, 2, 0.25), (1, 5, 3, 0.125), (1, 7, 4, -0.5),
    (3, 5, 1, 0.375), (3, 6, 2, 0.25), (3, 1, 3, 0.125),
    (5, 3, 1, 0.5), (5, 1, 2, 0.25),
]  # fmt: skip
POPULARITY = [
    ("*", 5, 1, 1.0), ("*", 1, 2, 0.75), ("*", 6, 3, 0.5), ("*", 3, 4, 0.25),
    ("Animation", 1, 1, 0.75), ("Comedy", 1, 1, 0.75), ("Comedy", 6, 2, 0.5),
    ("Crime", 3, 1, 0.25), ("Action", 5, 1, 1.0),
]  # fmt: skip


def write_build(warehouse: Path, **tables: list[tuple]) -> Build:
    """Begin a build that holds the tables above, or those given instead."""
    return fill(Build.start(warehouse), **tables)


def fill(build: Build, **tables: list[tuple]) -> Build:
    """Write the tables above, or those given instead, into a build."""
    rows = {"movies": MOVIES, "neighbours": NEIGHBOURS, "popularity": POPULARITY, "rejected": []}
    rows["item_factors"] = [(movie, [1.0, 0.5]) for movie in (1, 2, 3, 5)]
    rows |= tables
    rows["movies"] = [movie if len(movie) > 9 else (*movie, str(movie[0])) for movie in rows["movies"]]  # item_id
    rows["neighbours"] = [row if len(row) > 4 else (*row, row[3]) for row in rows["neighbours"]]  # weight
    for table, content in rows.items():
        write_table(build.path, table, content)
    build.record("inputs", [{"path": "/data/ratings.csv", "bytes": 1, "sha256": "0"}])
    return build


def publish(warehouse: Path, **tables: list[tuple]) -> Path:
    """Publish a release of hand-made tables and return its folder."""
    return write_build(warehouse, **tables).publish(k=4, als_rank=2, min_support=1)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory) -> Path:
    """A warehouse with one release made by hand."""
    folder = tmp_path_factory.mktemp("warehouse")
    publish(folder)
    return folder


# Settings for a catalogue of forty movies. The residual is in tests/model/test_spectral.py, and in the README's test.
TINY = ["--set", "als.rank=8", "--set", "als.maxIter=2", "--set", "neighbours.k=12", "--set", "popularity.weight=0"]
TINY += ["--set", "evaluation.enabled=false", "--set", "map.titles=0", "--set", "spectral.residual=0"]


def settings(data, warehouse):
    return ["--set", f"data.dir={data}", "--set", f"warehouse.dir={warehouse}"]


@pytest.fixture(autouse=True)
def nothing_cached():
    """Tests that run one after the other in a process each have settings and releases of their own on the page."""
    if streamlit := sys.modules.get("streamlit"):
        streamlit.cache_resource.clear()
        streamlit.cache_data.clear()


@pytest.fixture(scope="session")
def checkerboard(tmp_path_factory):
    """Users and movies of two colours; users like only movies of their own colour, and not all of them.

    So whoever likes an odd movie must be recommended odd ones. Movie 41 nobody rated, 42 was rated but not liked.
    """
    folder = tmp_path_factory.mktemp("checkerboard")
    ratings = ["userId,movieId,rating,timestamp"]
    for user in range(1, 41):
        for movie in range(1, 41):
            if (user + movie) % 2 == 0 and (user * 7 + movie * 3) % 5 != 0:
                ratings.append(f"{user},{movie},{4 + (user + movie) % 4 / 4:g},{1000 + movie}")
        ratings.append(f"{user},42,1.5,1000")
    movies = ["movieId,title,genres"]
    movies += [
        f"{movie},{'Black' if movie % 2 else 'White'} {movie},{'A' if movie % 2 else 'B'}" for movie in range(1, 43)
    ]
    (folder / "ratings.csv").write_text("\n".join(ratings) + "\n")
    (folder / "movies.csv").write_text("\n".join(movies) + "\n")
    return folder
