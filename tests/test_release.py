"""A release goes live whole or not at all."""

import json
import multiprocessing
import os
import signal
import time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import release, schemas, serving
from pipeline.config import PipelineError
from tests.conftest import MOVIES, NEIGHBOURS, POPULARITY, publish, write_build


def test_publish_makes_every_table_of_the_contract(tmp_path):
    folder = publish(tmp_path)
    assert (tmp_path / "CURRENT").read_text() == folder.name + "\n"
    assert release.RELEASE_ID.fullmatch(folder.name)
    assert release.release_dir(tmp_path) == folder
    assert not (tmp_path / "building").exists()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["release_id"] == folder.name
    assert {name: table["rows"] for name, table in manifest["tables"].items()} == {
        "movies": 10, "item_factors": 4, "neighbours": 9, "popularity": 9, "catalogue_map": 0, "metrics": 0,
        "rejected": 0,
    }  # fmt: skip
    connection = serving.connect(folder)
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
    assert release.release_dir(tmp_path) == live
    assert release.published_ids(tmp_path) == [live.name]


def test_rows_are_stored_in_order_however_they_come(tmp_path):
    folder = publish(tmp_path, neighbours=NEIGHBOURS[::-1], movies=[*MOVIES[5:], *MOVIES[:5]])
    connection = serving.connect(folder)
    assert connection.execute("from neighbours order by rowid").fetchall() == NEIGHBOURS
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
    assert release.current_id(tmp_path) is None


def test_rollback_and_listing(tmp_path):
    first = publish(tmp_path)
    time.sleep(1.1)  # ids are ordered by the second
    second = publish(tmp_path, neighbours=NEIGHBOURS[:3])
    listed = [(info.release_id, info.live, info.n_neighbours) for info in release.list_releases(tmp_path)]
    assert listed == [(second.name, True, 3), (first.name, False, 9)]
    assert release.rollback(tmp_path) == first.name == release.current_id(tmp_path)
    with pytest.raises(PipelineError, match="no older release"):
        release.rollback(tmp_path)
    assert release.rollback(tmp_path, second.name) == second.name
    for wrong in ("20990101T000000Z-abcdef", "../../etc", ""):
        with pytest.raises(PipelineError, match="no release"):
            release.rollback(tmp_path, wrong)
    assert release.current_id(tmp_path) == second.name


def test_missing_and_damaged_warehouses_are_named(tmp_path):
    with pytest.raises(PipelineError, match=r"no release has been published"):
        release.release_dir(tmp_path / "none")
    folder = publish(tmp_path)
    (folder / "serving.duckdb").write_bytes(b"not a database")
    with pytest.raises(PipelineError, match="rollback"):
        serving.connect(folder)
    (tmp_path / "CURRENT").write_text("../../elsewhere\n")
    with pytest.raises(PipelineError, match="CURRENT"):
        release.release_dir(tmp_path)
    assert [info.live for info in release.list_releases(tmp_path)] == [False]


def hold_lock(folder, ready):
    with release.writer_lock(folder):
        ready.set()
        time.sleep(60)


def test_one_writer_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    ready = multiprocessing.Event()
    writer = multiprocessing.Process(target=hold_lock, args=(tmp_path, ready))
    writer.start()
    assert ready.wait(20)
    with pytest.raises(PipelineError, match=f"process {writer.pid} is writing"), release.writer_lock(tmp_path):
        pass
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with release.writer_lock(tmp_path):
        pass


def test_a_build_without_trained_factors_says_so(tmp_path):
    with pytest.raises(PipelineError, match=r"train_als\.py"):
        release.Build.from_trained(tmp_path)


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
    assert release.in_bytes(number) == text
