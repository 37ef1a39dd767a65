"""manifest.json: what a release records of its making, read by programs and described for people."""

import importlib.metadata
import json
import os
import platform
import re
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import config as configuration
from pipeline.config import PipelineError

MANIFEST = "manifest.json"
LIBRARIES = ("pyspark", "duckdb", "pyarrow", "numpy", "faiss-cpu", "scikit-learn")  # they shape a release


class Input(NamedTuple):
    """A file that a release was made from; sha256: its first 12 digits, None if the file could not be read again."""

    folder: str
    file: str
    size: str
    sha256: str | None


class ChangedSetting(NamedTuple):
    """A setting that differs from its default; default: None if the setting no longer exists.

    A path is shortened to its last part.
    """

    name: str
    value: Any
    default: Any


class TableSize(NamedTuple):
    """How large a table of a release is."""

    table: str
    rows: int
    size: str


class Description(NamedTuple):
    """What a release's manifest says, for people.

    ratings: how many ratings were accepted, and how many were rejected for which reason.
    """

    release_id: str
    created_at: datetime
    inputs: list[Input]
    ratings: dict[str, int]
    settings: list[ChangedSetting]
    versions: dict[str, str]
    tables: list[TableSize]
    seconds: dict[str, float]


def read_manifest(release: Path) -> dict[str, Any]:
    """Return the manifest in a release's folder. Raises PipelineError if the manifest is missing or damaged."""
    try:
        manifest = json.loads((release / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("no object")
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(release) from error
    return manifest


def describe(release: Path) -> Description:
    """Return what the release's manifest says. Raises PipelineError if the manifest is missing or damaged."""
    manifest = read_manifest(release)
    try:
        inputs = []
        for source in manifest["inputs"]:
            path, digest = Path(source["path"]), source["sha256"]
            inputs.append(Input(path.parent.name, path.name, in_bytes(source["bytes"]), digest and digest[:12]))
        return Description(
            manifest["release_id"],
            datetime.fromisoformat(manifest["created_at"]),
            inputs,
            dict(manifest["ratings"]),
            _changed_settings(manifest["config"]),
            dict(manifest["versions"]),
            [TableSize(name, table["rows"], in_bytes(table["bytes"])) for name, table in manifest["tables"].items()],
            dict(manifest["timings"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(release) from error


def data_dir(manifest: dict[str, Any]) -> str:
    """Return the folder or address that a release was made from, in one spelling."""
    place = re.sub("^file:/+", "/", manifest["config"]["data"]["dir"])
    return place.rstrip("/") if "://" in place else os.path.abspath(place)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a release."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def in_bytes(number: float | None) -> str:
    """Return a number of bytes as people write it, in units of 1000; '?' if the number is unknown."""
    if number is None:
        return "?"
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _damaged(release: Path) -> PipelineError:
    return PipelineError(
        f"{release / MANIFEST}: missing or damaged; find a whole release with python -m pipeline releases --verify, "
        "or publish a new one with ./spark-submit.sh"
    )


def _changed_settings(config: dict[str, dict[str, Any]]) -> list[ChangedSetting]:
    """Return the settings that differ from today's defaults, without warehouse.dir, which does not shape a release."""
    defaults = configuration.as_dict(configuration.load())
    changed = []
    for section, keys in config.items():
        for key, value in keys.items():
            name, default = f"{section}.{key}", defaults.get(section, {}).get(key)
            if value == default or name == "warehouse.dir":
                continue
            if name in configuration.PATHS:  # the page is public, and folders of the machine are private
                value, default = Path(value).name, Path(default or "").name
                if value == default:
                    continue
            changed.append(ChangedSetting(name, value, default))
    return changed
