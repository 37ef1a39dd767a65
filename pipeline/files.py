"""A file that is written aside and takes its place as the last step."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


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
