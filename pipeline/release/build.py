"""A release in the making: begun, resumed, checked and published. No reader sees it before it is live."""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from pipeline.config import PipelineError
from pipeline.files import checksum, files_below, leftovers, make_folder, replace_text, sync_all
from pipeline.release import changes, database, store
from pipeline.release.manifest import MANIFEST, read_manifest, versions

UNFINISHED = ("key", "finished", "inputs_before")  # of the manifest: how the next run resumes a killed one
MADE_AGAIN = ("neighbours", "catalogue_map", "metrics", "report", database.DATABASE)  # made again from trained factors


class Build:
    """A release in the making, in warehouse/building; readers do not see it before publish()."""

    def __init__(self, warehouse: Path, manifest: dict[str, Any], folder: str = store.BUILDING) -> None:
        self.warehouse = warehouse
        self.path = warehouse / folder
        self.manifest = manifest

    @classmethod
    def start(cls, warehouse: Path, folder: str = store.BUILDING) -> "Build":
        """Begin an empty build; an unfinished one in this folder is removed.

        Raises PipelineError if the unfinished build cannot be removed.
        """
        build = cls(warehouse, _empty_manifest(), folder)
        shutil.rmtree(build.path, ignore_errors=True)
        if build.path.exists():  # its files would become part of the new release
            fix = f"rm -r {shlex.quote(str(build.path))}"
            raise PipelineError(f"{build.path}: cannot be removed; remove it as its owner: {fix}")
        make_folder(build.path)
        return build

    @classmethod
    def resume(cls, warehouse: Path, key: str) -> "Build":
        """Resume the build of a killed run if its key is the same; else begin an empty one.

        key: of everything that shapes a release except its inputs, which are compared once they have been read again.
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
        """Tell whether the recorded inputs are those of the killed run.

        False if there was no such run, or if a file has no checksum to compare.
        """
        before = self.manifest.get("inputs_before")
        return self.manifest["inputs"] == before and all(source["sha256"] for source in before)

    @classmethod
    def from_trained(cls, warehouse: Path) -> "Build":
        """Resume the build that train_als.py left; without one, begin with the live release's tables.

        Raises PipelineError if there is neither.
        """
        build = cls(warehouse, {})
        if not (build.path / MANIFEST).exists():
            if store.current_id(warehouse) is None:
                raise PipelineError(f"{warehouse}: nothing is trained yet; run ./spark-submit.sh jobs/train_als.py")
            cls.start(warehouse)
            leave_out = shutil.ignore_patterns(*MADE_AGAIN, "run.jsonl")
            copy = warehouse / f"{store.BUILDING}.new"  # an incomplete copy is swept up, and never resumed
            shutil.copytree(store.release_dir(warehouse), copy, ignore=leave_out)
            build.path.rmdir()
            os.rename(copy, build.path)
        for name in MADE_AGAIN:  # the main job may have made these with other settings
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
        """Write the manifest, which makes the build resumable; the files that it names are on the disk before it."""
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

        k, als_rank, min_support: what the gates hold the tables to. popularity_weight: of the ranking. bounds: what
        gates/bounds read, None to skip all of these gates. skip: names of gates in gates/bounds to skip.
        Raises PipelineError if a table is wrong, a gate finds something, or the disk is full. The build then stays for
        inspection, and the live release is as it was.
        """
        held_to = {"k": k, "als_rank": als_rank, "min_support": min_support, **(bounds or {})}
        skip = database.bounded_gates() if bounds is None else skip
        release_id = None
        try:
            for left in leftovers(self.path / MANIFEST):  # no file of the release
                left.unlink(missing_ok=True)
            live = store.comparable(self.warehouse, self.manifest)
            tables = database.build_database(
                self.path, popularity_weight=popularity_weight, bounds=held_to, skip=skip, live=live
            )
            self.manifest["compared_with"] = live.name if live else None
            with contextlib.suppress(duckdb.Error, PipelineError):  # a release without this report is better than none
                if live:
                    self.manifest["changes"] = changes.changes(live, self.path)
            created_at = self._now()
            identity = json.dumps([self.manifest["inputs"], self.manifest["config"], str(created_at)], default=str)
            release_id = f"{created_at:{store.ID_TIME}}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"
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
            release = store.go_live(self.warehouse, self.path, release_id)
        except (OSError, duckdb.Error) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            if release_id is not None and self.path.exists():
                self.manifest = unfinished  # the next run resumes
                with contextlib.suppress(OSError):
                    self.save_manifest()
            raise PipelineError(
                f"{self.warehouse}: {store.outcome(self.warehouse, release_id)} ({reason}); "
                "free space there or make it writable, and repeat the command"
            ) from error
        return release

    def _now(self) -> datetime:
        """Return the time, or a second after the newest release if that is later: ids tell which release is newest."""
        now = datetime.now(UTC)
        if ids := store.published_ids(self.warehouse):
            now = max(now, store.time_of(ids[-1]) + timedelta(seconds=1))
        return now


def _empty_manifest() -> dict[str, Any]:
    return {"inputs": [], **{key: {} for key in ("config", "versions", "ratings", "timings", "metrics")}}
