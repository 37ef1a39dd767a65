"""Releases: built aside, checked, and made live by replacing one line of text as the very last step."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from pipeline.config import BusyError, PipelineError
from pipeline.files import checksum, files_below, make_folder, replace_text, sync, sync_all
from pipeline.release import changes, database

MANIFEST = "manifest.json"
BUILDING = "building"  # the folder of the warehouse in which a release is made, and in which a refused one stays
NEW_IS_LIVE = "the new release is live"  # where an error comes after that
UNFINISHED = ("key", "finished", "inputs_before")  # of the manifest: how a run that dies is gone on with
RETIRED = ".retired-"  # how the name of a release begins that is being removed
ID_TIME = "%Y%m%dT%H%M%SZ"
ANSWERED_FROM = ("movies", "item_factors", "neighbours", "popularity")  # tables that every release has
RELEASE_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


class ReleaseInfo(NamedTuple):
    """One published release as `python -m pipeline releases` lists it; None and a reason as inputs where it is
    damaged."""

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
    """Return the id of the live release, None when nothing was published yet.

    Raises PipelineError when CURRENT names no published release.
    """
    try:
        text = (warehouse / "CURRENT").read_text(encoding="ascii", errors="replace").strip()
        there = RELEASE_ID.fullmatch(text) and (releases_dir(warehouse) / text).is_dir()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PipelineError(
            f"{warehouse / 'CURRENT'}: cannot be read ({error.strerror}); mend its permissions"
        ) from error
    if not there:
        raise PipelineError(
            f"{warehouse / 'CURRENT'}: names no published release; "
            "choose one of those that `python -m pipeline releases` shows: python -m pipeline rollback RELEASE_ID"
        )
    return text


def release_dir(warehouse: Path, release_id: str | None = None) -> Path:
    """Return the folder of a release, the live one by default. Raises PipelineError when there is none."""
    if release_id is None:
        release_id = current_id(warehouse)
        if release_id is None:
            raise PipelineError(f"{warehouse}: no release has been published here yet; run ./spark-submit.sh")
    elif release_id not in published_ids(warehouse):
        raise PipelineError(f"{warehouse}: no release '{release_id}'; `python -m pipeline releases` lists them")
    return releases_dir(warehouse) / release_id


def published_ids(warehouse: Path) -> list[str]:
    """Return the ids of all published releases, oldest first."""
    try:
        entries = list(releases_dir(warehouse).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PipelineError(f"{releases_dir(warehouse)}: cannot be read ({error.strerror})") from error
    return sorted(entry.name for entry in entries if RELEASE_ID.fullmatch(entry.name))


def list_releases(warehouse: Path) -> list[ReleaseInfo]:
    """Return all published releases, newest first."""
    live = None
    # A damaged CURRENT must not keep anybody from seeing what there is to roll back to.
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


def read_manifest(release: Path) -> dict[str, Any]:
    """Return the release's manifest. Raises PipelineError when it is missing or damaged."""
    try:
        manifest = json.loads((release / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("no object")
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"{release / MANIFEST}: missing or damaged; run ./spark-submit.sh") from error
    return manifest


def numbered_before(warehouse: Path) -> tuple[list[Path], int]:
    """Return the folders of the published releases whose items have ids that are text, and the largest number that any
    release up to them has given to one."""
    folders, largest = [], 0
    for release_id in published_ids(warehouse):
        with contextlib.suppress(PipelineError):  # a damaged one; the others have its numbers, too
            folder = releases_dir(warehouse) / release_id
            if number := read_manifest(folder).get("largest_movie_id"):
                folders.append(folder)
                largest = max(largest, number)
    return folders, largest


def verify(warehouse: Path, release_id: str) -> list[str]:
    """Return what is wrong with a published release; nothing when every file is as its manifest says and
    serving.duckdb holds the same rows as the Parquet files."""
    return damage(release_dir(warehouse, release_id))


def damage(folder: Path) -> list[str]:
    """Return what is wrong with a release's folder, wherever it is; see verify()."""
    try:
        manifest = read_manifest(folder)
    except PipelineError as error:
        return [str(error)]
    files, tables = manifest.get("files"), manifest.get("tables")
    if not isinstance(files, dict) or not isinstance(tables, dict):
        return [f"{MANIFEST}: notes no checksums: nothing to compare with"]
    if missing := sorted(set(ANSWERED_FROM).difference(tables)):
        return [f"{MANIFEST}: notes no table {missing[0]}"]
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
    """Remove what runs that died have left half done, but for a build, which the next one clears or goes on with. Only
    for who holds the writer lock."""
    for leftover in [*releases_dir(warehouse).glob(f"{RETIRED}*"), *warehouse.glob("*.new")]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def retire(warehouse: Path, keep: int) -> list[str]:
    """Remove all but the newest releases and the live one; return the ids of those that went. keep: 0 keeps all.

    A release goes out of sight as a whole before its files go. Whoever has its database open can still read it.
    Raises PipelineError when one cannot be removed.
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
        raise PipelineError(
            f"{NEW_IS_LIVE}, but the old ones cannot be removed ({error}); the next run tries again"
        ) from error
    return gone


def before(warehouse: Path, release_id: str) -> str:
    """Return the id of the newest release that is older than this one. Raises PipelineError when there is none."""
    older = [other for other in published_ids(warehouse) if other < release_id]
    if not older:
        raise PipelineError(f"{warehouse}: there is no older release")
    return older[-1]


def rollback(warehouse: Path, release_id: str | None = None) -> str:
    """Make a release live, by default the newest one older than the live one, and return its id.

    Raises PipelineError where there is none, where its files are not as they were published, and where the disk does
    not take it; unless it says otherwise the live release is then as it was.
    """
    if release_id is None:
        release_id = before(warehouse, current_id(warehouse) or "")
    release_dir(warehouse, release_id)
    with writer_lock(warehouse):
        folder = release_dir(warehouse, release_id)  # it may have been retired meanwhile
        if wrong := damage(folder):
            raise PipelineError(
                f"{folder}: {wrong[0]}; nothing was changed; python -m pipeline releases --verify shows what is whole"
            )
        try:
            replace_text(warehouse / "CURRENT", release_id + "\n")
        except OSError as error:
            raise PipelineError(f"{warehouse}: {outcome(warehouse, release_id)} ({error.strerror})") from error
    return release_id


def outcome(warehouse: Path, release_id: str | None) -> str:
    """Return, after an error while a release was made live, how it stands now."""
    with contextlib.suppress(PipelineError):
        if release_id is not None and current_id(warehouse) == release_id:
            return NEW_IS_LIVE
    return "not published, the live release is as it was"


@contextlib.contextmanager
def writer_lock(warehouse: Path) -> Iterator[None]:
    """Hold the warehouse's only write permission; the system takes it back when the process ends, however it ends.

    Raises PipelineError when another process holds it, or when the folder cannot be written.
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
            raise PipelineError(f"{warehouse}: no lock can be had here ({error.strerror})") from error
        with contextlib.suppress(OSError):  # on a full disk the name of the owner is missing, not the lock
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
        with contextlib.suppress(OSError):
            sweep(warehouse)
        yield
    finally:
        with contextlib.suppress(OSError):  # the system takes it back all the same
            lock.close()


class Build:
    """A release under construction, in warehouse/building, invisible to readers until publish()."""

    def __init__(self, warehouse: Path, manifest: dict[str, Any], folder: str = BUILDING) -> None:
        self.warehouse = warehouse
        self.path = warehouse / folder
        self.manifest = manifest

    @classmethod
    def start(cls, warehouse: Path, folder: str = BUILDING) -> "Build":
        """Begin an empty build; whatever an earlier run left unfinished in this folder goes."""
        build = cls(warehouse, _empty_manifest(), folder)
        shutil.rmtree(build.path, ignore_errors=True)
        if build.path.exists():  # what is left of it would become part of the new release
            raise PipelineError(f"{build.path}: cannot be removed; see to its owner and permissions, or remove it")
        make_folder(build.path)
        return build

    @classmethod
    def resume(cls, warehouse: Path, key: str) -> "Build":
        """Go on with the build of a run that died, where its key is the same; else begin an empty one.

        key: of all that shapes a release but for its inputs, which are compared once they have been read again.
        """
        build = cls(warehouse, {})
        with contextlib.suppress(PipelineError):
            left = read_manifest(build.path)
            if left.get("key") == key and "finished" in left:
                build.manifest = {**left, "inputs": [], "ratings": {}, "inputs_before": left["inputs"]}
                return build
        build = cls.start(warehouse)
        build.manifest |= {"key": key, "finished": []}
        return build

    def same_inputs(self) -> bool:
        """Tell whether the inputs recorded are those that the run before had; False where there was none, or where a
        file has no checksum to compare."""
        before = self.manifest.get("inputs_before")
        return self.manifest["inputs"] == before and all(source["sha256"] for source in before)

    @classmethod
    def from_trained(cls, warehouse: Path) -> "Build":
        """Go on with the build that train_als.py left; without one, begin with the live release's tables.

        Raises PipelineError when there is neither.
        """
        build = cls(warehouse, {})
        made_again = ("neighbours", "catalogue_map", "metrics", "report", database.DATABASE)
        if not (build.path / MANIFEST).exists():
            if current_id(warehouse) is None:
                raise PipelineError(f"{warehouse}: nothing is trained yet; run ./spark-submit.sh jobs/train_als.py")
            cls.start(warehouse)
            leave_out = shutil.ignore_patterns(*made_again, "run.jsonl")
            copy = warehouse / f"{BUILDING}.new"  # half of one is swept up, and never gone on with
            shutil.copytree(release_dir(warehouse), copy, ignore=leave_out)
            build.path.rmdir()
            os.rename(copy, build.path)
        for name in made_again:  # by a run of the main job, perhaps with other settings
            left = build.path / name
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        build.manifest = read_manifest(build.path)
        for key in ("release_id", "created_at", "tables", "files", "changes", "compared_with", *UNFINISHED):
            build.manifest.pop(key, None)
        return build

    def record(self, key: str, entries: Any) -> None:
        """Add entries to a section of the manifest."""
        section = self.manifest[key]
        section.extend(entries) if isinstance(section, list) else section.update(entries)

    def save_manifest(self) -> None:
        """Write the manifest; a build that has one can be gone on with. What it speaks of is on the disk before it."""
        sync_all(self.path)
        replace_text(self.path / MANIFEST, json.dumps(self.manifest, indent=2, default=str) + "\n")

    def publish(
        self,
        *,
        k: int,
        als_rank: int,
        min_support: int,
        popularity_weight: float = 0.0,
        bounds: dict[str, float] | None = None,
        skip: Collection[str] = (),
    ) -> Path:
        """Build serving.duckdb, check everything, and make this build the live release; return its folder.

        k, als_rank and min_support are what the gates hold the tables to, popularity_weight goes into the ranking.
        bounds: what gates/bounds read, None to leave those out; skip: names of those not to ask.
        Raises PipelineError, with the build left for inspection and the live release as it was, when a table or a
        gate is not as it should be, or the disk does not take it.
        """
        held_to = {"k": k, "als_rank": als_rank, "min_support": min_support, **(bounds or {})}
        skip = database.bounded_gates() if bounds is None else skip
        release_id = None
        try:
            (self.path / f"{MANIFEST}.new").unlink(missing_ok=True)  # of a run that died: no file of the release
            live = comparable(self.warehouse, self.manifest)
            tables = database.build_database(
                self.path, popularity_weight=popularity_weight, bounds=held_to, skip=skip, live=live
            )
            self.manifest["compared_with"] = live.name if live else None
            with contextlib.suppress(duckdb.Error, PipelineError):  # a report is no reason not to publish
                if live:
                    self.manifest["changes"] = changes.changes(live, self.path)
            created_at = self._now()
            identity = json.dumps([self.manifest["inputs"], self.manifest["config"], str(created_at)], default=str)
            release_id = f"{created_at:{ID_TIME}}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"
            unfinished = self.manifest
            self.manifest = {
                "release_id": release_id,
                "created_at": created_at.isoformat(timespec="seconds"),
                **{key: value for key, value in self.manifest.items() if key not in UNFINISHED},
                "versions": {**self.manifest["versions"], **versions()},
                "tables": tables,
                "files": {name: checksum(self.path / name) for name in files_below(self.path) if name != MANIFEST},
            }
            self.save_manifest()
            release = _go_live(self.warehouse, self.path, release_id)
        except (OSError, duckdb.Error) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            if release_id is not None and self.path.exists():
                self.manifest = unfinished  # the next run need not begin anew
                with contextlib.suppress(OSError):
                    self.save_manifest()
            raise PipelineError(
                f"{self.warehouse}: {outcome(self.warehouse, release_id)} ({reason}); "
                "see to space and permissions there, and run again"
            ) from error
        return release

    def _now(self) -> datetime:
        """Return the time, or a second after the newest release where the clock has been set back or two releases are
        made in a second: ids tell which release is the newest."""
        now = datetime.now(UTC)
        if ids := published_ids(self.warehouse):
            now = max(now, time_of(ids[-1]) + timedelta(seconds=1))
        return now


def time_of(release_id: str) -> datetime:
    """Return when a release was made. Raises ValueError where its id names no time."""
    return datetime.strptime(release_id.split("-")[0], ID_TIME).replace(tzinfo=UTC)


def comparable(warehouse: Path, manifest: dict[str, Any]) -> Path | None:
    """Return the live release's folder where it was made from the same data.dir as this manifest's build and can be
    read, else None."""
    with contextlib.suppress(PipelineError, OSError, KeyError, TypeError, AttributeError):
        live = release_dir(warehouse)
        noted = read_manifest(live)
        whole = checksum(live / database.DATABASE) == noted["files"][database.DATABASE]
        if whole and data_dir(noted) == data_dir(manifest):
            return live
    return None


def data_dir(manifest: dict[str, Any]) -> str:
    """Return the folder or address that a release was made from, spelled in one way."""
    place = re.sub("^file:/+", "/", manifest["config"]["data"]["dir"])
    return place.rstrip("/") if "://" in place else os.path.abspath(place)


def admit(warehouse: Path, folder: Path, release_id: str) -> None:
    """Make a release that was made elsewhere, whole in a folder of this warehouse, the live one; where it is here
    already, that one. Only for who holds the writer lock.

    Raises PipelineError when the one that is here is damaged, and OSError; the live release is then as it was.
    """
    if release_id not in published_ids(warehouse):
        sync_all(folder)
        _go_live(warehouse, folder, release_id)
        return
    if wrong := verify(warehouse, release_id):
        raise PipelineError(f"{releases_dir(warehouse) / release_id}: {wrong[0]}; remove this folder, and fetch again")
    replace_text(warehouse / "CURRENT", release_id + "\n")


def _go_live(warehouse: Path, folder: Path, release_id: str) -> Path:
    """Move a whole release to the published ones and make it live; return its folder."""
    published = releases_dir(warehouse) / release_id
    make_folder(published.parent)
    os.rename(folder, published)
    sync(published.parent)
    replace_text(warehouse / "CURRENT", release_id + "\n")
    return published


def _empty_manifest() -> dict[str, Any]:
    return {"inputs": [], **{key: {} for key in ("config", "versions", "ratings", "timings", "metrics")}}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a release."""
    libraries = ("pyspark", "duckdb", "pyarrow", "numpy", "faiss-cpu", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in libraries},
    }
