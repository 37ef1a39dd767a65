"""Whatever happens at whatever moment of a publish, a reader finds one whole release: the old one or the new one."""

import builtins
import collections
import ctypes
import errno
import io
import os
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from pipeline import release
from pipeline.config import PipelineError
from pipeline.recommend import Recommender
from tests.conftest import NEIGHBOURS, publish, write_build

OLD, NEW = NEIGHBOURS, [(1, 6, 1, 0.75), (3, 1, 1, 0.5)]
GATES = {"k": 4, "als_rank": 2, "min_support": 1}
ANSWERS = {2: "old", 6: "new"}  # what Toy Story is answered with first
# Exit codes of a child: published; gave up in one line; did so, saying that the new release is live; anything else.
DONE, REFUSED, LATE, BUG = 0, 3, 4, 99
# What Python does to files, by where it stands. What DuckDB does is met by time and by size, below.
OPERATIONS = [
    (os, "open"), (os, "fsync"), (os, "rename"), (os, "replace"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"),
    (os, "scandir"), (os, "listdir"), (builtins, "open"), (io, "open"),
]  # fmt: skip


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
            late = release.NEW_IS_LIVE in str(error)
            code = BUG if "\n" in str(error) else LATE if late else REFUSED
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def republish(warehouse, after_build=lambda: None):
    """Publish as a job does: under the lock, from an empty build, and retire what is too old."""
    with release.writer_lock(warehouse):
        build = write_build(warehouse, neighbours=NEW)
        after_build()
        build.publish(**GATES, bounds={"min_coverage": 0, "max_hub_share": 1, "max_row_loss": 1, "max_quality_loss": 1})
        release.retire(warehouse, 2)


def at_operation(number, strike):
    """Have the strike happen in place of the operation of this number, on files of any kind."""
    done = 0

    def guarded(operation):
        def call(*arguments, **named):
            nonlocal done
            done += 1
            if done == number:
                strike()
            return operation(*arguments, **named)

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
    live = release.current_id(warehouse)
    assert release.verify(warehouse, live) == []
    recommender = Recommender(release.release_dir(warehouse))
    rows = recommender.recommend([1], k=2)
    recommender.close()
    assert [info.release_id for info in release.list_releases(warehouse) if info.live] == [live]
    return ANSWERS[rows[0].movie_id]


def assert_kept_and_mended(warehouse, copy, outcome):
    """The promise, and that the next run neither trips over what is left nor leaves it."""
    found = state(warehouse)
    # What a run says of itself is so; one that was killed has said nothing.
    assert found == {DONE: "new", LATE: "new", REFUSED: "old", BUG: "old"}.get(outcome, found)
    for release_id in release.published_ids(warehouse):
        assert release.verify(warehouse, release_id) == []
    assert in_child(lambda: republish(warehouse)) == DONE
    assert state(warehouse) == "new"
    left = {path.name for path in warehouse.iterdir()} | {path.name for path in (warehouse / "releases").iterdir()}
    assert left == {"CURRENT", ".lock", "releases", *release.published_ids(warehouse)}
    shutil.rmtree(warehouse)
    shutil.copytree(copy, warehouse)


@pytest.fixture
def warehouse(tmp_path):
    """A warehouse with three releases, so that a publish has one to retire, and a copy of it to begin again from."""
    for lists in (NEW, NEW, OLD):
        publish(tmp_path / "warehouse", neighbours=lists)
    (tmp_path / "warehouse" / ".lock").touch()
    shutil.copytree(tmp_path / "warehouse", tmp_path / "copy")
    return tmp_path / "warehouse", tmp_path / "copy"


def strike_at_operations(warehouse, copy, every, errors=(errno.ENOSPC,)):
    """Publish over and over, each time with another of the file operations failing, with each of the errors, and then
    being killed at; return how many operations there are, and how often each outcome came."""
    readable, writable = os.pipe()

    def count():
        done = at_operation(0, kill)
        republish(warehouse, after_build=lambda: os.write(writable, f"{done()} ".encode()))
        os.write(writable, f"{done()}".encode())

    assert in_child(count) == DONE
    built, operations = map(int, os.read(readable, 100).split())
    shutil.rmtree(warehouse)
    shutil.copytree(copy, warehouse)
    outcomes = collections.Counter()
    for turn, strike in enumerate([*map(failing, errors), kill]):
        for number in range(1 + turn % every, operations + 1, every):

            def struck(number=number, strike=strike):
                at_operation(number, strike)
                republish(warehouse)

            outcome = in_child(struck)
            # Making the tables is this test's own doing: there an OSError may come out as it is.
            expected = (
                {-signal.SIGKILL} if strike is kill else {DONE, REFUSED, LATE} | ({BUG} if number <= built else set())
            )
            assert outcome in expected, (strike.__name__, number)
            outcomes[outcome] += 1
            assert_kept_and_mended(warehouse, copy, outcome)
    return operations, outcomes


def test_file_operations_that_fail_or_are_killed_leave_a_whole_release(warehouse):
    operations, outcomes = strike_at_operations(*warehouse, every=19, errors=(errno.ENOSPC, errno.EACCES))
    assert operations > 100 and outcomes[-signal.SIGKILL] > 4 < outcomes[REFUSED]


@pytest.mark.exhaustive
def test_every_file_operation_fails_once_and_is_killed_at_once(warehouse, capsys):
    errors = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO)
    operations, outcomes = strike_at_operations(*warehouse, every=1, errors=errors)
    with capsys.disabled():
        print(f"\n{operations} file operations, each failed in {len(errors)} ways, and killed; "
              f"outcomes: {dict(outcomes)}; broken readers: 0")  # fmt: skip


def test_a_publish_killed_at_any_time_leaves_a_whole_release(warehouse):
    place, copy = warehouse
    begin = time.monotonic()
    assert in_child(lambda: republish(place)) == DONE
    whole = time.monotonic() - begin
    for step in range(1, 13):

        def struck(step=step):
            signal.setitimer(signal.ITIMER_REAL, whole * step / 13)  # SIGALRM: nothing catches it
            republish(place)

        outcome = in_child(struck)
        assert outcome in (DONE, -signal.SIGALRM)
        assert_kept_and_mended(place, copy, outcome)


def test_a_power_cut_finds_all_of_a_release_on_the_disk_before_it_goes_live(warehouse, monkeypatch):
    """No test can cut the power; what a disk keeps of it is what was synced after it was last changed."""
    place, _ = warehouse
    synced, late, went_live = {}, [], []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        begin = time.time_ns()
        fsync(descriptor)
        synced[os.fstat(descriptor).st_ino] = begin

    def noted_replace(source, target):
        if Path(target).name == "CURRENT":
            folder = place / "releases" / Path(source).read_text().strip()
            for path in (Path(source), folder.parent, folder, *folder.rglob("*")):
                if synced.get(path.stat().st_ino, 0) < path.stat().st_mtime_ns:
                    late.append(path.name)
            went_live.append(time.time_ns())
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    republish(place)
    assert late == [] and len(went_live) == 1
    assert synced[place.stat().st_ino] > went_live[0]


def test_a_disk_that_fills_up_at_any_size_leaves_a_whole_release(warehouse):
    place, copy = warehouse
    largest = max(path.stat().st_size for path in release.release_dir(place).rglob("*") if path.is_file())
    outcomes = set()
    for step in range(1, 9):

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
