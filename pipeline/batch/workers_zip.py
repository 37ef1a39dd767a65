"""The code that Spark's workers, and a driver on the cluster, import: one zip for --py-files. No Spark.

python pipeline/batch/workers_zip.py ROOT FOLDER    prints the path of the zip in FOLDER
"""

import hashlib
import io
import os
import sys
import time
import zipfile
from pathlib import Path

PATTERNS = ("pipeline/**/*.py", "pipeline/**/*.sql", "pipeline/**/*.md", "jobs/*.py", "conf/*.yaml")  # of the checkout
KEPT = 30 * 24 * 3600  # seconds after which an unused zip is removed


def write_zip(root: Path, folder: Path) -> Path:
    """Return the zip of a checkout's code in this folder, written if it is not there, and remove old ones.

    Its name holds a hash of its content: a run keeps its zip while the code changes. Raises OSError.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for pattern in PATTERNS:
            for path in sorted(root.glob(pattern)):
                archive.writestr(zipfile.ZipInfo(path.relative_to(root).as_posix()), path.read_bytes())
    target = folder / f"pipeline-{hashlib.sha256(content.getvalue()).hexdigest()[:12]}.zip"
    new = target.with_suffix(f".{os.getpid()}")
    try:
        new.write_bytes(content.getvalue())
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)
    for old in folder.glob("pipeline-*.*"):
        if time.time() - old.stat().st_mtime > KEPT:
            old.unlink(missing_ok=True)
    return target


if __name__ == "__main__":
    root, folder = map(Path, sys.argv[1:])
    try:
        print(write_zip(root, folder))
    except OSError as error:
        sys.exit(f"error: {folder}: cannot be written ({error.strerror}); free space there, or fix its permissions")
