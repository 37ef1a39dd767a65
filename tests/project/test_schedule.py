"""The examples of docs/schedule: run as cron, systemd and Airflow run them, with nothing that a developer has set."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pipeline import config as configuration
from pipeline.batch.run import Run
from pipeline.release import store
from pipeline.release.build import Build
from pipeline.release.manifest import read_manifest
from pipeline.serving.recommender import Recommender
from pipeline.terminal import console
from tests.conftest import FEW_ROWS, QUICK, ROOT, publish, write_build

EXAMPLES = ROOT / "docs" / "schedule"
PLACE = "/opt/films"  # where the examples say that the project lies
NIGHTLY = {
    "als": {"rank": 8, "maxIter": 2},
    "neighbours": {"k": 12},
    "popularity": {"weight": 0.0},
    "spectral": {"residual": 0.0},
    "map": {"titles": 0},
    "evaluation": {"enabled": False},
    "example": {"favourites": ["Amélie 1"]},
}


@pytest.fixture(scope="module")
def films(checkout, checkerboard):
    """A checkout whose nightly run is on the checkerboard, one title of which has an accent."""
    data = shutil.copytree(checkerboard, checkout / "data" / "checkerboard")
    movies = (data / "movies.csv").read_text(encoding="utf-8")
    (data / "movies.csv").write_text(movies.replace("Black 1,", "Amélie 1,"), encoding="utf-8")
    overlay = checkout / "docs" / "schedule" / "nightly.yaml"
    nightly = {**NIGHTLY, **yaml.safe_load(overlay.read_text())}
    nightly["data"]["dir"] = "data/checkerboard"
    overlay.write_text(yaml.safe_dump(nightly))
    (checkout / "logs").mkdir(exist_ok=True)
    front_door = (checkout / "spark-submit.sh").read_text()
    short = f'java_options+=" {QUICK} {FEW_ROWS}"\nnative_blas() {{'  # cron hands no variable on
    assert "\nnative_blas() {" in front_door
    (checkout / "spark-submit.sh").write_text(front_door.replace("native_blas() {", short, 1))
    return checkout


def run_bare(*command, cwd="/"):
    """Run a command with no more in its environment than cron gives it."""
    bare = ["env", "-i", "HOME=/tmp", "LOGNAME=films", "PATH=/usr/bin:/bin", "SHELL=/bin/sh", *map(str, command)]
    return subprocess.run(bare, cwd=cwd, capture_output=True, text=True, timeout=900)


def run_as_cron(films):
    lines = (EXAMPLES / "films.cron").read_text().splitlines()
    (line,) = [line for line in lines if re.match(r"[\d*]", line)]
    command = line.split(maxsplit=5)[5]
    assert "%" not in command  # a newline, to cron
    return run_bare("/bin/sh", "-c", command.replace(PLACE, str(films)))


def settings_of(unit):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(EXAMPLES / unit)
    return parser


def test_the_cron_line_publishes_and_only_failures_are_mailed(films):
    done = run_as_cron(films)
    log = films / "logs" / "nightly.log"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), log.read_text()
    assert "is live in" in log.read_text() and "Because you liked Amélie 1" in log.read_text()
    live = store.release_dir(films / "warehouse")
    read = {Path(source["path"]).name for source in read_manifest(live)["inputs"]}
    assert read == {"ratings.csv", "movies.csv", "visitors.csv"}
    with store.writer_lock(films / "warehouse"):  # as a run does that is not done yet
        overlapping = run_as_cron(films)
    assert overlapping.returncode == 75
    assert overlapping.stdout == f"films: exit code 75, see {films}/logs/nightly.log\n"
    assert log.read_text().splitlines()[-1].endswith(f"process {os.getpid()} is writing here; wait for it to end")
    assert store.release_dir(films / "warehouse") == live


def test_the_page_s_commands_keep_the_crontab_and_say_where_the_project_lies(tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "schedule.md").read_text(), re.S)
    for name, script in {
        "crontab": 'if [ "$1" = -l ]; then echo "0 1 * * * other"; else cat >"$PLACE/crontab"; fi',
        "sudo": 'case $1 in tee) cat >"$PLACE/${2##*/}";; cp) cp "$2" "$PLACE";; *) echo "$*" >>"$PLACE/told";; esac',
    }.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    given = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PLACE": str(tmp_path), "USER": "somebody"}
    for block in blocks[:2]:
        subprocess.run(["bash", "-euc", block], cwd=ROOT, env=given, check=True)
    other, *_, line = (tmp_path / "crontab").read_text().splitlines()
    assert (
        other == "0 1 * * * other"
        and f" cd {ROOT} && " in line
        and "MAILTO=somebody" in (tmp_path / "crontab").read_text()
    )
    unit = (tmp_path / "films.service").read_text()
    assert "User=somebody\n" in unit and f"WorkingDirectory={ROOT}\n" in unit and PLACE not in unit
    assert (tmp_path / "films.timer").read_text() == (EXAMPLES / "films.timer").read_text()
    assert (tmp_path / "told").read_text().splitlines() == [
        "systemctl daemon-reload",
        "systemctl enable --now films.timer",
    ]


def test_the_systemd_units_are_sound(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd here")
    for unit in ("films.service", "films.timer"):
        (tmp_path / unit).write_text((EXAMPLES / unit).read_text().replace(PLACE, str(ROOT)))
    verified = subprocess.run(["systemd-analyze", "verify", *tmp_path.iterdir()], capture_output=True, text=True)
    complaints = [line for line in verified.stderr.splitlines() if line.startswith(("films.", str(tmp_path)))]
    assert verified.returncode == 0 and not complaints
    service = settings_of("films.service")["Service"]
    codes = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert codes - set(service["RestartPreventExitStatus"].split()) == {"0", "75"}
    calendar = settings_of("films.timer")["Timer"]["OnCalendar"]
    assert subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True).returncode == 0


@pytest.mark.exhaustive
def test_what_systemd_starts_publishes(films):
    service = settings_of("films.service")["Service"]
    before = store.current_id(films / "warehouse")
    for command in (service["ExecStartPre"], service["ExecStart"]):
        assert command.startswith(PLACE)
        done = run_bare(*command.replace(PLACE, str(films)).split(), cwd=films)
        assert done.returncode == 0, done.stdout + done.stderr
    assert service["WorkingDirectory"] == PLACE and service["Type"] == "oneshot"
    assert store.current_id(films / "warehouse") not in (None, before)


@pytest.mark.exhaustive
def test_airflow_runs_the_stages_in_turn_until_one_fails(films, tmp_path):
    """In an environment of its own: Airflow is no dependency of the project."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    requirements = EXAMPLES / "requirements-airflow.txt"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True, timeout=600)
    (tmp_path / "run.py").write_text(
        "import json, runpy, sys\n"
        "run = runpy.run_path(sys.argv[1])['dag'].test()\n"
        "tasks = {task.task_id: str(task.state) for task in run.get_task_instances()}\n"
        "print('\\n' + json.dumps([str(run.state), tasks]))\n"
    )
    options = "--conf docs/schedule/nightly.yaml --set als.solver=conjugate_gradient --set als.warm_start=true"

    def run_dag(more):
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGS_FOLDER": str(films / "docs" / "schedule"),
            "FILMS": str(films), "FILMS_OPTIONS": f"{options} {more}",
        }  # fmt: skip
        migrate = [python, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrate, env=environment, check=True, capture_output=True, timeout=400)
        command = [python, tmp_path / "run.py", films / "docs" / "schedule" / "films_dag.py"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stdout

    warehouse = tmp_path / "warehouse"
    more = f"--set warehouse.dir={warehouse} --set evaluation.protocol=histories --set evaluation.min_targets=1"
    names = ("feedback", "train", "evaluate", "publish")
    for _ in range(2):
        before = store.current_id(warehouse)
        (state, tasks), printed = run_dag(more)
        assert (state, tasks) == ("success", dict.fromkeys(names, "success")), printed
        manifest = read_manifest(store.release_dir(warehouse))
        assert manifest["started_from"] == before and manifest.get("changes", {}).get("since") == before
        assert manifest["metrics"] and Recommender(store.release_dir(warehouse)).measures()
    live = store.current_id(warehouse)
    (state, tasks), printed = run_dag(f"{more} --set data.dir={tmp_path}")
    assert state == "failed" and tasks["feedback"] == "success" and tasks["train"] == "failed", printed
    assert tasks["evaluate"] == tasks["publish"] == "upstream_failed" and store.current_id(warehouse) == live
    assert re.search(r"error: .*no ratings here", printed)


@pytest.mark.parametrize(
    ("theirs", "ours", "taken"),
    [
        ([], ["gates.skip=[hubs]"], True),
        ([], ["als.seed=1"], False),
        (["evaluation.folds=5"], [], False),
    ],
)
def test_what_evaluate_measured_goes_with_the_same_inputs_and_settings(tmp_path, theirs, ours, taken):
    place = f"warehouse.dir={tmp_path}"
    evaluation = Build.start(tmp_path, "evaluation")
    evaluation.record("config", configuration.as_dict(configuration.load([], [place, *theirs])))
    evaluation.record("inputs", [{"path": "/data/ratings.csv", "bytes": 1, "sha256": "0"}])
    evaluation.record("metrics", {"ndcg": 0.5})
    for folder in ("metrics", "report"):
        (evaluation.path / folder).mkdir()
        (evaluation.path / folder / "measured").write_text("")
    evaluation.save_manifest()
    java = SimpleNamespace(System=SimpleNamespace(getProperty=lambda name: "17"))
    run = Run(configuration.load([], [place, *ours]), SimpleNamespace(_jvm=java), console(), None)
    run.start_build()
    run.build.record("inputs", [{"path": "/data/ratings.csv", "bytes": 1, "sha256": "0"}])
    run.take_over_evaluation()
    assert run.build.manifest["metrics"] == ({"ndcg": 0.5} if taken else {})
    for folder in ("metrics", "report"):
        assert (run.build.path / folder / "measured").exists() == taken
    run.build.manifest["inputs"][0]["sha256"], run.build.manifest["metrics"] = "1", {}
    run.take_over_evaluation()
    assert run.build.manifest["metrics"] == {}


@pytest.mark.parametrize(
    ("made_with", "told"),
    [
        ({}, None),
        ({"data.dir": "/other"}, "scratch (the live release is of other data)"),
        ({"als.rank": 3}, "scratch (the live release has factors of another kind)"),
        ({"als.implicitPrefs": False}, "scratch (the live release has factors of another kind)"),
    ],
)
def test_training_starts_from_a_live_release_of_the_same_kind(spark, tmp_path, made_with, told):
    settings = ["data.dir=/data", f"warehouse.dir={tmp_path}", "als.rank=2", "als.solver=conjugate_gradient"]
    config = configuration.load([], [*settings, "als.warm_start=true"])
    stub = SimpleNamespace(_jvm=spark._jvm, read=spark.read)
    first = Run(config, stub, console(), None)
    first.resume_build()
    assert first.starts_from.told == "scratch (no live release to begin with)" and first.factors_before(None) is None
    build = write_build(tmp_path)
    as_made = configuration.as_dict(config)
    for key, value in made_with.items():
        section, name = key.split(".")
        as_made[section][name] = value
    build.record("config", as_made)
    live = build.publish(k=4, als_rank=2, min_support=1)
    run = Run(config, stub, console(), None)
    run.resume_build()
    assert run.starts_from.told == (told or f"release {live.name}")
    assert run.build.manifest["key"] != first.build.manifest["key"] or told
    movies = spark.createDataFrame([(1, "Toy Story (1995)"), (3, "Another")], "movie_id int, raw_title string")
    factors = run.factors_before(movies)
    assert run.build.manifest["started_from"] == (None if told else live.name)
    assert told or [(row.movie_id, row.factors) for row in factors.collect()] == [(1, [1.0, 0.5])]
    cold = Run(configuration.load([], settings), stub, console(), None)
    cold.resume_build()
    assert cold.starts_from.release_id is None and cold.factors_before(movies) is None


def test_a_report_goes_only_with_what_it_reports_on(tmp_path):
    build = write_build(tmp_path)
    (build.path / "report").mkdir()
    (build.path / "report" / "evaluation.md").write_text("of this release")
    live = build.publish(k=4, als_rank=2, min_support=1)
    assert (live / "report").exists() and not (Build.from_trained(tmp_path).path / "report").exists()
    assert publish(tmp_path) != live
