"""The jobs as an operator runs them: through spark-submit.sh, from CSV to recommendations."""

import json
import os
import re
import signal
import subprocess
import time

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.release import store
from pipeline.release.build import UNFINISHED
from pipeline.release.manifest import read_manifest
from pipeline.serving.recommender import Recommender
from tests.conftest import ROOT, TINY, WITHOUT_BLAS, settings, submit


def assert_checkerboard_lists(folder):
    recommender = Recommender(folder)
    for favourites in ([1, 3], [2, 8, 12], [17]):
        rows = recommender.recommend(favourites)
        assert len(rows) == 10
        assert all(row.source == "neighbours" and (row.movie_id - favourites[0]) % 2 == 0 for row in rows)
    # Nobody rated 41: its list comes from its genre alone.
    cold = recommender.recommend([41])
    assert {row.source for row in cold} == {"neighbours"}
    assert all(row.movie_id % 2 == 1 for row in cold)
    recommender.close()


@pytest.fixture(scope="module")
def published(checkerboard, tmp_path_factory):
    """A warehouse that the main job published from the checkerboard, with what it printed."""
    warehouse = tmp_path_factory.mktemp("published")
    more = ["--set", f"operations.prometheus_file={warehouse.parent / 'run.prom'}", "--set", "map.titles=2000"]
    options = [*settings(checkerboard, warehouse), *TINY, *more, "--fresh"]
    result = submit("jobs/run_pipeline.py", *options, SPARK_CORES="4")
    assert result.returncode == 0, result.stdout + result.stderr
    return warehouse, result


def test_main_job_goes_from_csv_to_recommendations(published, checkerboard):
    warehouse, result = published
    folder = store.release_dir(warehouse)
    assert_checkerboard_lists(folder)
    for stage in (
        "ingest",
        "train",
        "neighbours",
        "publish",
        "Because you liked",
        "streamlit run app/streamlit_app.py",
    ):
        assert stage in result.stdout
    assert "680 ratings of 42 movies, 0 rows rejected" in result.stdout
    manifest = read_manifest(folder)
    assert {os.path.basename(source["path"]) for source in manifest["inputs"]} == {"ratings.csv", "movies.csv"}
    assert manifest["config"]["als"]["rank"] == 8 and manifest["config"]["data"]["dir"] == str(checkerboard)
    assert {"python", "pyspark", "java", "duckdb"} <= set(manifest["versions"])
    assert {"ingest", "train", "neighbours"} <= set(manifest["timings"])


def test_main_job_draws_a_map_on_which_the_colours_stand_apart(published):
    warehouse, result = published
    assert "map         41 titles" in result.stdout
    recommender = Recommender(store.release_dir(warehouse))
    places = {place.movie_id: np.array([place.x, place.y]) for place in recommender.places()}
    recommender.close()
    assert set(places) == {*range(1, 41), 42}
    for movie, place in places.items():
        distances = {other: np.linalg.norm(place - there) for other, there in places.items() if other != movie}
        assert (min(distances, key=distances.get) - movie) % 2 == 0


def test_machines_are_told_what_the_run_did(published):
    warehouse, result = published
    folder = store.release_dir(warehouse)
    log = ROOT / re.search(r"Spark's log: (\S+)", result.stdout)[1]
    lines = [json.loads(line) for line in log.with_suffix(".jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["ingest", "train", "neighbours", "map", "publish"]
    in_release = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    assert in_release == lines[:-1]  # a published release does not change
    rows = duckdb.sql(f"select count(*) from read_parquet('{folder}/neighbours/*.parquet')").fetchall()[0][0]
    size = sum(path.stat().st_size for path in folder.glob("neighbours/*.parquet"))
    assert lines[2]["tables"] == {"neighbours": {"rows": rows, "bytes": size}}
    assert all(line["seconds"] > 0 and line["python_mib"] > 20 for line in lines)
    assert not os.path.exists("/proc/self") or all(line["jvm_mib"] > 100 for line in lines)
    told = dict(line.rsplit(" ", 1) for line in (warehouse.parent / "run.prom").read_text().splitlines())
    assert told['pipeline_last_run_succeeded{job="run_pipeline"}'] == "1"
    assert abs(float(told['pipeline_last_run_end_seconds{job="run_pipeline"}']) - time.time()) < 3600
    assert float(told['pipeline_stage_seconds{job="run_pipeline",stage="train"}']) == lines[1]["seconds"]
    assert told['pipeline_table_rows{job="run_pipeline",table="neighbours"}'] == str(rows)


def test_console_is_calm_and_the_log_is_named(published):
    _, result = published
    output = result.stdout + result.stderr
    for noise in ("WARN", "ERROR", "Traceback", "incubator", "netlib", "log4j"):
        assert noise not in output
    log = next(line.removeprefix("Spark's log: ") for line in output.splitlines() if line.startswith("Spark's log: "))
    assert (ROOT / log).stat().st_size > 0


def test_parquet_is_written_as_the_contract_says(published):
    folder = store.release_dir(published[0])
    file = pq.ParquetFile(sorted((folder / "neighbours").glob("*.parquet"))[0])
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    columns = file.read().to_pydict()
    order = list(zip(columns["movie_id"], columns["rank"], strict=True))
    assert order == sorted(order)


def test_saved_model_loads(published, spark):
    from pyspark.ml.recommendation import ALSModel

    folder = store.release_dir(published[0])
    model = ALSModel.load(str(folder / "model" / "als"))
    assert model.rank == 8
    n_factors = duckdb.sql(f"select count(*) from read_parquet('{folder}/item_factors/*.parquet')").fetchall()[0][0]
    assert model.itemFactors.count() == n_factors == 40


def test_train_and_build_apart_on_fewer_cores_make_the_same_lists(run, published, checkerboard, tmp_path):
    options = [*settings(checkerboard, tmp_path), *TINY]
    assert run("jobs/train_als.py", *options).returncode == 0
    assert store.current_id(tmp_path) is None
    result = run("jobs/build_neighbours.py", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    together, apart = (store.release_dir(warehouse) for warehouse in (published[0], tmp_path))
    query = "from read_parquet('{}/neighbours/*.parquet') order by movie_id, rank"
    assert duckdb.sql(query.format(together)).fetchall() == duckdb.sql(query.format(apart)).fetchall()


def test_a_killed_run_leaves_the_old_release_live_and_the_next_one_goes_on(run, published, checkerboard):
    warehouse, _ = published
    before = store.release_dir(warehouse)
    options = [*settings(checkerboard, warehouse), *TINY]
    command = [ROOT / "spark-submit.sh", *WITHOUT_BLAS, "jobs/run_pipeline.py", *options]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (warehouse / "building" / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert job.poll() is None, "the run ended before it could be killed"
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert store.release_dir(warehouse) == before
    assert_checkerboard_lists(before)
    assert store.published_ids(warehouse) == [before.name]
    result = run("jobs/run_pipeline.py", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "train       was finished by the run before" in result.stdout
    after = store.release_dir(warehouse)
    assert after != before and not set(UNFINISHED) & set(read_manifest(after))
    lists = "select * from read_parquet('{}/neighbours/*.parquet')"
    assert not duckdb.sql(f"{lists.format(after)} except {lists.format(before)}").fetchall()


def processes_of(group):
    """The command lines of the living processes of a process group."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [row[2] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def test_ctrl_c_stops_everything_in_one_line(checkerboard, tmp_path):
    command = [ROOT / "spark-submit.sh", "jobs/run_pipeline.py", *settings(checkerboard, tmp_path), *TINY]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (tmp_path / "building").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 130
    assert "stopped; what was published before is untouched" in output
    assert "Traceback" not in output and "Error" not in output
    deadline = time.monotonic() + 60
    while (left := processes_of(run.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    assert store.current_id(tmp_path) is None


def test_a_mistake_ends_in_one_line_and_leaves_everything_as_it_was(run, published, tmp_path):
    warehouse, _ = published
    before = store.release_dir(warehouse)
    result = submit("jobs/run_pipeline.py", *settings(tmp_path, warehouse))
    assert result.returncode == 1
    errors = [line for line in (result.stdout + result.stderr).splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and str(tmp_path) in errors[0] and "download_movielens" in errors[0]
    assert "Traceback" not in result.stdout + result.stderr
    assert store.release_dir(warehouse) == before
    told = ["--set", f"operations.prometheus_file={tmp_path / 'run.prom'}"]
    again = run("jobs/run_pipeline.py", *settings(tmp_path, warehouse), *told, "--verbose")
    assert again.returncode == 1 and "Traceback" in again.stdout
    assert 'pipeline_last_run_succeeded{job="run_pipeline"} 0' in (tmp_path / "run.prom").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jobs/no_such.py"], "no such job"),
        (["please"], "not a job"),
        (["--set"], "--set needs"),
    ],
)
def test_wrong_command_lines_are_named(arguments, words):
    result = submit(*arguments)
    assert result.returncode != 0 and words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_help_explains():
    result = submit("--help")
    assert result.returncode == 0
    for word in ("jobs/run_pipeline.py", "--conf", "--set", "JAVA_HOME", "SPARK_MEMORY"):
        assert word in result.stdout
