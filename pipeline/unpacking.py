"""Zip archives that come from elsewhere, unpacked within bounds."""

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

# Rules out `.`, `..`, absolute paths, drive letters and backslashes.
SAFE_NAME = re.compile(r"((?!\.\.?(/|$))[\w.-]+(/|$))+", re.ASCII)
CHUNK = 2**20  # bytes


def extract(
    archive: zipfile.ZipFile,
    paths: dict[str, Path],
    *,
    limit: int,
    show: Callable[[int], None] = lambda done: None,
) -> None:
    """Write members of an archive to the paths given, onto the disk; no path may be there already.

    paths: path by the name of the member; the caller has judged names and declared sizes. Declared sizes may lie, so
    bytes are counted as they come. show: is told how many bytes are written.
    Raises BadZipFile if the members hold more than limit bytes, or others than their CRC says, and OSError.
    """
    done = 0
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as source, path.open("xb") as sink:
            while chunk := source.read(CHUNK):
                done += len(chunk)
                if done > limit:
                    raise zipfile.BadZipFile(f"it unpacks to more than {limit / 1e6:,.1f} MB")
                sink.write(chunk)
                show(done)
            sink.flush()
            os.fsync(sink.fileno())  # else a power cut could leave empty files under the final name
