"""Zip archives that come from elsewhere, unpacked within bounds."""

import os
import re
import stat
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

# Rules out `.`, `..`, absolute paths, drive letters and backslashes.
SAFE_NAME = re.compile(r"((?!\.\.?(/|$))[\w.-]+(/|$))+", re.ASCII)
CHUNK = 2**20  # bytes


def require_safe(members: Collection[zipfile.ZipInfo], *, limit: int) -> None:
    """Raise BadZipFile if unpacking the members could do harm, judged by names, kinds and declared sizes alone.

    limit: bytes that all members may declare together.
    """
    if (size := sum(member.file_size for member in members)) > limit:
        raise zipfile.BadZipFile(f"it would unpack to {size / 1e6:,.1f} MB, {limit / 1e6:,.1f} MB are allowed")
    for member in members:
        checks = {
            "would leave the folder": SAFE_NAME.fullmatch(member.filename),
            "is a link or a device": stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR),
            # zipfile unpacks other kinds in chunks of any size, before the chunks are counted
            "is packed in an odd way": member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
        }
        if failed := [what for what, passed in checks.items() if not passed]:
            raise zipfile.BadZipFile(f"its member {member.filename!r} {failed[0]}")


def extract(
    archive: zipfile.ZipFile,
    paths: dict[str, Path],
    *,
    limit: int,
    show: Callable[[int], None] = lambda done: None,
) -> None:
    """Write members of an archive to the paths given, onto the disk; no path may be there already.

    paths: path by the name of the member, after require_safe(). Declared sizes may lie, so bytes are counted as they
    come. show: is called with the number of bytes written so far.
    Raises OSError, and BadZipFile if the members hold more than limit bytes, or other bytes than their CRC says.
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
