"""What a run depends on: the code, the settings that shape a release, and the input files, as checksums."""

import hashlib
import importlib.resources
from typing import Any

import pyarrow.fs

LATE = (
    "warehouse",
    "operations",
    "sessions",
    "gates",
    "page",
    "sql",
    "example",
)  # sections that shape nothing before publishing


def digest(content: bytes) -> str:
    """Return the sha256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def shaping(config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the sections of a configuration that tables and measures depend on."""
    return {name: keys for name, keys in config.items() if name not in LATE}


def code() -> list[str]:
    """Return the checksums of what makes the tables: pipeline and jobs, wherever they were loaded from."""
    found, left = [], [importlib.resources.files("pipeline"), importlib.resources.files("jobs")]
    while left:
        for entry in left.pop().iterdir():
            if entry.name.endswith((".py", ".sql")):
                found.append(digest(entry.read_bytes()))
            elif entry.is_dir():
                left.append(entry)
    return sorted(found)


def input_files(paths: list[str]) -> list[dict]:
    """Return path, bytes and sha256 of input files, given as URIs or paths; sha256 is null where no driver-side
    file system can read them."""
    entries = []
    for path in paths:
        entry = {"path": path.removeprefix("file://"), "bytes": None, "sha256": None}
        try:
            filesystem, inner = pyarrow.fs.FileSystem.from_uri(path)
            digest = hashlib.sha256()
            with filesystem.open_input_stream(inner) as stream:
                entry["bytes"] = filesystem.get_file_info(inner).size
                while chunk := stream.read(1 << 22):
                    digest.update(chunk)
            entry["sha256"] = digest.hexdigest()
        except (OSError, ValueError, ImportError, NotImplementedError):
            pass
        entries.append(entry)
    return entries
