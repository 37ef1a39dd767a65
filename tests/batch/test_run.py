"""How a job ends: its exit code, its one line, and what it leaves for machines; without Spark."""

import json
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from pipeline.batch import application, fingerprints
from pipeline.config import PipelineError
from pipeline.evaluation.report import headlines
from pipeline.release import store
from pipeline.release.build import Build
from pipeline.standings import Measure
from tests.conftest import publish, write_build

GATES = {"k": 4, "als_rank": 2, "min_support": 1}


@pytest.fixture
def ends(tmp_path, monkeypatch):
    """Run a main() as a job and return its exit code, what it printed, and what it wrote for Prometheus."""
    monkeypatch.setattr(application, "session", lambda name: SimpleNamespace(stop=lambda: None))
    monkeypatch.setenv("PIPELINE_LOG", str(tmp_path / "spark.log"))
    options = [f"warehouse.dir={tmp_path / 'warehouse'}", f"operations.prometheus_file={tmp_path / 'run.prom'}"]

    def run(main, *more):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            output = os.open(tmp_path / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1), os.dup2(output, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            sys.argv = ["nightly.py", *(word for option in [*options, *more] for word in ("--set", option))]
            code = 99
            try:
                application.start(main, "a test")
                code = 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told = tmp_path / "run.prom"
        return code, (tmp_path / "printed").read_text(), told.read_text() if told.exists() else ""

    return run


def publishes(run):
    write_build(run.warehouse).publish(**GATES)


def replaces_a_damaged_current(run):
    (run.warehouse / "CURRENT").write_text("nothing that is here\n")
    run._build = write_build(run.warehouse)
    run.build.manifest["als_rank"] = 2
    run.config.neighbours.min_support = 1
    run.publish()


def fails(run):
    raise PipelineError("the data is missing")


def publishes_and_fails(run):
    publishes(run)
    raise ValueError("no more\nluck")


def publishes_and_is_stopped(run):
    publishes(run)
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()


def is_stopped(run):
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()


def is_refused(run):
    write_build(run.warehouse, neighbours=[(1, 1, 1, 0.5)]).publish(**GATES)


@pytest.mark.parametrize(("main", "code", "line"), [
    (publishes, 0, ""), (fails, 1, "error: the data is missing\n"),
    (publishes_and_fails, 1, "error: ValueError: no more (details: {log}, or run again with --verbose); "
                             "the new release is live\n"),
    (is_refused, 3, "error: not published, gate neighbour_ids.sql asks: {question}\n"),
    (publishes_and_is_stopped, 130, "stopped; the new release is live\n"),
    (replaces_a_damaged_current, 0, None), (is_stopped, 130, "stopped; what was published before is untouched\n"),
])  # fmt: skip
def test_the_exit_code_and_the_line_say_what_became_of_it(ends, tmp_path, main, code, line):
    ended, printed, told = ends(main)
    question = printed.split("asks: ")[1].rstrip("\n") if line and "{question}" in line else ""
    assert ended == code and (line is None or printed == line.format(log=tmp_path / "spark.log", question=question))
    assert f'pipeline_last_run_succeeded{{job="nightly"}} {code == 0:d}\n' in told
    assert (store.current_id(tmp_path / "warehouse") is not None) == (code == 0 or "publishes" in main.__name__)


def test_a_run_beside_another_may_try_again_later(ends, tmp_path):
    with store.writer_lock(tmp_path / "warehouse"):
        code, printed, told = ends(publishes)
    assert code == 75 and f"process {os.getpid()} is writing here" in printed
    assert 'succeeded{job="nightly"} 0\n' in told


def test_a_file_for_prometheus_that_cannot_be_written_does_not_hide_that_a_release_went_live(ends):
    code, printed, _ = ends(publishes, "operations.prometheus_file=/nowhere/run.prom")
    assert code == 1 and "/nowhere/run.prom: cannot be written" in printed
    assert printed.endswith("; the new release is live\n") and printed.count("\n") == 1


def test_a_stage_that_fails_is_in_the_log(ends, tmp_path):
    def main(run):
        with run.stage("train"):
            raise PipelineError("no rating counts as a like")

    assert ends(main)[0] == 1
    (line,) = map(json.loads, (tmp_path / "spark.jsonl").read_text().splitlines())
    assert (line["stage"], line["error"]) == ("train", "no rating counts as a like") and line["seconds"] >= 0


def test_what_is_not_compared_with_the_live_release_is_said(ends, tmp_path):
    measured = [("strangers", "served", 5, "ndcg", 10, 0.5, 0.4, 0.6)]
    config = {"data": {"dir": str(tmp_path / "here")}}

    def main(run):
        def built(data, **tables):
            run._build = write_build(run.warehouse, **tables)
            run.build.record("config", {"data": {"dir": data}})
            run.build.record("metrics", headlines([Measure(*row) for row in tables.get("metrics", ())]))
            run.build.manifest["als_rank"] = 2
            run.publish()

        run.config.neighbours.k, run.config.neighbours.min_support = 300, 1
        built(config["data"]["dir"], metrics=measured)
        run.say("then")
        built(f"file://{config['data']['dir']}/", metrics=measured)  # the same place
        run.say("then")
        built(config["data"]["dir"], metrics=[("histories", *measured[0][1:])])
        run.say("then")
        built(str(tmp_path / "elsewhere"))

    code, printed, _ = ends(main)
    assert code == 0, printed
    first, same, unmeasured, elsewhere = printed.split("then\n")
    assert "gates  " not in first + same
    assert "gates       quality not compared with release" in unmeasured and "not like this one" in unmeasured
    assert "gates       not compared with release" in elsewhere and "another data.dir" in elsewhere


def test_what_shapes_a_release_is_part_of_the_key_of_a_run(monkeypatch):
    before = fingerprints.code()
    original = fingerprints.digest
    monkeypatch.setattr(fingerprints, "digest", lambda content: original(content.replace(b"popularity_weight()", b"0")))
    assert fingerprints.code() != before  # pipeline/sql/listed.sql ranks what is evaluated


def test_a_build_that_goes_on_with_trained_factors_begins_without_what_is_made_from_them(tmp_path):
    metrics = [("strangers", "served", 5, "ndcg", 10, 0.5, 0.4, 0.6)]
    with pytest.raises(PipelineError, match="gate"):  # refused, and left for inspection
        build = write_build(tmp_path, metrics=metrics, neighbours=[(1, 1, 1, 0.5)], catalogue_map=[(1, 0.5, 0.5)])
        build.save_manifest()
        build.publish(**GATES)
    left = Build.from_trained(tmp_path).path
    assert {path.name for path in left.iterdir()} == {
        "manifest.json",
        "movies",
        "item_factors",
        "popularity",
        "rejected",
    }
    publish(tmp_path, metrics=metrics)
    left = Build.from_trained(tmp_path).path
    assert not any((left / name).exists() for name in ("metrics", "neighbours", "serving.duckdb"))
