"""A release goes live whole or not at all."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import files, schemas, sql
from pipeline.__main__ import main
from pipeline.batch.run import Run
from pipeline.config import BusyError, PipelineError
from pipeline.release import build, database, manifest, store
from pipeline.release.build import Build
from pipeline.release.manifest import data_dir, read_manifest
from tests.conftest import MOVIES, NEIGHBOURS, POPULARITY, publish, write_build


def test_publish_makes_every_table_of_the_contract(tmp_path):
    folder = publish(tmp_path)
    assert (tmp_path / "CURRENT").read_text() == folder.name + "\n"
    assert store.RELEASE_ID.fullmatch(folder.name)
    assert store.release_dir(tmp_path) == folder
    assert not (tmp_path / "building").exists()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["release_id"] == folder.name
    assert {name: table["rows"] for name, table in manifest["tables"].items()} == {
        "movies": 10, "item_factors": 4, "neighbours": 9, "popularity": 9, "catalogue_map": 0, "metrics": 0,
        "rejected": 0,
    }  # fmt: skip
    connection = database.connect(folder)
    for table in schemas.TABLES:
        described = [row[:2] for row in connection.execute(f"describe {table}").fetchall()]
        assert described == schemas.duckdb_schema(table)
        parquet = duckdb.sql(f"select count(*) from read_parquet('{folder}/{table}/*.parquet')").fetchall()[0]
        assert connection.execute(f"select count(*) from {table}").fetchall()[0] == parquet
    connection.close()


@pytest.mark.parametrize(
    ("tables", "gate"),
    [
        ({"neighbours": []}, "not_empty"),
        ({"movies": [*MOVIES, MOVIES[0]]}, "movies"),
        ({"item_factors": [(1, [1.0])]}, "item_factors"),
        ({"item_factors": [(1, [1.0, float("nan")])]}, "item_factors"),
        ({"item_factors": [(99, [1.0, 2.0])]}, "item_factors"),
        ({"item_factors": [(1, None)]}, "item_factors"),
        ({"item_factors": [(None, [1.0, 2.0])]}, "item_factors"),
        ({"movies": [*MOVIES[1:], (*MOVIES[0][:6], None, *MOVIES[0][7:])]}, "movies"),
        ({"movies": [*MOVIES[1:], (*MOVIES[0][:7], float("nan"), *MOVIES[0][8:])]}, "movies"),
        ({"movies": [*MOVIES[1:], (*MOVIES[0][:9], "2")]}, "movies"),
        ({"movies": [*MOVIES[1:], (*MOVIES[0][:9], None)]}, "movies"),
        ({"movies": [*MOVIES[1:], (*MOVIES[0][:3], None, *MOVIES[0][4:])]}, "movies"),
        ({"movies": [*MOVIES[1:], (*MOVIES[0][:3], ["A", None], *MOVIES[0][4:])]}, "movies"),
        ({"popularity": [*POPULARITY, (None, 1, 1, 0.5)]}, "popularity"),
        ({"popularity": [("Crime", 3, 1, 0.25)]}, "not_empty"),
        ({"metrics": [("strangers", "served", 5, "ndcg", 10, float("nan"), 0.1, 0.2)]}, "metrics"),
        ({"metrics": [("strangers", "served", 5, "ndcg", 10, 0.1, float("nan"), 0.2)]}, "metrics"),
        ({"neighbours": [(1, 2, 1, 0.5), (1, 3, 3, 0.4)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 2, 2, 0.5), (1, 3, 1, 0.4)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 3, 1, 0.5), (1, 2, 2, 0.5)]}, "neighbour_ranks"),
        ({"neighbours": [(1, m, r, 1.0 / r) for r, m in enumerate([2, 3, 4, 5, 6], 1)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 2, 1, 0.5), (1, 3, 1, 0.4)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 2, 2, 0.5)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 2, 1, 0.5), (3, 2, 2, 0.5)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 2, 1, None), (1, 3, 2, 0.5)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 2, None, 0.5)]}, "neighbour_ranks"),
        ({"neighbours": [(1, 2, 1, None)]}, "similarities"),
        ({"neighbours": [(1, 1, 1, 0.5)]}, "neighbour_ids"),
        ({"neighbours": [(1, 2, 1, 0.5), (1, 2, 2, 0.5)]}, "neighbour_ids"),
        ({"neighbours": [(1, 77, 1, 0.5)]}, "neighbour_ids"),
        ({"neighbours": [(77, 1, 1, 0.5)]}, "neighbour_ids"),
        ({"neighbours": [(1, 9, 1, 0.5)]}, "neighbour_ids"),
        ({"neighbours": [(1, 2, 1, float("inf"))]}, "similarities"),
        ({"neighbours": [(1, 2, 1, float("nan"))]}, "similarities"),
        ({"popularity": [("*", 1, 2, 0.5)]}, "popularity"),
        ({"popularity": [("*", 1, 1, 1.5)]}, "popularity"),
        ({"popularity": [*POPULARITY, ("Drama", 77, 1, 0.5)]}, "popularity"),
        ({"catalogue_map": [(1, 0.5, 0.5), (1, 0.25, 0.5)]}, "catalogue_map"),
        ({"catalogue_map": [(77, 0.5, 0.5)]}, "catalogue_map"),
        ({"catalogue_map": [(1, 0.5, None)]}, "catalogue_map"),
        ({"catalogue_map": [(1, float("nan"), 0.5)]}, "catalogue_map"),
    ],
)  # fmt: skip
def test_a_gate_keeps_a_wrong_release_from_going_live(tmp_path, tables, gate):
    live = publish(tmp_path)
    with pytest.raises(PipelineError, match=rf"gate {gate}\.sql") as error:
        publish(tmp_path, **tables)
    assert "\n" not in str(error.value)
    assert store.release_dir(tmp_path) == live
    assert store.published_ids(tmp_path) == [live.name]


def test_rows_are_stored_in_order_however_they_come(tmp_path):
    folder = publish(tmp_path, neighbours=NEIGHBOURS[::-1], movies=[*MOVIES[5:], *MOVIES[:5]])
    connection = database.connect(folder)
    assert connection.execute("from neighbours order by rowid").fetchall() == [(*row, row[3]) for row in NEIGHBOURS]
    assert connection.execute("select movie_id from movies order by rowid").fetchall() == [(m,) for m in range(1, 11)]
    connection.close()


def test_a_build_leaves_nothing_on_disk_but_the_release(tmp_path):
    folder = publish(tmp_path)
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".") or path.suffix == ".wal"]
    with pytest.raises(PipelineError, match="gate"):
        publish(tmp_path, neighbours=[(1, 77, 1, 0.5)])
    assert not list((tmp_path / "building").glob(".*"))


def test_a_table_of_another_shape_does_not_go_live(tmp_path):
    build = write_build(tmp_path)
    pq.write_table(pa.table({"movie_id": [1]}), build.path / "neighbours" / "part-0.parquet")
    with pytest.raises(PipelineError, match="table neighbours has columns"):
        build.publish(k=4, als_rank=2, min_support=1)
    build = write_build(tmp_path)
    (build.path / "movies" / "part-0.parquet").unlink()
    with pytest.raises(PipelineError, match="table movies has no Parquet files"):
        build.publish(k=4, als_rank=2, min_support=1)
    assert store.current_id(tmp_path) is None


def test_rollback_and_listing(tmp_path):
    first = publish(tmp_path)
    second = publish(tmp_path, neighbours=NEIGHBOURS[:3])
    listed = [(info.release_id, info.live, info.n_neighbours) for info in store.list_releases(tmp_path)]
    assert listed == [(second.name, True, 3), (first.name, False, 9)]
    assert store.rollback(tmp_path) == first.name == store.current_id(tmp_path)
    with pytest.raises(PipelineError, match="no older release"):
        store.rollback(tmp_path)
    assert store.rollback(tmp_path, second.name) == second.name
    for wrong in ("20990101T000000Z-abcdef", "../../etc", ""):
        with pytest.raises(PipelineError, match="no release"):
            store.rollback(tmp_path, wrong)
    assert store.current_id(tmp_path) == second.name


def test_missing_and_damaged_warehouses_are_named(tmp_path):
    with pytest.raises(PipelineError, match=r"no release has been published"):
        store.release_dir(tmp_path / "none")
    folder = publish(tmp_path)
    (folder / "serving.duckdb").write_bytes(b"not a database")
    with pytest.raises(PipelineError, match="rollback"):
        database.connect(folder)
    (tmp_path / "CURRENT").write_text("../../elsewhere\n")
    with pytest.raises(PipelineError, match="CURRENT"):
        store.release_dir(tmp_path)
    assert [info.live for info in store.list_releases(tmp_path)] == [False]


def hold_lock(folder, ready):
    with store.writer_lock(folder):
        ready.set()
        time.sleep(60)


def test_one_writer_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    ready = multiprocessing.Event()
    writer = multiprocessing.Process(target=hold_lock, args=(tmp_path, ready))
    writer.start()
    assert ready.wait(20)
    with pytest.raises(BusyError, match=f"process {writer.pid} is writing"), store.writer_lock(tmp_path):
        pass
    publish(tmp_path)
    assert main(["rollback", store.current_id(tmp_path), "--set", f"warehouse.dir={tmp_path}"]) == 75
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with store.writer_lock(tmp_path):
        pass


def test_a_build_without_trained_factors_says_so(tmp_path):
    with pytest.raises(PipelineError, match=r"train_als\.py"):
        Build.from_trained(tmp_path)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (2_483_723, "2.48 MB"),
        (999_999, "1 MB"),
        (7.1e10, "71 GB"),
    ],
)
def test_sizes_are_written_as_people_write_them(number, text):
    assert manifest.in_bytes(number) == text


BOUNDS = {"min_coverage": 0.1, "max_hub_share": 0.5, "max_row_loss": 0.2, "max_quality_loss": 0.1}


def republish(warehouse, *, skip=(), data="here", bounds=BOUNDS, **tables):
    build = write_build(warehouse, **tables)
    build.record("config", {"data": {"dir": data}})
    build.save_manifest()  # as after every stage of a run
    return build.publish(k=300, als_rank=2, min_support=1, bounds=bounds, skip=skip)


def measures(value):
    return [("strangers", "served", 5, "ndcg", 10, value, value, value), ("strangers", "served", 5, "novelty", 10, 9 - value, 0, 9)]  # fmt: skip  # noqa: E501


def crowded(n_titles, per_list):
    """A catalogue whose lists all hold the same few titles."""
    movies = [(m, f"Movie {m}", 2000, [], None, None, 9, 3.0, f"Movie {m}", str(m)) for m in range(1, n_titles + 1)]
    lists = [
        (m, other, rank, 1 / rank)
        for m in range(1, n_titles + 1)
        for rank, other in enumerate([o for o in range(1, per_list + 2) if o != m][:per_list], 1)
    ]
    return {"movies": movies, "neighbours": lists, "item_factors": [(1, [1.0, 0.5])], "popularity": [("*", 1, 1, 0.5)]}


@pytest.mark.parametrize(
    ("gate", "live", "tables", "found"),
    [
        ("coverage", {}, crowded(100, 5), "6 of 100 titles, 0.060"),
        ("live_rows", {}, {"neighbours": NEIGHBOURS[:7]}, "2 lists where the live release has 3"),
        ("live_quality", {"metrics": measures(0.5)}, {"metrics": measures(0.44)},
         "ndcg@10 of strangers with 5 favourites: 0.4400 where the live release has 0.5000"),
    ],
)  # fmt: skip
def test_a_bound_that_is_not_kept_refuses_unless_its_gate_is_left_out(tmp_path, gate, live, tables, found):
    before = republish(tmp_path, data="elsewhere" if gate == "coverage" else "here", **live)
    with pytest.raises(PipelineError) as error:
        republish(tmp_path, **tables)
    assert f"gate bounds/{gate}.sql asks" in str(error.value) and found in str(error.value)
    assert f"--set 'gates.skip=[{gate}]'" in str(error.value) and "\n" not in str(error.value)
    assert store.release_dir(tmp_path) == before and (tmp_path / "building" / "serving.duckdb").exists()
    assert republish(tmp_path, skip=[gate], **tables) == store.release_dir(tmp_path)


def test_gates_are_queries_that_an_analyst_can_ask(tmp_path, capsys):
    where = ["--set", f"warehouse.dir={tmp_path}"]
    folder = republish(tmp_path)
    connection = database.connect(folder)
    for name in sql.names("gates"):
        assert connection.execute(sql.statement(f"gates/{name}")).fetchall() == [], name
    bounded = "".join(sql.statement(f"gates/bounds/{name}") for name in database.bounded_gates())
    for name in set(re.findall(r"bound\('(\w+)'\)", bounded)):
        assert connection.execute(f"select bound('{name}')").fetchall() == [(BOUNDS.get(name, 1),)]
    connection.close()
    assert main(["gates", *where]) == 0
    assert "nothing" in capsys.readouterr().out

    with pytest.raises(PipelineError):
        republish(tmp_path, neighbours=NEIGHBOURS[:7], data="here/")
    refused = duckdb.connect(str(tmp_path / "building" / "serving.duckdb"), read_only=True)
    refused.execute(f"attach '{folder}/serving.duckdb' as live (read_only)")
    assert len(refused.execute(sql.statement("gates/bounds/live_rows")).fetchall()) == 1
    refused.close()
    for asked, code in (([], 3), (["building"], 3), ([folder.name], 0)):
        assert main(["gates", *asked, *where]) == code
        out, err = capsys.readouterr()
        assert ("bounds/live_rows" in out) == ("find something (bounds/live_rows)" in err) == (code == 3)
    assert main(["gates", "20990101T000000Z-abcdef", *where]) == 1


def test_rollback_refuses_what_is_damaged_and_the_list_names_it(tmp_path, capsys):
    where = ["--set", f"warehouse.dir={tmp_path}"]
    damaged, whole, live = publish(tmp_path), publish(tmp_path), publish(tmp_path)
    for content in ("{}", "[]", "{", json.dumps({"files": 3, "tables": {}})):
        (damaged / "manifest.json").write_text(content)
        assert main(["releases", *where]) == 0
        listed = {info.release_id: info for info in store.list_releases(tmp_path)}
        assert list(listed) == [live.name, whole.name, damaged.name]
        assert listed[damaged.name].n_movies is None and "damaged" in listed[damaged.name].inputs
        capsys.readouterr()
        assert main(["releases", "--verify", *where]) == 1
        assert "1 of 3 releases are not as they were published" in capsys.readouterr().err
        assert main(["rollback", damaged.name, *where]) == 1
        assert "nothing was changed" in capsys.readouterr().err
    assert store.current_id(tmp_path) == live.name and main(["rollback", *where]) == 0


def test_no_live_release_is_told_though_all_others_are_whole(tmp_path, capsys):
    _, live = publish(tmp_path), publish(tmp_path)
    shutil.rmtree(live)
    assert main(["releases", "--verify", "--set", f"warehouse.dir={tmp_path}"]) == 1
    out, err = capsys.readouterr()
    assert "whole" in out and "CURRENT: names no published release" in err


def test_what_a_reader_may_take(tmp_path, monkeypatch):
    folder = publish(tmp_path)
    monkeypatch.setitem(database.READER, "max_execution_time", 1000)
    connection = database.connect(folder)
    with pytest.raises(duckdb.InterruptException):
        connection.execute("select sum(a.range % b.range) from range(1000000000) a, range(1, 100) b").fetchall()
    for statement in ("set memory_limit = '9GB'", "copy (select 1) to 'here.txt'", "from read_text('/etc/hostname')"):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    connection.close()
    monkeypatch.undo()
    connection = database.connect(folder)
    with pytest.raises(duckdb.OutOfMemoryException):
        connection.execute("select list(repeat('x', 9999) || range) from range(300000)").fetchall()
    connection.close()
    assert not list(folder.glob("*.tmp"))


def test_hubs_may_take_so_many_places_and_no_more(tmp_path):
    tables = crowded(200, 150)  # the most listed title of 151 stands on 199 of the lists
    taken = 199 / (200 * 150)
    republish(tmp_path, bounds={**BOUNDS, "max_hub_share": taken + 1e-6}, **tables)
    with pytest.raises(PipelineError, match="bounds/hubs"):
        republish(tmp_path, bounds={**BOUNDS, "max_hub_share": taken - 1e-6}, **tables)


def test_releases_of_other_data_or_within_the_bounds_are_not_held_back(tmp_path):
    republish(tmp_path, metrics=measures(0.5))
    republish(tmp_path, metrics=measures(0.46))
    republish(tmp_path, data="elsewhere", neighbours=NEIGHBOURS[:7])


def test_a_live_release_that_is_damaged_inside_is_not_compared_with(tmp_path):
    folder = republish(tmp_path)
    flip(folder / "serving.duckdb")  # it opens all the same
    made = republish(tmp_path, neighbours=NEIGHBOURS[:7])
    assert read_manifest(made)["compared_with"] is None
    assert read_manifest(republish(tmp_path, neighbours=NEIGHBOURS[:7]))["compared_with"] == made.name


@pytest.mark.parametrize(
    ("one", "other"),
    [("/a/b", "file:///a/b/"), ("/a/b", "file:/a/b"), ("/", "file:///"), ("a/../b", "b"), ("s3a://x/y", "s3a://x/y/")],
)
def test_a_place_has_one_spelling(one, other):
    assert len({data_dir({"config": {"data": {"dir": place}}}) for place in (one, other)}) == 1


def test_a_live_release_that_is_damaged_does_not_keep_a_new_one_back(tmp_path):
    folder = republish(tmp_path)
    (folder / "serving.duckdb").write_bytes(b"not a database")
    assert republish(tmp_path, neighbours=NEIGHBOURS[:7]) == store.release_dir(tmp_path)


def test_the_newest_release_is_the_newest_whatever_the_clock_says(tmp_path, monkeypatch):
    first = publish(tmp_path)

    class SetBack(build.datetime):
        @classmethod
        def now(cls, zone=None):
            return cls(2001, 1, 1, tzinfo=zone)

    monkeypatch.setattr(build, "datetime", SetBack)
    second, third = publish(tmp_path), publish(tmp_path)
    assert store.published_ids(tmp_path) == [first.name, second.name, third.name]
    assert store.rollback(tmp_path) == second.name


def test_the_newest_and_the_live_release_stay(tmp_path):
    ids = [publish(tmp_path).name for _ in range(4)]
    store.rollback(tmp_path, ids[0])
    assert store.retire(tmp_path, 0) == []
    assert store.retire(tmp_path, 2) == [ids[1]]
    assert store.published_ids(tmp_path) == [ids[0], ids[2], ids[3]]
    assert sorted(path.name for path in (tmp_path / "releases").iterdir()) == [ids[0], ids[2], ids[3]]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda folder: (folder / "movies" / "part-0.parquet").unlink(), "movies/part-0.parquet: No such file"),
        (lambda folder: flip(folder / "neighbours" / "part-0.parquet"), "neighbours/part-0.parquet: not as it was"),
        (lambda folder: flip(folder / "serving.duckdb"), "serving.duckdb: not as it was"),
        (lambda folder: (folder / "movies" / "extra.parquet").touch(), "movies/extra.parquet: was not published"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json: missing or damaged"),
    ],
)
def test_verify_finds_what_is_not_as_it_was_published(tmp_path, damage, found):
    folder = publish(tmp_path)
    assert store.verify(tmp_path, folder.name) == []
    damage(folder)
    assert found in store.verify(tmp_path, folder.name)[0]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_verify_compares_the_database_with_the_parquet_files(tmp_path):
    folder = publish(tmp_path)
    connection = duckdb.connect(str(folder / "serving.duckdb"))
    connection.execute("update neighbours set similarity = 0.125 where movie_id = 1 and rank = 1")
    connection.close()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["serving.duckdb"] = files.checksum(folder / "serving.duckdb")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert store.verify(tmp_path, folder.name) == [
        "serving.duckdb: table neighbours has other rows than its Parquet files"
    ]


def test_a_run_goes_on_only_with_the_same_key_and_the_same_inputs(tmp_path):
    inputs = [{"path": "/data/ratings.csv", "bytes": 1, "sha256": "0"}]
    build = Build.resume(tmp_path, "key")
    assert build.manifest["finished"] == [] and not build.same_inputs()
    build.record("inputs", inputs)
    build.manifest |= {"finished": ["train"], "inputs_before": inputs}
    build.save_manifest()
    (build.path / "table").touch()

    again = Build.resume(tmp_path, "key")
    assert again.manifest["finished"] == ["train"] and (again.path / "table").exists()
    assert not again.same_inputs()  # not read yet
    again.record("inputs", inputs)
    assert again.same_inputs()
    for changed in ([], [{**inputs[0], "sha256": "1"}], [{**inputs[0], "sha256": None}]):
        again.manifest["inputs"] = changed
        assert not again.same_inputs()
    unknown = [{**inputs[0], "sha256": None}]  # nothing tells whether it is the same file
    again.manifest |= {"inputs": unknown, "inputs_before": unknown}
    assert not again.same_inputs()

    other = Build.resume(tmp_path, "another key")
    assert other.manifest["finished"] == [] and not (other.path / "table").exists()


def test_inputs_that_changed_undo_what_was_finished(tmp_path):
    """Even where they change back: the run between may have overwritten half of it."""
    inputs = [{"path": "/data/ratings.csv", "bytes": 1, "sha256": "0"}]
    build = Build.resume(tmp_path, "key")
    build.manifest |= {"finished": ["train"], "inputs": inputs, "inputs_before": inputs}
    build.save_manifest()
    for sha256 in ("1", "0"):  # another file, the run is killed, and the file is as it was
        run = Run(SimpleNamespace(warehouse=SimpleNamespace(dir=str(tmp_path))), None, None, None)
        run._build = Build.resume(tmp_path, "key")
        read = SimpleNamespace(frame=SimpleNamespace(inputFiles=lambda: ["/data/ratings.csv"]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "pipeline.batch.run.input_files", lambda paths, sha256=sha256: [{**inputs[0], "sha256": sha256}]
            )
            run.record_inputs([read], {})
        assert Build.resume(tmp_path, "key").manifest["finished"] == []


def test_half_a_copy_of_the_live_release_is_never_gone_on_with(tmp_path, monkeypatch):
    live = publish(tmp_path)

    def full(source, target, **options):  # copytree goes on after a file that does not fit, and then raises
        target.mkdir()
        shutil.copy(live / "manifest.json", target)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="No space left"):
        Build.from_trained(tmp_path)
    monkeypatch.undo()
    with store.writer_lock(tmp_path):
        build = Build.from_trained(tmp_path)
    assert list((build.path / "item_factors").iterdir()) and not (tmp_path / "building.new").exists()


def test_a_build_begins_empty_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "building" / "metrics").mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # of another owner, say
    with pytest.raises(PipelineError, match="building: cannot be removed"):
        Build.start(tmp_path)


def test_a_build_that_was_trained_apart_or_is_damaged_is_not_gone_on_with(tmp_path):
    build = Build.start(tmp_path)
    build.save_manifest()
    assert Build.resume(tmp_path, "key").manifest["finished"] == []
    (build.path / "manifest.json").write_text("{")
    assert Build.resume(tmp_path, "key").manifest["finished"] == []
