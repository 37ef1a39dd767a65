"""Whatever happens at whatever moment of a publish, a reader finds one whole release: the old one or the new one."""

import builtins
import collections
import contextlib
import ctypes
import errno
import fcntl
import io
import itertools
import os
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from pipeline.config import PipelineError
from pipeline.release import archive, store
from pipeline.release.build import Build
from pipeline.serving import readiness
from pipeline.serving.recommender import Recommender
from tests.conftest import NEIGHBOURS, fill, publish

OLD, NEW = NEIGHBOURS, [(1, 6, 1, 0.75), (3, 1, 1, 0.5)]
GATES = {"k": 4, "als_rank": 2, "min_support": 1}
BOUNDS = {"min_coverage": 0, "max_hub_share": 1, "max_row_loss": 1, "max_quality_loss": 1}
ANSWERS = {2: "old", 6: "new"}  # what Toy Story is answered with first
# Exit codes of a child: published; gave up in one line; did so, saying that the new release is live; anything else.
DONE, REFUSED, LATE, BUG = 0, 3, 4, 99
# What Python does to files, by where it stands, and what it does to an open one. What DuckDB does is met by time and by
# size, below.
OPERATIONS = [
    (os, "open"), (os, "fsync"), (os, "rename"), (os, "replace"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"),
    (os, "scandir"), (os, "listdir"), (os, "stat"), (os, "fstat"), (fcntl, "flock"), (builtins, "open"), (io, "open"),
]  # fmt: skip
OF_OPEN_FILES = ("read", "write", "truncate", "flush", "close")
counting = True


def in_child(action) -> int:
    """Run the action in a fork and return its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = BUG
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            action()
            code = DONE
        except PipelineError as error:
            late = store.NEW_IS_LIVE in str(error)
            code = BUG if "\n" in str(error) else LATE if late else REFUSED
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextlib.contextmanager
def uncounted():
    """What this test does to files itself is not struck."""
    global counting
    counting = False
    yield
    counting = True


@contextlib.contextmanager
def one_line(warehouse):
    """Make one line of an OSError, as a job does."""
    before = store.current_id(warehouse)
    try:
        yield
    except OSError as error:
        how = "" if store.current_id(warehouse) == before else store.NEW_IS_LIVE
        raise PipelineError(f"{error} {how}") from error


def republish(warehouse, after_build=lambda: None):
    """Publish as a job does: under the lock, from an empty build, and retire what is too old."""
    with one_line(warehouse), store.writer_lock(warehouse):
        build = Build.start(warehouse)
        with uncounted():
            fill(build, neighbours=NEW)
            after_build()
        build.publish(**GATES, bounds=BOUNDS)
        store.retire(warehouse, 2)


def go_on(warehouse):
    """Publish what a run that died has left: all but its last step is done."""
    with one_line(warehouse), store.writer_lock(warehouse):
        Build.resume(warehouse, "key").publish(**GATES, bounds=BOUNDS)


def fetch(warehouse):
    """Bring in what somebody else packed."""
    archive.fetch(warehouse, str(warehouse.parent / "other.zip"), readiness.check_folder, max_bytes=2**30, keep=2)


def fetch_again(warehouse):
    """Bring in what is here already, and was not live."""
    archive.fetch(warehouse, str(warehouse.parent / "own.zip"), readiness.check_folder, max_bytes=2**30, keep=3)


def at_operation(number, strike):
    """Have the strike happen in place of the operation of this number, on files of any kind."""
    done = 0

    def guarded(operation):
        def call(*arguments, **named):
            nonlocal done
            if counting:
                done += 1
                if done == number:
                    strike()
            result = operation(*arguments, **named)
            if counting and isinstance(result, io.IOBase):
                for name in OF_OPEN_FILES:
                    if hasattr(result, name):
                        setattr(result, name, guarded(getattr(result, name)))
            return result

        return call

    for place, name in OPERATIONS:
        setattr(place, name, guarded(getattr(place, name)))
    return lambda: done


def failing(number):
    """Return a strike: the operation fails with this error number."""

    def fail():
        raise OSError(number, os.strerror(number))

    fail.__name__ = errno.errorcode[number]
    return fail


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def state(warehouse):
    """Return which release a reader finds, having read all of it: 'old' or 'new'."""
    live = store.current_id(warehouse)
    assert store.verify(warehouse, live) == []
    recommender = Recommender(store.release_dir(warehouse))
    rows = recommender.recommend([1], k=2)
    recommender.close()
    assert [info.release_id for info in store.list_releases(warehouse) if info.live] == [live]
    return ANSWERS[rows[0].movie_id]


def assert_kept_and_mended(warehouse, copy, outcome):
    """The promise, and that the next run neither trips over what is left nor leaves it."""
    found = state(warehouse)
    # What a run says of itself is so; one that was killed has said nothing.
    assert found == {DONE: "new", LATE: "new", REFUSED: "old", BUG: "old"}.get(outcome, found)
    for release_id in store.published_ids(warehouse):
        assert store.verify(warehouse, release_id) == []
    assert in_child(lambda: republish(warehouse)) == DONE
    assert state(warehouse) == "new"
    left = {path.name for path in warehouse.iterdir()} | {path.name for path in (warehouse / "releases").iterdir()}
    assert left == {"CURRENT", ".lock", "releases", *store.published_ids(warehouse)}
    shutil.rmtree(warehouse)
    shutil.copytree(copy, warehouse)


@pytest.fixture
def warehouse(tmp_path):
    """A warehouse with three releases, so that a publish has one to retire, a copy of it to begin again from, and two
    packed releases: one of its own, and one that it does not have."""
    for lists in (NEW, NEW, OLD):
        publish(tmp_path / "warehouse", neighbours=lists)
    (tmp_path / "warehouse" / ".lock").touch()
    left = fill(Build.resume(tmp_path / "warehouse", "key"), neighbours=NEW)
    left.save_manifest()
    (left.path / "manifest.json.7.new").touch()  # it died in the middle of writing one more
    archive.pack(tmp_path / "warehouse", tmp_path / "own.zip", store.published_ids(tmp_path / "warehouse")[1])
    publish(tmp_path / "other", neighbours=NEW, popularity=[("*", 1, 1, 1.0)])
    archive.pack(tmp_path / "other", tmp_path / "other.zip")
    shutil.copytree(tmp_path / "warehouse", tmp_path / "copy")
    return tmp_path / "warehouse", tmp_path / "copy"


def strike_at_operations(action, warehouse, copy, strikes=None):
    """Do it over and over, each time with another of its file operations failing, and then being killed at; return how
    many operations there are, and how often each outcome came. strikes: of each kind, spread evenly; None: at all."""
    readable, writable = os.pipe()

    def count():
        done = at_operation(0, kill)
        action(warehouse)
        os.write(writable, f"{done()}".encode())

    assert in_child(count) == DONE
    operations = int(os.read(readable, 100))
    shutil.rmtree(warehouse)
    shutil.copytree(copy, warehouse)
    outcomes = collections.Counter()
    errors = itertools.cycle(map(failing, (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO)))
    every = 1 if strikes is None else max(operations // strikes, 1)
    for number in range(1, operations + 1):
        for strike in [next(errors)] * (number % every == 0) + [kill] * (number % every == every // 2):

            def struck(number=number, strike=strike):
                at_operation(number, strike)
                action(warehouse)

            outcome = in_child(struck)
            expected = {-signal.SIGKILL} if strike is kill else {DONE, REFUSED, LATE}
            assert outcome in expected, (strike.__name__, number)
            outcomes[outcome] += 1
            assert_kept_and_mended(warehouse, copy, outcome)
    return operations, outcomes


ACTIONS = [republish, go_on, store.rollback, fetch, fetch_again]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_file_operations_that_fail_or_are_killed_leave_a_whole_release(warehouse, action):
    operations, outcomes = strike_at_operations(action, *warehouse, strikes=3)
    assert operations > 30 and outcomes[-signal.SIGKILL] >= 3 and outcomes[REFUSED]


@pytest.mark.exhaustive
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_every_file_operation_fails_once_and_is_killed_at_once(warehouse, capsys, action):
    operations, outcomes = strike_at_operations(action, *warehouse)
    with capsys.disabled():
        print(f"\n{action.__name__}: {operations} file operations, each failed once and killed at once; "
              f"outcomes: {dict(outcomes)}; broken readers: 0")  # fmt: skip


def test_a_publish_killed_at_any_time_leaves_a_whole_release(warehouse):
    place, copy = warehouse
    begin = time.monotonic()
    assert in_child(lambda: republish(place)) == DONE
    whole = time.monotonic() - begin
    for step in range(1, 7):

        def struck(step=step):
            signal.setitimer(signal.ITIMER_REAL, whole * step / 7)  # SIGALRM: nothing catches it
            republish(place)

        outcome = in_child(struck)
        assert outcome in (DONE, -signal.SIGALRM)
        assert_kept_and_mended(place, copy, outcome)


@pytest.mark.parametrize("action", [republish, fetch, "first"])
def test_a_power_cut_finds_all_of_a_release_on_the_disk_before_it_goes_live(warehouse, monkeypatch, action):
    """No test can cut the power; what a disk keeps of it is what was synced after it was last changed."""
    place, _ = warehouse
    if action == "first":
        place = place.parent / "new"
        place.mkdir()  # the folder above is the test's own
        place, action = place / "warehouse", republish
    synced, late, went_live = {}, [], []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        begin = time.time_ns()
        fsync(descriptor)
        synced[os.fstat(descriptor).st_ino] = begin

    def noted_replace(source, target):
        if Path(target).name == "CURRENT":
            folder = place / "releases" / Path(source).read_text().strip()
            above = [place.parent] if place.parent.name == "new" else []
            for path in (Path(source), *above, folder.parent, folder, *folder.rglob("*")):
                if synced.get(path.stat().st_ino, 0) < path.stat().st_mtime_ns:
                    late.append(path.name)
            went_live.append(time.time_ns())
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    action(place)
    assert late == [] and len(went_live) == 1
    assert synced[place.stat().st_ino] > went_live[0]


def test_a_disk_that_fills_up_at_any_size_leaves_a_whole_release(warehouse):
    place, copy = warehouse
    largest = max(path.stat().st_size for path in store.release_dir(place).rglob("*") if path.is_file())
    outcomes = set()
    for step in (1, 3, 5, 6, 8):

        def struck(step=step):
            def limit():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest * step // 7, resource.RLIM_INFINITY))

            republish(place, after_build=limit)

        outcome = in_child(struck)
        assert outcome in (DONE, REFUSED), step
        outcomes.add(outcome)
        assert_kept_and_mended(place, copy, outcome)
    assert outcomes == {DONE, REFUSED}


def test_a_full_disk_takes_nothing_from_the_lock_and_what_is_left_over_goes(warehouse):
    place, _ = warehouse
    (place / "arriving.new").mkdir()

    def locked():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        with store.writer_lock(place):
            pass

    assert in_child(locked) == DONE
    assert not (place / "arriving.new").exists()


def read_only(warehouse):
    """Let this process and its children see the warehouse on a disk that nothing can be written to."""
    libc, private, bind, remount = ctypes.CDLL(None, use_errno=True), 0x44000, 0x1000, 0x1021
    place = str(warehouse).encode()
    steps = [libc.unshare(0x20000), libc.mount(None, b"/", None, private, None)]
    steps += [libc.mount(place, place, None, bind, None), libc.mount(None, place, None, remount, None)]
    assert not any(steps), os.strerror(ctypes.get_errno())


def not_ours(warehouse):
    """Go on as somebody who may read the warehouse, and not write to it."""
    os.setgid(65534)
    os.setuid(65534)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a disk away from a process, or its own rights")
@pytest.mark.parametrize("lost", [read_only, not_ours])
@pytest.mark.parametrize("when", ["before the run", "before the publish"])
def test_a_warehouse_that_can_no_longer_be_written_to_stays_as_it_is(warehouse, lost, when):
    _, copy = warehouse
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        os.chmod(folder, 0o755)
        place = Path(folder) / "warehouse"
        shutil.copytree(copy, place)

        def struck():
            os.umask(0o022)
            if when == "before the run":
                lost(place)
                republish(place)
            else:
                republish(place, after_build=lambda: lost(place))

        assert in_child(struck) == REFUSED
        assert_kept_and_mended(place, copy, REFUSED)
