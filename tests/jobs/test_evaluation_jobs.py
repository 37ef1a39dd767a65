"""Evaluation and tuning as an operator runs them, on the checkerboard, and the notebook on what they leave."""

import re
import shlex

import duckdb
import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from pipeline import config
from pipeline.release import store
from pipeline.release.manifest import read_manifest
from tests.conftest import ROOT, TINY, settings

EVALUATE = ["--set", "evaluation.enabled=true", "--set", "evaluation.folds=2", "--set", "evaluation.variants=true"]
EVALUATE += ["--set", "evaluation.draws=1"]


@pytest.fixture(scope="module")
def evaluated(run, checkerboard, tmp_path_factory):
    """A warehouse whose release was evaluated in the main job, and what the job printed."""
    warehouse = tmp_path_factory.mktemp("evaluated")
    result = run("jobs/run_pipeline.py", *settings(checkerboard, warehouse), *TINY, *EVALUATE)
    assert result.returncode == 0, result.stdout + result.stderr
    return warehouse, result


def measures(folder):
    """Return (protocol, model, n_favourites, metric, k) -> (value, ci_low, ci_high)."""
    rows = duckdb.sql(f"from read_parquet('{folder}/metrics/*.parquet')").fetchall()
    return {tuple(row[:5]): row[5:] for row in rows}


def test_evaluation_finds_that_colours_are_all_that_matters(evaluated):
    """Within a colour likes are nearly alike: asking for one colour must find it, and random must not."""
    warehouse, result = evaluated
    folder = store.release_dir(warehouse)
    found = measures(folder)
    ndcg = {
        model: value[0]
        for (p, model, n, metric, _), value in found.items()
        if (p, n, metric) == ("strangers", 5, "ndcg")
    }
    assert ndcg["served"] > 0.7 > 0.55 > ndcg["random"] and ndcg["EASE, 200"] > 0.7
    assert {key[0] for key in found} >= {"strangers", "histories", "strangers, 5 to 20"}
    assert {key[2] for key in found if key[0] == "strangers"} == {1, 3, 5, 10}
    assert {(key[2], key[4]) for key in found if key[0] == "histories"} == {(None, k) for k in (10, 20, 50, 100)}
    assert all(value[1] <= value[0] <= value[2] for key, value in found.items() if key[3] != "coverage")
    # Forty movies and two colours: a list of a hundred holds all there is, so nothing hidden is missed.
    assert found["histories", "served", None, "recall", 100][0] == 1.0
    # Another seed keeps the colour, and mixes the ten of its nineteen: more than the half that chance would leave.
    assert 0.5 < found["strangers", "served", 5, "stability", 10][0] < 1
    manifest = read_manifest(folder)
    assert manifest["metrics"]["strangers, 5 favourites, ndcg@10"] == pytest.approx(ndcg["served"], abs=1e-4)
    assert "strangers with 5 favourites" in result.stdout


def test_a_release_holds_its_report(evaluated):
    folder = store.release_dir(evaluated[0]) / "report"
    text = (folder / "evaluation.md").read_text()
    served = measures(folder.parent)["strangers", "served", 5, "ndcg", 10][0]
    assert f"{served:.4f}" in text and "$" not in text
    made_by = text.partition("Made by `")[2].partition("`")[0]  # what was typed, not what makes docs/evaluation.md
    assert made_by.startswith("./spark-submit.sh jobs/run_pipeline.py ") and shlex.join(EVALUATE) in made_by
    for plot in re.findall(r"\]\((evaluation/.*?\.png)\)", text):
        assert (folder / plot).read_bytes().startswith(b"\x89PNG")
    assert text.count("](evaluation/") == 3


def test_the_notebook_runs_on_a_release(evaluated, monkeypatch):
    monkeypatch.setenv("WAREHOUSE", str(evaluated[0]))
    notebook = nbformat.read(ROOT / "notebooks" / "evaluation.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    printed = str([cell.get("outputs") for cell in notebook.cells])
    assert "served" in printed and "image/png" in printed
    committed = nbformat.read(ROOT / "notebooks" / "evaluation.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in committed.cells), "commit the notebook without its outputs"


def test_a_given_pair_of_files_is_evaluated_as_it_stands(run, checkerboard, tmp_path):
    """One movie of each user's colour is the test; LightGCN's form: a user, then the items."""
    likes = {}
    for line in (checkerboard / "ratings.csv").read_text().splitlines()[1:]:
        user, movie, stars, _ = line.split(",")
        if float(stars) >= 4:
            likes.setdefault(user, []).append(movie)
    test = {user: movies.pop(int(user) % len(movies)) for user, movies in likes.items()}
    (tmp_path / "train.txt").write_text("".join(f"{user} {' '.join(movies)}\n" for user, movies in likes.items()))
    (tmp_path / "test.txt").write_text("".join(f"{user} {movie}\n" for user, movie in test.items()))
    options = ["--set", f"data.dir={tmp_path}/train.txt", "--set", f"evaluation.test={tmp_path}/test.txt", *TINY]
    options += ["--set", "evaluation.protocol=histories", "--set", f"warehouse.dir={tmp_path}/w"]
    result = run("jobs/evaluate.py", *options, "--report", tmp_path / "docs")
    assert result.returncode == 0, result.stdout + result.stderr
    found = measures(tmp_path / "w" / "evaluation")
    assert {key[0] for key in found} == {"histories"}
    assert "explicit ALS, cosine" in {key[1] for key in found}
    assert "these ALS factors, cosine" not in {key[1] for key in found}, "variants are measured on request"

    def value(model, metric, k):
        return found["histories", model, None, metric, k][0]

    # One target a user: hit rate and recall are the same. No more than twenty of a colour: twenty titles find it.
    assert all(value("served", "recall", k) == value("served", "hit_rate", k) for k in (10, 20, 50, 100))
    assert value("served", "recall", 20) > 0.9 > value("random", "recall", 20)
    made_by = (tmp_path / "docs" / "evaluation.md").read_text().partition("Made by `")[2].partition("`")[0]
    assert made_by.startswith("./spark-submit.sh jobs/evaluate.py ") and made_by.endswith(f" --report {tmp_path}/docs")


def test_tuning_writes_an_overlay_and_goes_on_where_it_stopped(run, checkerboard, tmp_path):
    out = tmp_path / "best.yaml"
    options = [
        *settings(checkerboard, tmp_path / "w"),
        *TINY,
        "--set",
        "evaluation.folds=2",
        "--set",
        "evaluation.draws=1",
    ]
    search = ["jobs/tune.py", "--protocol", "strangers", "--budget", "0.01", "--out", out, *options]
    result = run(*search)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"trial 0 +0\.\d+", result.stdout)
    overlay = yaml.safe_load(out.read_text())
    assert "als" not in overlay and 5 <= overlay["spectral"]["shrinkage"] <= 80
    found = config.load([str(out)], [])
    assert found.spectral.shrinkage == overlay["spectral"]["shrinkage"]
    assert "Mean of nDCG@10 and recall@10" in out.read_text()
    again = run(*search)
    assert again.returncode == 0, again.stdout
    assert "resuming after" in again.stdout and "trial 0 " not in again.stdout, again.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "0", "--out", "best.yaml"], "give the minutes to search"),
        (["--budget", "1", "--out", "/nowhere/best.yaml"], "no file can be written there"),
    ],
)
def test_a_search_that_cannot_end_well_is_not_begun(run, tmp_path, options, message):
    result = run("jobs/tune.py", "--protocol", "strangers", *options, "--set", f"warehouse.dir={tmp_path}")
    assert result.returncode == 1 and message in result.stdout + result.stderr
