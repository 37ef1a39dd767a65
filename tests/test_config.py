"""Overlays and settings win in the order they are given, and a slip of the finger is named."""

import re
import runpy
import subprocess
import sys

import pytest

from pipeline import config
from pipeline.config import PipelineError


def test_later_overlays_and_settings_win(tmp_path):
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("als: {rank: 8, maxIter: 3}\nneighbours: {k: 5}\n")
    second.write_text("als: {rank: 16}\n")
    loaded = config.load([str(first), str(second)], ["neighbours.k=7", "als.regParam=1e-3", "als.numUserBlocks=4"])
    assert (loaded.als.rank, loaded.als.maxIter, loaded.neighbours.k) == (16, 3, 7)
    assert (loaded.als.regParam, loaded.als.numUserBlocks) == (0.001, 4)


def test_paths_of_files_are_relative_to_the_project_and_settings_to_the_current_folder():
    assert config.load().data.dir == str(config.ROOT / "data/ml-latest-small")
    assert config.load([], ["data.dir=mine", "warehouse.dir=123"]).data.dir == "mine"
    assert config.load().sessions.path == str(config.ROOT / "sessions/sessions.sqlite")
    assert config.load().data.more_ratings == []
    assert config.load([], ["sessions.path=", "data.more_ratings=7.csv"]).sessions.path == ""
    assert config.load([], ["data.dir=s3a://bucket/ml"]).data.dir == "s3a://bucket/ml"


def test_further_ratings_are_one_place_or_several(tmp_path):
    def places(*settings, overlay="{}"):
        (tmp_path / "o.yaml").write_text(overlay)
        return config.load([str(tmp_path / "o.yaml")], settings).data.more_ratings

    assert places("data.more_ratings=my thumbs: all.csv") == ["my thumbs: all.csv"]
    assert places("data.more_ratings=[new, 'a, b.csv']") == ["new", "a, b.csv"]
    assert places("data.more_ratings=", overlay="data: {more_ratings: [new]}") == []
    assert places(overlay="data: {more_ratings: [new, s3a://b/new]}") == [str(config.ROOT / "new"), "s3a://b/new"]
    assert places(overlay="data: {more_ratings: new}") == [str(config.ROOT / "new")]


def test_mvp_overlay_is_the_outline():
    loaded = config.load(["conf/mvp.yaml"])
    als = loaded.als
    assert (als.rank, als.maxIter, als.regParam, als.implicitPrefs) == (50, 10, 0.05, False)
    assert loaded.neighbours.similarity == "cosine"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("als.rnk=3", ["als.rnk", "als.rank"]),
        ("neighbors.k=3", ["neighbors.k", "neighbours.k"]),
        ("als.rank=many", ["als.rank", "int", "'many'"]),
        ("als.rank=true", ["als.rank", "int"]),
        ("als.implicitPrefs=1", ["als.implicitPrefs", "bool"]),
        ("als", ["section.key=value"]),
        ("als.rank=[1", ["als.rank", "YAML"]),
        ("neighbours.similarity=euclid", ["neighbours.similarity", "whitened", "cosine"]),
        ("likes.weight=loud", ["likes.weight", "constant", "graded"]),
        ("neighbours.k=0", ["neighbours.k", "1"]),
        ("neighbours.k=40000", ["neighbours.k", "32767"]),
        ("gates.skip=[ranks]", ["gates.skip", "'ranks'", "coverage, hubs, live_quality, live_rows"]),
        ("gates.skip=coverage", ["gates.skip", "list"]),
        ("data.more_ratings=[a, 1]", ["data.more_ratings", "list of paths"]),
        ("als.solver=cg", ["als.solver", "spark", "conjugate_gradient"]),
        ("data.ids=text", ["data.ids", "integer", "string"]),
        ("data.columns={user: customer}", ["data.columns", "'user'", "user_id, movie_id, rating"]),
        ("data.columns={user_id: 7}", ["data.columns", "name for user_id", "7"]),
        ("data.files={ratings: [a.csv]}", ["data.files", "name for ratings"]),
        ("data.files=orders.csv", ["data.files", "dict"]),
        ("data.genre_separator=", ["data.genre_separator", "--set"]),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(setting, words):
    with pytest.raises(PipelineError) as error:
        config.load([], [setting])
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("als:\n  rank: a: b\n", ["line 2", "YAML"]),
        ("- a\n", ["sections"]),
        ("als: 5\n", ["als"]),
        ("als: {rnk: 1}\n", ["als.rank"]),
    ],
)
def test_a_wrong_overlay_is_named_in_one_line(tmp_path, text, words):
    overlay = tmp_path / "o.yaml"
    overlay.write_text(text)
    with pytest.raises(PipelineError) as error:
        config.load([str(overlay)])
    assert "\n" not in str(error.value)
    for word in ["o.yaml", *words]:
        assert word in str(error.value)


def test_a_missing_overlay_is_named():
    with pytest.raises(PipelineError, match=r"no-such\.yaml"):
        config.load(["no-such.yaml"])


def test_only_our_own_solver_starts_warm():
    with pytest.raises(PipelineError, match=r"takes no factors .*als\.solver=conjugate_gradient"):
        config.load([], ["als.warm_start=true"])
    assert config.load([], ["als.warm_start=true", "als.solver=conjugate_gradient"]).als.warm_start


def test_the_solver_that_knows_likes_only_refuses_stars():
    assert config.load([], ["als.solver=conjugate_gradient"]).als.solver == "conjugate_gradient"
    for overlays, more in ((["conf/mvp.yaml"], []), ([], ["als.nonnegative=true"])):
        with pytest.raises(PipelineError, match=r"takes als\.implicitPrefs=true"):
            config.load(overlays, ["als.solver=conjugate_gradient", *more])


def test_defaults_meanings_and_page_are_one():
    """The comments of conf/pipeline.yaml are the descriptions of the models, and the page is made of both."""
    text = (config.CONF / "pipeline.yaml").read_text(encoding="utf-8")
    comments: dict[str, str] = {}
    section = key = ""
    for line in text.splitlines():
        if found := re.match(r"(\w+):", line):
            section, key = found[1], ""
        elif found := re.match(r"  (\w+): .*?\s# (.*)", line):
            key = f"{section}.{found[1]}"
            comments[key] = found[2]
        elif key and (found := re.match(r"\s+# (.*)", line)):
            comments[key] += f" {found[1]}"
    described = {
        f"{section}.{key}": field.description
        for section, keys in config.load()
        for key, field in type(keys).model_fields.items()
    }
    assert list(comments.items()) == list(described.items())
    settings = runpy.run_path(str(config.ROOT / "docs" / "settings.py"))
    assert settings["PAGE"].read_text(encoding="utf-8") == settings["page"]()


def test_a_misspelt_setting_fails_in_the_type_checker(tmp_path):
    stub = "from pipeline.config import Settings\n\ndef k(config: Settings) -> int:\n    return config.neighbours.{}\n"
    found = {}
    for name in ("k", "kk"):
        (tmp_path / f"{name}.py").write_text(stub.format(name))
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--cache-dir",
            str(config.ROOT / ".mypy_cache"),
            str(tmp_path / f"{name}.py"),
        ]
        found[name] = subprocess.run(command, cwd=config.ROOT, capture_output=True, text=True).stdout
    assert "Success" in found["k"] and '"NeighboursSettings" has no attribute "kk"' in found["kk"]
