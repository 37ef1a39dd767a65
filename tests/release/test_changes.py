"""What changed in the lists between two releases, against values worked by hand."""

import pytest

from pipeline.__main__ import main
from pipeline.config import PipelineError
from pipeline.release import changes
from pipeline.release.manifest import read_manifest
from tests.conftest import MOVIES, NEIGHBOURS, POPULARITY, publish, write_build

# Toy Story's list keeps 3 of 4, Heat's keeps all in another order, The Matrix's keeps 1 of 2.
LATER = [
    (1, 5, 1, 0.75), (1, 2, 2, 0.25), (1, 6, 3, 0.1875), (1, 4, 4, 0.125),
    (3, 1, 1, 0.375), (3, 5, 2, 0.25), (3, 6, 3, 0.125),
    (5, 3, 1, 0.5), (5, 2, 2, 0.25),
    (11, 5, 1, 0.5), (11, 2, 2, 0.25),
]  # fmt: skip
NEW = (11, "New", 2026, ["Crime"], None, None, 8, 4.0, "New (2026)")
RENAMED = (9, "Seen", None, ["Crime"], None, None, 0, None, "Seen")


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """A warehouse with two releases of the same data, and their folders."""
    warehouse = tmp_path_factory.mktemp("changes")
    folders = []
    for tables in ({}, {"movies": [*(RENAMED if row[0] == 9 else row for row in MOVIES), NEW], "neighbours": LATER}):
        build = write_build(warehouse, **tables)
        build.record("config", {"data": {"dir": "the same"}})
        folders.append(build.publish(k=4, als_rank=2, min_support=1))
    return warehouse, *folders


def test_the_first_ten_of_each_list_are_compared(releases):
    _, before, after = releases
    found = changes.changes(before, after)
    assert (found["since"], found["n_lists"], found["n_new"], found["n_gone"]) == (before.name, 3, 2, 1)
    assert found["overlap"] == pytest.approx((3 / 4 + 1 + 1 / 2) / 3)
    assert [(row["movie_id"], row["overlap"]) for row in found["lists"]] == [(5, 0.5), (1, 0.75)]
    assert [(row["movie_id"], row["n_before"], row["n_after"]) for row in found["movers"]] == [
        (2, 1, 3), (4, 0, 1), (5, 2, 3), (1, 2, 1), (7, 1, 0),
    ]  # fmt: skip
    assert [(row["what"], row["title"]) for row in found["titles"]] == [
        ("new", "New"), ("new", "Seen"), ("gone", "Unseen"),
    ]  # fmt: skip
    assert read_manifest(after)["changes"] == found
    assert "changes" not in read_manifest(before)


def test_only_the_first_ten_count(tmp_path):
    movies = [(i, f"M{i}", None, ["A"], None, None, 5, 3.0, f"M{i}") for i in range(1, 14)]
    tables = {"movies": movies, "popularity": [("*", 1, 1, 1.0)], "item_factors": [(1, [1.0, 0.5])]}
    lists = [[*range(2, 14)], [*range(2, 12), 13, 12], [*range(4, 14), 2, 3]]
    folders = []
    for order in lists:
        rows = [(1, movie, place + 1, 1 - place / 20) for place, movie in enumerate(order)]
        build = write_build(tmp_path, **tables, neighbours=rows)
        folders.append(build.publish(k=12, als_rank=2, min_support=1))
    overlaps = [changes.changes(folders[0], after)["overlap"] for after in folders[1:]]
    assert overlaps == [1.0, 0.8]


def test_other_data_under_the_same_ids_share_nothing(tmp_path):
    before = publish(tmp_path)
    other = [(row[0], f"Other {row[1]}", *row[2:]) for row in MOVIES]
    found = changes.changes(before, publish(tmp_path, movies=other))
    assert (found["n_lists"], found["overlap"], found["n_new"], found["n_gone"]) == (0, None, 10, 10)
    assert found["movers"] == found["lists"] == [] and len(found["titles"]) == 2 * changes.NAMED
    assert changes.changes_in_words(found).startswith("no lists in both, 10 new titles, 10 gone")


def test_changes_are_printed_for_any_two_releases(releases, capsys):
    warehouse, before, after = releases

    def run(*ids):
        code = main(["changes", *ids, "--set", f"warehouse.dir={warehouse}"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, out, _ = run()
    assert code == 0
    assert out.startswith(f"{after.name}: 7.5 of 10 stay on a list, 2 new titles, 1 gone, since {before.name}\n")
    for words in ("Toy Story 2", "The Matrix", "50%", "gone", "Unseen"):
        assert words in out
    assert run(before.name, after.name)[1] == out == run(before.name)[1]
    assert f"since {after.name}" in run(after.name, before.name)[1]
    code, out, err = run("20200101T000000Z-000000")
    assert code == 1 and err.count("\n") == 1 and "no release '20200101T000000Z-000000'" in err
    (warehouse / "CURRENT").write_text(before.name)
    fix = "list them with python -m pipeline releases"
    assert run()[2] == f"error: {warehouse}: there is no older release; {fix}\n"
    (warehouse / "CURRENT").write_text(after.name)


def test_a_damaged_release_is_named(releases, tmp_path):
    with pytest.raises(PipelineError, match="cannot be compared"):
        changes.changes(tmp_path, releases[2])


def test_the_same_lists_have_not_changed(tmp_path):
    before, after = (publish(tmp_path, neighbours=NEIGHBOURS, popularity=POPULARITY) for _ in range(2))
    found = changes.changes(before, after)
    assert (found["overlap"], found["n_new"], found["n_gone"]) == (1.0, 0, 0)
    assert found["movers"] == found["lists"] == found["titles"] == []
