"""Sessions and thumbs: what is kept, what is not, how much of it, and how it becomes ratings."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config import PipelineError
from pipeline.serving import sessions as module
from pipeline.serving.sessions import LAST_USER, Rating, Sessions, ratings_of, write_ratings
from tests.conftest import ROOT

RELEASE = "20261122T193000Z-3fa9c1"
ANN, BEN, CAT = (letter * 22 for letter in "abc")


@pytest.fixture
def clock(monkeypatch):
    """Seconds since 1970 that pass only when a test says so."""
    clock = SimpleNamespace(now=1_000_000, time=lambda: clock.now + 0.9)
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def sessions(tmp_path, clock):
    return Sessions(tmp_path / "kept" / "sessions.sqlite")


def bytes_of(sessions):
    """Everything that is on disk: the file, and SQLite's log beside it where there is one."""
    return b"".join(file.read_bytes() for file in sessions.path.parent.iterdir())


def test_a_session_is_saved_comes_back_and_is_replaced(sessions, clock):
    token = sessions.save("  Friday ", "likes=1,260")
    assert sessions.load(token) == ("Friday", "likes=1,260", datetime.fromtimestamp(1_000_000, UTC))
    clock.now += 60
    assert sessions.save("Saturday 🎬", "likes=3", token) == token
    assert sessions.load(token) == ("Saturday 🎬", "likes=3", datetime.fromtimestamp(1_000_060, UTC))
    other = sessions.save("Friday", "likes=5")
    assert other != token and len(other) == 22
    assert sessions.load(token).state == "likes=3" and sessions.stored().n_sessions == 2


def test_the_file_is_made_by_the_first_write_for_its_owner_only(sessions):
    assert sessions.load(ANN) is None
    sessions.delete(ANN)
    sessions.give_feedback(ANN, RELEASE, 1, 0, [])
    sessions.wipe()
    assert sessions.feedback() == [] and sessions.stored() == (0, 0, 0, None)
    assert not sessions.path.parent.exists()
    sessions.save("x", "")
    assert stat.S_IMODE(sessions.path.stat().st_mode) == 0o600
    assert os.listdir(sessions.path.parent) == ["sessions.sqlite"]


def test_what_a_killed_process_left_of_the_file_goes_and_nothing_else(sessions):
    sessions.path.parent.mkdir()
    left = [
        "sessions.sqlite.7.new",
        "sessions.sqlite.7.new-wal",
        "sessions.sqlite.new",
        "sessions.sqlite.7.new-journal",
    ]
    others = ["my-sessions.sqlite.7.new", "sessions.sqlite.new.zip", "sessions_sqlite.7.new"]
    for name in (*left, *others):
        (sessions.path.parent / name).touch()
    sessions.save("x", "")
    assert sorted(os.listdir(sessions.path.parent)) == sorted(["sessions.sqlite", *others])


def test_tokens_are_not_in_the_file_and_what_is_deleted_is_overwritten(sessions):
    token = sessions.save("Rosebud", "likes=777")
    sessions.give_feedback(token, RELEASE, 1, 1, [777])
    sessions.give_feedback(ANN, RELEASE, 1, 1, [2])
    kept = bytes_of(sessions)
    assert b"Rosebud" in kept and token.encode() not in kept and ANN.encode() not in kept
    sessions.delete(token)
    left = bytes_of(sessions)
    assert b"Rosebud" not in left and b"777" not in left
    assert [row.favourites for row in sessions.feedback()] == [[2]]  # the other visitor's stands


@pytest.mark.parametrize("token", ["", "short", "' or 1=1 --", "a" * 21, "a" * 65, "a" * 21 + "é", "a" * 22 + "\n"])
def test_what_is_no_token_opens_nothing(sessions, token):
    sessions.save("x", "")
    assert sessions.load(token) is None
    sessions.delete(token)
    for call in (lambda: sessions.save("y", "", token), lambda: sessions.give_feedback(token, RELEASE, 1, 1, [])):
        with pytest.raises(PipelineError, match="no session's link"):
            call()
    assert sessions.stored().n_sessions == 1


def test_deleted_sessions_take_their_thumbs_along_and_may_come_back(sessions):
    token = sessions.save("x", "")
    sessions.give_feedback(token, RELEASE, 1, 1, [])
    sessions.delete(token)
    assert sessions.load(token) is None and sessions.stored() == (0, 0, 0, None)
    assert sessions.save("y", "", token) == token and sessions.load(token).name == "y"


def test_the_latest_thumb_about_a_movie_counts_and_can_be_taken_back(sessions, clock):
    sessions.give_feedback(ANN, RELEASE, 10, 1, [1, 2])
    sessions.give_feedback(BEN, RELEASE, 10, 1, [])
    clock.now += 5
    sessions.give_feedback(ANN, "later", 10, -1, [3])
    sessions.give_feedback(ANN, "later", 11, 1, [3])
    at = datetime.fromtimestamp(1_000_005, UTC)
    assert sessions.feedback() == [
        (LAST_USER, 10, -1, "later", [3], at),
        (LAST_USER, 11, 1, "later", [3], at),
        (LAST_USER - 1, 10, 1, RELEASE, [], datetime.fromtimestamp(1_000_000, UTC)),
    ]
    assert sessions.stored() == (0, 3, 2, datetime.fromtimestamp(1_000_000, UTC))
    sessions.give_feedback(ANN, RELEASE, 10, 0, [])
    assert [(row.user_id, row.movie_id) for row in sessions.feedback()] == [(LAST_USER, 11), (LAST_USER - 1, 10)]


def test_a_visitors_number_is_never_given_to_another(sessions):
    sessions.give_feedback(ANN, RELEASE, 1, 1, [])
    sessions.give_feedback(BEN, RELEASE, 1, 1, [])
    sessions.give_feedback(BEN, RELEASE, 1, 0, [])
    assert sessions.stored().n_visitors == 1
    sessions.give_feedback(CAT, RELEASE, 1, 1, [])
    assert [row.user_id for row in sessions.feedback()] == [LAST_USER, LAST_USER - 2]
    sessions.wipe()
    sessions.give_feedback(ANN, RELEASE, 1, 1, [])
    assert [row.user_id for row in sessions.feedback()] == [LAST_USER - 3]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.save("n" * 81, ""), "80 characters, not 81"),
        (lambda s: s.save("  ", ""), "1 to 80"),
        (lambda s: s.save("n", "s" * 4001), "4000 characters, not 4001"),
        (lambda s: s.give_feedback(ANN, RELEASE, 1, 2, []), "1, -1 or 0, not 2"),
        (lambda s: s.give_feedback(ANN, RELEASE, 1, 1, list(range(51))), "51 favourites; 50"),
        (lambda s: s.give_feedback(ANN, RELEASE, 2**31, 1, []), "32-bit"),
        (lambda s: s.give_feedback(ANN, RELEASE, 1, 1, [-(2**31) - 1]), "32-bit"),
        (lambda s: s.give_feedback(ANN, "r" * 65, 1, 1, []), "64 characters"),
    ],
)
def test_every_length_has_a_limit(sessions, call, words):
    with pytest.raises(PipelineError, match=words):
        call(sessions)
    assert not sessions.path.exists()
    sessions.save("n" * 80, "s" * 4000)
    sessions.give_feedback(ANN, "r" * 64, 2**31 - 1, 1, list(range(50)))


def test_beyond_the_bound_the_session_that_was_longest_unused_goes(sessions, clock, monkeypatch):
    monkeypatch.setattr(module, "MAX_SESSIONS", 2)
    first, second = sessions.save("first", ""), sessions.save("second", "")
    clock.now += module.USE_NOTED_AFTER
    assert sessions.load(first)
    third = sessions.save("third", "")
    assert [sessions.load(token) and sessions.load(token).name for token in (first, second, third)] == [
        "first", None, "third",
    ]  # fmt: skip
    sessions.save("fourth", "")
    assert sessions.load(first) is None and sessions.load(third)


def test_beyond_the_bounds_the_oldest_thumbs_go(sessions, clock, monkeypatch):
    monkeypatch.setattr(module, "MAX_THUMBS_OF_VISITOR", 2)
    monkeypatch.setattr(module, "MAX_THUMBS", 3)
    for visitor, movie in ((ANN, 1), (BEN, 9), (BEN, 8), (BEN, 7)):
        clock.now += 1
        sessions.give_feedback(visitor, RELEASE, movie, 1, [])
    assert [(row.user_id, row.movie_id) for row in sessions.feedback()] == [
        (LAST_USER, 1), (LAST_USER - 1, 7), (LAST_USER - 1, 8),
    ]  # fmt: skip
    clock.now += 1
    sessions.give_feedback(CAT, RELEASE, 5, 1, [])
    assert [(row.user_id, row.movie_id) for row in sessions.feedback()] == [
        (LAST_USER - 1, 7), (LAST_USER - 1, 8), (LAST_USER - 2, 5),
    ]  # fmt: skip


def test_wiping_leaves_nothing_in_the_file(sessions):
    for number in range(20):
        sessions.give_feedback(sessions.save(f"Rosebud {number}", "likes=1" * 500), "Xanadu", number, 1, [])
    before = sessions.path.stat().st_size
    sessions.wipe()
    assert sessions.stored() == (0, 0, 0, None)
    assert b"Rosebud" not in bytes_of(sessions) and b"Xanadu" not in bytes_of(sessions)
    assert sessions.path.stat().st_size < before / 2
    sessions.save("again", "")
    assert sessions.stored().n_sessions == 1


def test_what_is_deleted_leaves_the_log_too_while_others_have_the_file_open(sessions):
    token = sessions.save("Rosebud", "")
    with contextlib.closing(sqlite3.connect(sessions.path)) as other:
        assert other.execute("select count(*) from sessions").fetchone() == (1,)  # only now it is open
        for forget in (
            lambda: sessions.delete(token),
            lambda: sessions.give_feedback(ANN, "Rosebud", 1, 0, []),
            sessions.wipe,
        ):
            sessions.save("Rosebud", "", token)
            sessions.give_feedback(ANN, "Rosebud", 1, 1, [])
            assert b"Rosebud" in (sessions.path.parent / "sessions.sqlite-wal").read_bytes()
            forget()
            assert b"Rosebud" not in (sessions.path.parent / "sessions.sqlite-wal").read_bytes()


WRITER = """
import sys
from pipeline.serving.sessions import Sessions
sessions = Sessions(sys.argv[1])
for number in range(20):
    token = sessions.save("process", str(number))
    sessions.give_feedback(token, "r", number, 1, [])
    assert sessions.load(token).state == str(number)
"""


def test_threads_and_processes_write_at_once(tmp_path):
    """All begin without a file, so that making it is part of the race."""
    path = tmp_path / "kept" / "sessions.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    shared, errors = Sessions(path), []

    def write(thread):
        try:
            for number in range(20):
                token = shared.save(f"thread {thread}", str(number))
                shared.give_feedback(token, RELEASE, number, 1, [])
                assert shared.load(token) is not None
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [process.communicate(timeout=300)[1] for process in processes] == ["", ""]
    assert shared.stored()[:3] == (80, 80, 80)
    assert len({row.user_id for row in shared.feedback()}) == 80


def every_call(sessions):
    return [
        lambda: sessions.save("x", ""),
        lambda: sessions.load(ANN),
        lambda: sessions.delete(ANN),
        lambda: sessions.give_feedback(ANN, RELEASE, 1, 1, []),
        lambda: sessions.give_feedback(ANN, RELEASE, 1, 0, []),
        sessions.feedback,
        sessions.stored,
        sessions.wipe,
    ]


def newer(path):
    with sqlite3.connect(path) as connection:
        connection.execute(f"pragma user_version = {module.VERSION + 1}")
    connection.close()


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("create table sessions (mine text)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (newer, "newer version .* update the project"),
        (foreign, "holds no sessions; move it away"),
        (
            lambda path: path.write_bytes(b"no database at all, but some text. " * 100),
            "holds no sessions; move it away",
        ),
        (lambda path: path.write_bytes(b""), "holds no sessions; move it away"),
        (lambda path: path.mkdir(), "unable to open"),
    ],
)
def test_a_file_that_is_no_use_is_named_and_left_alone(tmp_path, make, words):
    path = tmp_path / "sessions.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for call in every_call(Sessions(path)):
        with pytest.raises(PipelineError, match=words) as error:
            call()
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert before is None or path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "sessions.sqlite", tmp_path / "file" / "deeper" / "sessions.sqlite"):
        sessions = Sessions(place)
        assert sessions.load(ANN) is None and sessions.stored().n_sessions == 0
        with pytest.raises(PipelineError, match=r"sessions.sqlite: .*; make its folder writable, or choose .*--set"):
            sessions.save("x", "")
    with pytest.raises(PipelineError, match="need a local file"):
        Sessions("s3://bucket/sessions.sqlite")


@pytest.fixture
def folder_of_somebody():
    """A folder of who runs the test; of nobody special where that is root, who could write everywhere."""
    me = os.geteuid()
    os.seteuid(65534 if me == 0 else me)
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        yield Path(name)
    os.seteuid(me)


def test_a_read_only_folder_is_named(folder_of_somebody):
    sessions = Sessions(folder_of_somebody / "sessions.sqlite")
    folder_of_somebody.chmod(0o500)
    with pytest.raises(PipelineError, match="Permission denied; make its folder writable"):
        sessions.save("x", "")
    folder_of_somebody.chmod(0o700)
    token = sessions.save("x", "")
    folder_of_somebody.chmod(0o500)
    for call in (lambda: sessions.save("x", ""), lambda: sessions.load(token)):
        with pytest.raises(PipelineError, match="make its folder writable"):
            call()
    folder_of_somebody.chmod(0o700)


def test_readers_hold_nobody_up_and_a_writer_that_does_not_end_is_named(sessions, monkeypatch):
    token = sessions.save("x", "")
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(sessions.path, isolation_level=None)
    other.execute("begin")
    assert other.execute("select count(*) from sessions").fetchone() == (1,)
    sessions.save("y", "")  # while the other one still reads
    other.execute("rollback")
    other.execute("begin immediate")
    assert sessions.load(token).name == "x"
    with pytest.raises(PipelineError, match="another process is writing"):
        sessions.save("y", "")
    other.close()
    sessions.save("y", "")


def test_thumbs_and_favourites_become_ratings(sessions, clock):
    sessions.give_feedback(ANN, RELEASE, 10, 1, [1, 2])
    clock.now += 5
    sessions.give_feedback(ANN, RELEASE, 11, -1, [2, 3, 10, 11])
    sessions.give_feedback(BEN, RELEASE, 10, -1, [])
    ratings = ratings_of(sessions.feedback(), worst=0.5, best=5.0)
    assert ratings == [
        Rating(LAST_USER, 1, 5.0, 1_000_000),
        Rating(LAST_USER, 2, 5.0, 1_000_005),  # named twice, counted once
        Rating(LAST_USER, 3, 5.0, 1_000_005),
        Rating(LAST_USER, 10, 5.0, 1_000_000),  # its own thumb, though a favourite later
        Rating(LAST_USER, 11, 0.5, 1_000_005),
        Rating(LAST_USER - 1, 10, 0.5, 1_000_005),
    ]


def test_ratings_are_written_in_movielens_form_but_never_over_a_data_set(tmp_path):
    ratings = [Rating(LAST_USER, 10, 5.0, 1_000_000), Rating(LAST_USER, 11, 0.5, 1_000_005)]
    assert write_ratings(ratings, tmp_path / "a" / "thumbs.csv") == tmp_path / "a" / "thumbs.csv"
    text = "userId,movieId,rating,timestamp\n2147483647,10,5.0,1000000\n2147483647,11,0.5,1000005\n"
    assert (tmp_path / "a" / "thumbs.csv").read_text() == text
    assert write_ratings(ratings, tmp_path / "b") == tmp_path / "b" / "ratings.csv"
    write_ratings([], tmp_path / "b")
    assert (tmp_path / "b" / "ratings.csv").read_text() == text.splitlines()[0] + "\n"
    write_ratings(ratings, tmp_path / "b")
    assert os.listdir(tmp_path / "b") == ["ratings.csv"]
    for other in ("userId,movieId,rating,timestamp\n1,1,4.0,964982703\n", "user,film\n", "notes"):
        (tmp_path / "b" / "ratings.csv").write_text(other)
        with pytest.raises(PipelineError, match=r"ratings\.csv: these are other ratings"):
            write_ratings(ratings, tmp_path / "b")
        assert (tmp_path / "b" / "ratings.csv").read_text() == other
    with pytest.raises(PipelineError, match=r"cannot be written .*--out"):
        write_ratings(ratings, tmp_path / "b" / "ratings.csv" / "c")
