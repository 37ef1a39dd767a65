"""Many clients ask while releases are published, rolled back and retired under them.

./run-tests.sh tests/serving/test_soak.py -m exhaustive -n 0 asks 200,000 times over 100 publishes, and prints what it
found.
"""

import itertools
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.release import store
from pipeline.serving.steering import Steering
from tests.conftest import write_build

CLIENTS = 8
KEEP = 4
FAVOURITES = ([1], [3], [1, 3], [5], [9], [1, 3, 5])
STEERINGS = (Steering(), Steering(), Steering(variety=0.5), Steering(genres=("Comedy",)), Steering(dislikes=(5,)))


def publish_numbered(warehouse, number):
    """Publish a release whose similarities tell which one it is."""
    base = 0.5 + number % 1000 / 4096  # a number that float holds exactly
    lists = [(1, 2, 1, base), (1, 6, 2, base / 2), (3, 5, 1, base), (3, 1, 2, base / 4), (5, 3, 1, base), (5, 1, 2, base / 2)]  # fmt: skip  # noqa: E501
    with store.writer_lock(warehouse):
        build = write_build(warehouse, neighbours=lists)
        folder = build.publish(k=4, als_rank=2, min_support=1)
        store.retire(warehouse, KEEP)
    return folder.name, base


def resident_and_handles():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024, len(os.listdir("/proc/self/fd"))


def soak(warehouse, monkeypatch, *, queries, publishes):
    """Return errors and mixtures found, and memory and handles in the middle and at the end."""
    from app import shared

    monkeypatch.setattr(sys, "argv", ["app", "--set", f"warehouse.dir={warehouse}"])
    bases = dict([publish_numbered(warehouse, 0)])
    wrong, asked, ids, stop = [], [0] * CLIENTS, {}, threading.Event()

    def client(number):
        for turn in itertools.count(number):
            if stop.is_set():
                return
            try:
                recommender = shared.live_release()
                favourites, steering = FAVOURITES[turn % len(FAVOURITES)], STEERINGS[turn % len(STEERINGS)]
                rows = recommender.recommend(list(favourites), 5, steering)
                found = recommender.similar(1, 1)[0].similarity
                assert recommender.search("toy stroy", 1)[0].movie_id == 1
                ids.setdefault(recommender.release_id, found)
                # One answer, one release: every score by lists is a sum of this release's weights, a fifth of them for
                # a dislike.
                base = ids[recommender.release_id]
                parts = [row.score / base * 20 for row in rows if row.source == "neighbours"]
                if found != base or any(abs(part - round(part)) > 1e-6 for part in parts):
                    wrong.append(f"{recommender.release_id}: {found}, {parts}")
            except Exception as error:
                wrong.append(repr(error)[:300])
            asked[number] += 3

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    measured = []
    for number in range(1, publishes + 1):
        name, base = publish_numbered(warehouse, number)
        bases[name] = base
        if number % 5 == 0:
            store.rollback(warehouse)
        until = queries * number / publishes
        while sum(asked) < until and len(wrong) < 20:
            time.sleep(0.02)
        if number in (publishes // 2, publishes):
            measured.append(resident_and_handles())
    stop.set()
    for thread in clients:
        thread.join()
    assert {name: bases[name] for name in ids} == ids
    return wrong, sum(asked), measured


def test_releases_change_under_many_clients(tmp_path, monkeypatch):
    wrong, done, _ = soak(tmp_path, monkeypatch, queries=500, publishes=6)
    assert wrong == [] and done >= 500


def test_a_release_is_open_until_the_last_who_asks_it_lets_go(tmp_path, monkeypatch):
    from app import shared

    monkeypatch.setattr(sys, "argv", ["app", "--set", f"warehouse.dir={tmp_path}"])
    publish_numbered(tmp_path, 0)
    held, opened = shared.live_release(), []
    _, before = resident_and_handles()
    for number in range(1, shared.OPEN_RELEASES + 1):
        publish_numbered(tmp_path, number)
        opened.append(shared.live_release().release_id)
    assert len(set(opened)) == len(opened)
    assert held.similar(1, 1)[0].similarity == 0.5
    assert resident_and_handles()[1] == before + shared.OPEN_RELEASES
    del held
    assert resident_and_handles()[1] == before + shared.OPEN_RELEASES - 1


def test_a_release_that_is_retired_as_it_is_opened_gives_way_to_the_one_after_it(tmp_path, monkeypatch):
    from app import shared

    monkeypatch.setattr(sys, "argv", ["app", "--set", f"warehouse.dir={tmp_path}"])
    publish_numbered(tmp_path, 0)
    before, live_dir = store.release_dir(tmp_path), store.release_dir
    name, _ = publish_numbered(tmp_path, 1)
    shutil.rmtree(before)
    answers = iter([before])
    monkeypatch.setattr(store, "release_dir", lambda *arguments: next(answers, None) or live_dir(*arguments))
    assert shared.live_release().release_id == name


@pytest.mark.exhaustive
def test_an_hour_of_clients_and_releases(tmp_path, monkeypatch, capsys):
    wrong, done, ((middle, handles), (end, handles_end)) = soak(tmp_path, monkeypatch, queries=200_000, publishes=100)
    with capsys.disabled():
        print(f"\n{done:,} queries over 100 publishes: {len(wrong)} errors; memory {middle:.0f} and {end:.0f} MiB, "
              f"{handles} and {handles_end} handles, half way and at the end")  # fmt: skip
    assert wrong == []
    assert end < 1.05 * middle and handles_end <= handles + 3
