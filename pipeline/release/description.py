"""What a release's manifest says, for people. No Spark."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import config as configuration
from pipeline.config import PipelineError
from pipeline.release.store import MANIFEST, read_manifest


class Input(NamedTuple):
    """A file that a release was made from; sha256: its first 12 digits, None where it could not be read again."""

    folder: str
    file: str
    size: str
    sha256: str | None


class Setting(NamedTuple):
    """A setting that differs from its default; paths: their last part. default is None where there is none any more."""

    name: str
    value: Any
    default: Any


class TableSize(NamedTuple):
    """How large a table of a release is."""

    table: str
    rows: int
    size: str


class Description(NamedTuple):
    """What a release's manifest says, for people. ratings: how many were accepted, and why others were not."""

    release_id: str
    created_at: datetime
    inputs: list[Input]
    ratings: dict[str, int]
    settings: list[Setting]
    versions: dict[str, str]
    tables: list[TableSize]
    seconds: dict[str, float]


def describe(release: Path) -> Description:
    """Return what the release's manifest says. Raises PipelineError when it is missing or damaged."""
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
        raise PipelineError(f"{release / MANIFEST}: damaged; run ./spark-submit.sh") from error


def in_bytes(number: float | None) -> str:
    """Return a number of bytes as people write it, in units of 1000; '?' where it is unknown."""
    if number is None:
        return "?"
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _changed_settings(config: dict[str, dict[str, Any]]) -> list[Setting]:
    """Return the settings that differ from today's defaults; not where a release lies, which does not shape it."""
    defaults = configuration.as_dict(configuration.load())
    changed = []
    for section, keys in config.items():
        for key, value in keys.items():
            name, default = f"{section}.{key}", defaults.get(section, {}).get(key)
            if value == default or name == "warehouse.dir":
                continue
            if name in configuration.PATHS:  # where files lie on the machine is nobody's business
                value, default = Path(value).name, Path(default or "").name
                if value == default:
                    continue
            changed.append(Setting(name, value, default))
    return changed
