"""python -m pipeline, as typed."""

import subprocess
import sys
import tomllib

import pytest

from pipeline.__main__ import main
from pipeline.serving.sessions import Sessions
from tests.conftest import ROOT, publish


@pytest.fixture
def run(warehouse, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # tests that run side by side are told a width

    def run(*arguments):
        code = main([*arguments, "--set", f"warehouse.dir={warehouse}"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_recommend_resolves_titles_and_gives_reasons(run):
    code, out, err = run("recommend", "toy stroy", "Heat", "-k", "3")
    assert code == 0
    assert "Because you liked Toy Story (1995) and Heat (1995)" in out
    assert "The Matrix" in out and "Heat 75%, Toy Story 25%" in out
    assert err == "taking 'toy stroy' as Toy Story (1995)\n"


def test_ambiguous_and_unknown_titles_are_asked_back(run):
    code, out, err = run("recommend", "Emma")
    assert (code, out) == (1, "")
    assert err.startswith("error: 'Emma' could be several titles") and "id:ID" in err and "Emma" in err
    code, _, err = run("recommend", "qqqqqq")
    assert code == 1 and err.count("\n") == 1 and "no title like 'qqqqqq'" in err


def test_search_similar_sql_and_releases(run, warehouse):
    assert "Amélie" in run("search", "amelie")[1]
    assert "Toy Story 2" in run("similar", "toy story")[1]
    assert "has no list" in run("similar", "id:9")[2]
    code, out, _ = run("sql", "select count(*) as n_movies from movies")
    assert code == 0 and "n_movies" in out and "10" in out
    assert run("sql", "drop table movies")[0] == 1
    code, out, err = run("sql", "from range(5)", "--set", "sql.rows=3")
    assert code == 0 and "2" in out and err == "only the first 3 rows; there are more; --set sql.rows=N shows more\n"
    code, out, _ = run("releases")
    assert code == 0 and (warehouse / "CURRENT").read_text().strip() in out and "live" in out
    assert "no older release" in run("rollback")[2]


def test_markup_in_titles_is_text(tmp_path, capsys):
    from tests.conftest import MOVIES

    evil = [(1, "[red]Toy[/red] [/] Story", *MOVIES[0][2:]), *MOVIES[1:]]
    publish(tmp_path, movies=evil)
    assert main(["search", "story", "--set", f"warehouse.dir={tmp_path}"]) == 0
    assert "[red]Toy[/red] [/] Story" in capsys.readouterr().out
    assert main(["recommend", "id:1", "--set", f"warehouse.dir={tmp_path}"]) == 0
    assert "[red]Toy[/red] [/] Story" in capsys.readouterr().out


def test_an_empty_warehouse_names_the_command(tmp_path, capsys):
    for command in (["recommend", "x"], ["search", "x"], ["releases"], ["sql", "from movies"]):
        assert main([*command, "--set", f"warehouse.dir={tmp_path}"]) == 1
        assert "run ./spark-submit.sh" in capsys.readouterr().err


def test_feedback_becomes_a_file_of_ratings_and_sessions_can_be_wiped(tmp_path, capsys):
    def run(*arguments):
        code = main([*arguments, "--set", f"sessions.path={tmp_path}/s.sqlite", "--set", "data.max_rating=4"])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    assert run("sessions") == (0, f"{tmp_path}/s.sqlite: 0 sessions, and 0 thumbs by 0 visitors\n")
    code, out = run("feedback", "--out", f"{tmp_path}/out")
    assert code == 0 and f"wrote 0 ratings by 0 visitors to {tmp_path}/out/ratings.csv\n" in out
    sessions = Sessions(tmp_path / "s.sqlite")
    token = sessions.save("Friday", "likes=1")
    sessions.give_feedback(token, "r", 5, 1, [1])
    sessions.give_feedback(token, "r", 3, -1, [1])
    code, out = run("feedback", "--out", f"{tmp_path}/my thumbs.csv")
    assert code == 0 and "wrote 3 ratings by 1 visitors" in out
    assert f"./spark-submit.sh --set 'data.more_ratings={tmp_path}/my thumbs.csv'\n" in out
    stars = [line.rsplit(",", 1)[0] for line in (tmp_path / "my thumbs.csv").read_text().splitlines()[1:]]
    assert stars == ["2147483647,1,4.0", "2147483647,3,0.5", "2147483647,5,4.0"]
    code, out = run("sessions")
    assert "1 sessions, and 2 thumbs by 1 visitors, since 20" in out
    assert run("sessions", "--wipe")[1] == out.replace(": 1", ": wiped 1")
    assert sessions.load(token) is None and sessions.feedback() == []


def test_sessions_that_are_off_or_damaged_are_named_in_one_line(tmp_path, capsys):
    (tmp_path / "s.sqlite").write_text("no database")
    for path, words in (("", "sessions.path is empty"), (tmp_path / "s.sqlite", "move it away")):
        for command in (["sessions"], ["sessions", "--wipe"], ["feedback", "--out", str(tmp_path)]):
            assert main([*command, "--set", f"sessions.path={path}"]) == 1
            err = capsys.readouterr().err
            assert err.count("\n") == 1 and words in err and "--set sessions.path=FILE" in err


@pytest.mark.parametrize("module", ["pipeline.__main__", "pipeline.config", "pipeline.schemas",
                                    "pipeline.release.store", "pipeline.release.database",
                                    "pipeline.serving.recommender", "pipeline.serving.sessions",
                                    "pipeline.serving.analyst", "app.streamlit_app",
                                    "jobs.download_movielens"])  # fmt: skip
def test_the_serving_side_never_imports_spark(module):
    script = f"import sys, {module}; sys.exit(any(name.split('.')[0] in ('pyspark', 'py4j') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_the_version_is_the_changelogs_first(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert left.value.code == 0 and capsys.readouterr().out.strip() == f"ten-films {newest.split()[1]}"


def test_requirements_and_project_name_the_same_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def listed(name):
        lines = (ROOT / f"{name}.in").read_text().splitlines()
        return {line.split("#")[0].strip().replace('"', "'") for line in lines if line[0] not in "#-"}

    serving = listed("requirements-serving")
    assert set(project["dependencies"]) == serving
    batch = listed("requirements") - serving - {line for line in listed("requirements") if line.startswith("hatchling")}
    assert set(project["optional-dependencies"]["batch"]) == batch
