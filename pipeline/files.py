"""Files that take their place as the last step, and folders that a power cut leaves as they were written."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what a file is to hold; a reader sees the old file or, once it is on the disk, the new one.

    Raises OSError; the file is then as it was. Only a run that is killed leaves .<name>.<process> behind.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield new
        with new.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def files_below(folder: Path) -> list[str]:
    """Return the files below a folder, as paths from there."""
    return sorted(path.relative_to(folder).as_posix() for path in below(folder) if path.is_file())


def below(folder: Path) -> Iterator[Path]:
    """Yield all folders and files below a folder. Raises OSError where one cannot be listed; Path.rglob
    would not."""

    def stop(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=stop):
        yield from (Path(place, name) for name in (*folders, *names))


def checksum(path: Path) -> dict[str, Any]:
    """Return a file's size and sha256."""
    with path.open("rb") as file:
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def replace_text(path: Path, text: str) -> None:
    """Replace a file's content so that a reader, or a power cut, sees the old or the new and nothing between."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    os.replace(temporary, path)
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
    """Return once a file, or which names a folder has, is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
