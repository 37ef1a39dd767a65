"""A release that an older version of the project made opens, lists, verifies and rolls back.

release-of-e1cd386.zip was made by the code of commit e1cd386, from the files of the fixture checkerboard in
/data/checkerboard:

    ./spark-submit.sh --set data.dir=/data/checkerboard --set warehouse.dir=/data/warehouse \\
        --set sessions.path=/data/sessions.sqlite --set als.rank=8 --set als.maxIter=5 --set neighbours.k=12 \\
        --set popularity.weight=0 --set evaluation.enabled=false --set map.titles=0
    .venv/bin/python -m pipeline pack --out release-of-e1cd386.zip --set warehouse.dir=/data/warehouse
"""

import contextlib

import pytest

from pipeline.__main__ import main
from pipeline.release import changes, database, store
from pipeline.release.build import Build
from pipeline.release.manifest import describe
from pipeline.serving.recommender import Recommender
from tests.conftest import ROOT, publish

PACKED = ROOT / "tests" / "release" / "release-of-e1cd386.zip"
OLD = "20261201T073439Z-57adb2"


@pytest.fixture
def warehouse(tmp_path):
    """A warehouse into which the old release was fetched."""
    assert main(["fetch", str(PACKED), "--set", f"warehouse.dir={tmp_path}"]) == 0
    return tmp_path


def liked(folder):
    """Return the titles that go with Black 1, a film that nobody who likes white ones likes."""
    with contextlib.closing(Recommender(folder)) as recommender:
        return [row.title for row in recommender.recommend([1])]


def test_an_old_release_is_listed_described_verified_and_answers(warehouse, capsys):
    where = ["--set", f"warehouse.dir={warehouse}"]
    folder = store.release_dir(warehouse)
    assert folder.name == OLD and store.verify(warehouse, OLD) == []
    (listed,) = store.list_releases(warehouse)
    assert listed == (OLD, True, "2026-12-01T07:34:39+00:00", 42, 504, "/data/checkerboard")
    assert main(["releases", "--verify", *where]) == 0 and "whole" in capsys.readouterr().out
    about = describe(folder)
    assert (about.release_id, about.ratings) == (OLD, {"accepted": 680})
    assert {"als.rank", "neighbours.k", "map.titles"} <= {setting.name for setting in about.settings}
    assert len(liked(folder)) == 10 and all(title.startswith("Black") for title in liked(folder))
    assert not [gate for gate in database.gates_of(folder, live=None) if gate.found]
    for command, words in (
        (["recommend", "black 1", "-k", "3"], "Black 1 100%"),
        (["similar", "white 2"], "White"),
        (["search", "blakc 11"], "Black 11"),
        (["sql", "select count(*) as n from recommend([1])"], "10"),
    ):
        assert main([*command, *where]) == 0 and words in capsys.readouterr().out


def test_a_newer_release_beside_an_old_one_is_rolled_back_from(warehouse):
    old = liked(store.release_dir(warehouse))
    new = publish(warehouse)
    assert store.current_id(warehouse) == new.name > OLD
    assert [info.release_id for info in store.list_releases(warehouse)] == [new.name, OLD]
    assert changes.changes(store.release_dir(warehouse, OLD), new)["since"] == OLD
    assert store.rollback(warehouse) == OLD == store.current_id(warehouse)
    assert liked(store.release_dir(warehouse)) == old and liked(new) != old
    assert store.verify(warehouse, OLD) == store.verify(warehouse, new.name) == []


def test_new_lists_are_built_from_the_factors_of_an_old_release(warehouse):
    with store.writer_lock(warehouse):
        build = Build.from_trained(warehouse)
    assert (build.path / "item_factors").is_dir() and not (build.path / "neighbours").exists()
    assert build.manifest["config"]["als"]["rank"] == 8
