"""Many clients ask while releases are published, rolled back and retired under them.

./run-tests.sh tests/test_soak.py -m exhaustive -n 0 asks 200,000 times over 100 publishes, and prints what it found.
"""

import itertools
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import release
from pipeline.recommend import Steering
from tests.conftest import write_build

CLIENTS = 8
KEEP = 4
FAVOURITES = ([1], [3], [1, 3], [5], [9], [1, 3, 5])
STEERINGS = (Steering(), Steering(), Steering(variety=0.5), Steering(genres=("Comedy",)), Steering(dislikes=(5,)))


def publish_numbered(warehouse, number):
    """Publish a release whose similarities tell which one it is."""
    base = 0.5 + number % 1000 / 4096  # a number that float holds exactly
    lists = [(1, 2, 1, base), (1, 6, 2, base / 2), (3, 5, 1, base), (3, 1, 2, base / 4), (5, 3, 1, base), (5, 1, 2, base / 2)]  # fmt: skip  # noqa: E501
    with release.writer_lock(warehouse):
        build = write_build(warehouse, neighbours=lists)
        folder = build.publish(k=4, als_rank=2, min_support=1)
        release.retire(warehouse, KEEP)
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
                # One answer, one release: every score by lists is a sum of this release's similarities.
                base = ids[recommender.release_id]
                quarters = [row.score / base * 4 for row in rows if row.source == "neighbours"]
                if found != base or any(abs(quarter - round(quarter)) > 1e-6 for quarter in quarters):
                    wrong.append(f"{recommender.release_id}: {found}, {quarters}")
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
            release.rollback(warehouse)
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


@pytest.mark.exhaustive
def test_an_hour_of_clients_and_releases(tmp_path, monkeypatch, capsys):
    wrong, done, ((middle, handles), (end, handles_end)) = soak(tmp_path, monkeypatch, queries=200_000, publishes=100)
    with capsys.disabled():
        print(f"\n{done:,} queries over 100 publishes: {len(wrong)} errors; memory {middle:.0f} and {end:.0f} MiB, "
              f"{handles} and {handles_end} handles, half way and at the end")  # fmt: skip
    assert wrong == []
    assert end < 1.05 * middle and handles_end <= handles + 3
