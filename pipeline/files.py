"""Files that take their place as the last step, and folders that a power cut leaves as they were written."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file's place: its content replaces the file at path once the content is on the disk.

    A reader sees the old file or the new one, whole. Raises OSError; the old file is then as it was. Only a run that is
    killed leaves <name>.<process>.new behind; leftovers() finds such files.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        yield new
        sync(new)
        os.replace(new, path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Return what killed runs left of replacing(path), and the files that SQLite had beside it."""
    name = re.compile(rf"{re.escape(path.name)}\.(\d+\.)?new(-wal|-shm|-journal)?")
    return [other for other in path.parent.iterdir() if name.fullmatch(other.name)]


def files_below(folder: Path) -> list[str]:
    """Return the files below a folder, as paths from there."""
    return sorted(path.relative_to(folder).as_posix() for path in below(folder) if path.is_file())


def below(folder: Path) -> Iterator[Path]:
    """Yield all folders and files below a folder. Raises OSError if a folder cannot be listed; Path.rglob would not."""

    def stop(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=stop):
        yield from (Path(place, name) for name in (*folders, *names))


def checksum(path: Path) -> dict[str, Any]:
    """Return a file's size and sha256."""
    with path.open("rb") as file:
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def replace_text(path: Path, text: str) -> None:
    """Replace a file's content so that even a power cut leaves the old content or the new one. Raises OSError."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")
    sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it so that a power cut leaves them there."""
    above = [folder, *folder.parents]
    missing = [place for place in above if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync(place.parent)


def sync_all(folder: Path) -> None:
    """Return once a folder with all below it is on the disk. Raises OSError."""
    for path in (*below(folder), folder):
        sync(path)


def sync(path: Path) -> None:
    """Return once a file's content, or the list of names in a folder, is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
