"""The releases of a warehouse: which is live, list, verify, roll back, retire, and the lock that writers hold."""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config import BusyError, PipelineError
from pipeline.files import checksum, files_below, make_folder, replace_text, sync, sync_all
from pipeline.release import database
from pipeline.release.manifest import MANIFEST, data_dir, read_manifest

BUILDING = "building"  # the folder of the warehouse in which a release is made, and in which a refused one stays
NEW_IS_LIVE = "the new release is live"  # part of an error that comes after that
RETIRED = ".retired-"  # how the name of a release begins that is being removed
ID_TIME = "%Y%m%dT%H%M%SZ"
ANSWERED_FROM = ("movies", "item_factors", "neighbours", "popularity")  # tables that every release has
RELEASE_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


class ReleaseInfo(NamedTuple):
    """One published release as `python -m pipeline releases` lists it.

    Of a damaged release the other fields are None, and inputs gives the reason.
    """

    release_id: str
    live: bool
    created_at: str | None
    n_movies: int | None
    n_neighbours: int | None
    inputs: str


def releases_dir(warehouse: Path) -> Path:
    """Return the folder that holds the published releases."""
    return warehouse / "releases"


def current_id(warehouse: Path) -> str | None:
    """Return the id of the live release, None if nothing was published yet.

    Raises PipelineError if CURRENT cannot be read or names no published release.
    """
    try:
        text = (warehouse / "CURRENT").read_text(encoding="ascii", errors="replace").strip()
        there = RELEASE_ID.fullmatch(text) and (releases_dir(warehouse) / text).is_dir()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(warehouse / "CURRENT", error) from error
    if not there:
        raise PipelineError(
            f"{warehouse / 'CURRENT'}: names no published release; "
            "choose one of those that `python -m pipeline releases` shows: python -m pipeline rollback RELEASE_ID"
        )
    return text


def release_dir(warehouse: Path, release_id: str | None = None) -> Path:
    """Return the folder of a release, the live one by default. Raises PipelineError if there is none."""
    if release_id is None:
        release_id = current_id(warehouse)
        if release_id is None:
            raise PipelineError(f"{warehouse}: no release has been published here yet; run ./spark-submit.sh")
    elif release_id not in published_ids(warehouse):
        raise PipelineError(f"{warehouse}: no release '{release_id}'; list them with python -m pipeline releases")
    return releases_dir(warehouse) / release_id


def published_ids(warehouse: Path) -> list[str]:
    """Return the ids of all published releases, oldest first."""
    try:
        entries = list(releases_dir(warehouse).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(releases_dir(warehouse), error) from error
    return sorted(entry.name for entry in entries if RELEASE_ID.fullmatch(entry.name))


def list_releases(warehouse: Path) -> list[ReleaseInfo]:
    """Return all published releases, newest first."""
    live = None
    # With a damaged CURRENT, people still need to see which releases they can roll back to.
    with contextlib.suppress(PipelineError):
        live = current_id(warehouse)
    releases = []
    for release_id in reversed(published_ids(warehouse)):
        try:
            manifest = read_manifest(releases_dir(warehouse) / release_id)
            rows = {name: table["rows"] for name, table in manifest["tables"].items()}
            inputs = ", ".join(sorted({str(Path(source["path"]).parent) for source in manifest["inputs"]}))
            info = (manifest["created_at"], rows["movies"], rows["neighbours"], inputs)
        except (PipelineError, KeyError, TypeError, AttributeError):
            info = (None, None, None, f"{MANIFEST} missing or damaged")
        releases.append(ReleaseInfo(release_id, release_id == live, *info))
    return releases


def numbered_before(warehouse: Path) -> tuple[list[Path], int]:
    """Return the published releases whose item ids are text, and the largest number that they gave to an item."""
    folders, largest = [], 0
    for release_id in published_ids(warehouse):
        with contextlib.suppress(PipelineError):  # the other releases also have the numbers of a damaged one
            folder = releases_dir(warehouse) / release_id
            if number := read_manifest(folder).get("largest_movie_id"):
                folders.append(folder)
                largest = max(largest, number)
    return folders, largest


def verify(warehouse: Path, release_id: str) -> list[str]:
    """Return what is wrong with a published release, one line per problem.

    A release is whole if every file is as recorded in the manifest and the database has the rows of the Parquet files.
    """
    return damage(release_dir(warehouse, release_id))


def damage(folder: Path) -> list[str]:
    """Return what is wrong with a release in any folder; see verify()."""
    try:
        manifest = read_manifest(folder)
    except PipelineError:
        return [f"{MANIFEST}: missing or damaged"]
    files, tables = manifest.get("files"), manifest.get("tables")
    if not isinstance(files, dict) or not isinstance(tables, dict):
        return [f"{MANIFEST}: has no checksums to compare with"]
    if missing := sorted(set(ANSWERED_FROM).difference(tables)):
        return [f"{MANIFEST}: has no table {missing[0]}"]
    wrong = []
    for name, noted in files.items():
        try:
            if checksum(folder / name) != noted:
                wrong.append(f"{name}: not as it was published")
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
    try:
        unknown = {name for name in files_below(folder) if name != MANIFEST}.difference(files)
        wrong += [f"{name}: was not published with it" for name in sorted(unknown)]
    except OSError as error:
        wrong.append(f"{error.filename}: {error.strerror}")
    if not wrong:
        try:
            differ = database.differences(folder, list(tables))
        except PipelineError as error:
            return [str(error)]
        wrong += [f"{database.DATABASE}: table {table} has other rows than its Parquet files" for table in differ]
    return wrong


def sweep(warehouse: Path) -> None:
    """Remove what killed runs left half done, except a build, which the next run resumes or clears.

    The caller holds the writer lock.
    """
    for leftover in [*releases_dir(warehouse).glob(f"{RETIRED}*"), *warehouse.glob("*.new")]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def retire(warehouse: Path, keep: int) -> list[str]:
    """Remove all releases except the newest and the live one; return the ids of the removed. keep: 0 keeps all.

    A release is hidden as a whole before its files are removed. A reader that has its database open can still read.
    Raises PipelineError if a release cannot be removed.
    """
    try:
        old = published_ids(warehouse)[:-keep] if keep else []
        gone = [release_id for release_id in old if release_id != current_id(warehouse)]
        for release_id in gone:
            hidden = releases_dir(warehouse) / f"{RETIRED}{release_id}"
            os.rename(releases_dir(warehouse) / release_id, hidden)
            sync(hidden.parent)
            shutil.rmtree(hidden)
    except (OSError, PipelineError) as error:
        fix = f"chmod -R u+rwX {shlex.quote(str(releases_dir(warehouse)))}"
        raise PipelineError(
            f"{NEW_IS_LIVE}, but old releases cannot be removed ({error}); the next run removes them after {fix}"
        ) from error
    return gone


def before(warehouse: Path, release_id: str) -> str:
    """Return the id of the newest release that is older than this one. Raises PipelineError if there is none."""
    older = [other for other in published_ids(warehouse) if other < release_id]
    if not older:
        raise PipelineError(f"{warehouse}: there is no older release; list them with python -m pipeline releases")
    return older[-1]


def rollback(warehouse: Path, release_id: str | None = None) -> str:
    """Make a release live, by default the newest one older than the live one, and return its id.

    Raises PipelineError if there is no such release, if the release is not whole, and if the disk is full.
    Unless the error says otherwise, the live release is then as it was.
    """
    if release_id is None:
        release_id = before(warehouse, current_id(warehouse) or "")
    release_dir(warehouse, release_id)
    with writer_lock(warehouse):
        folder = release_dir(warehouse, release_id)  # another process may have retired it meanwhile
        if wrong := damage(folder):
            raise PipelineError(
                f"{folder}: {wrong[0]}; nothing was changed; "
                "choose a whole release, which python -m pipeline releases --verify shows"
            )
        try:
            replace_text(warehouse / "CURRENT", release_id + "\n")
        except OSError as error:
            raise PipelineError(
                f"{warehouse}: {outcome(warehouse, release_id)} ({error.strerror}); "
                f"free space there, then repeat: python -m pipeline rollback {release_id}"
            ) from error
    return release_id


def outcome(warehouse: Path, release_id: str | None) -> str:
    """Return which release is live after an error while a release was made live."""
    with contextlib.suppress(PipelineError):
        if release_id is not None and current_id(warehouse) == release_id:
            return NEW_IS_LIVE
    return "not published, the live release is as it was"


@contextlib.contextmanager
def writer_lock(warehouse: Path) -> Iterator[None]:
    """Hold the warehouse's only write lock; the system releases the lock when the process ends, however it ends.

    Raises BusyError if another process holds the lock, and PipelineError if the folder cannot be written or locked.
    """
    try:
        make_folder(warehouse)
        lock = open(warehouse / ".lock", "a+b", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise PipelineError(
            f"{warehouse}: cannot write here ({error.strerror}); choose another --set warehouse.dir=DIR"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read(20).decode("ascii", "replace").strip() or "unknown"
            raise BusyError(f"{warehouse}: process {owner} is writing here; wait for it to end") from None
        except OSError as error:
            raise PipelineError(
                f"{warehouse}: this disk does not lock files ({error.strerror}); "
                "choose a folder on another disk: --set warehouse.dir=DIR"
            ) from error
        with contextlib.suppress(OSError):  # on a full disk only the owner's number is missing
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
        with contextlib.suppress(OSError):
            sweep(warehouse)
        yield
    finally:
        with contextlib.suppress(OSError):  # the system releases the lock all the same
            lock.close()


def time_of(release_id: str) -> datetime:
    """Return when a release was made. Raises ValueError if its id names no time."""
    return datetime.strptime(release_id.split("-")[0], ID_TIME).replace(tzinfo=UTC)


def comparable(warehouse: Path, manifest: dict[str, Any]) -> Path | None:
    """Return the live release's folder if it can be read and was made from the manifest's data.dir, else None."""
    with contextlib.suppress(PipelineError, OSError, KeyError, TypeError, AttributeError):
        live = release_dir(warehouse)
        noted = read_manifest(live)
        whole = checksum(live / database.DATABASE) == noted["files"][database.DATABASE]
        if whole and data_dir(noted) == data_dir(manifest):
            return live
    return None


def admit(warehouse: Path, folder: Path, release_id: str) -> None:
    """Make live a release that was made elsewhere and lies whole in a folder of this warehouse.

    If the warehouse has this release already, that one goes live. The caller holds the writer lock.
    Raises PipelineError if the release that is here is damaged, and OSError; the live release is then as it was.
    """
    if release_id not in published_ids(warehouse):
        sync_all(folder)
        go_live(warehouse, folder, release_id)
        return
    if wrong := verify(warehouse, release_id):
        here = releases_dir(warehouse) / release_id
        raise PipelineError(f"{here}: {wrong[0]}; remove it, then fetch again: rm -r {shlex.quote(str(here))}")
    replace_text(warehouse / "CURRENT", release_id + "\n")


def go_live(warehouse: Path, folder: Path, release_id: str) -> Path:
    """Move a whole release to the published ones and make it live; return its folder. Raises OSError."""
    published = releases_dir(warehouse) / release_id
    make_folder(published.parent)
    os.rename(folder, published)
    sync(published.parent)
    replace_text(warehouse / "CURRENT", release_id + "\n")
    return published


def _unreadable(path: Path, error: OSError) -> PipelineError:
    fix = f"chmod u+rX {shlex.quote(str(path))}"
    return PipelineError(f"{path}: cannot be read ({error.strerror}); make it readable: {fix}")
