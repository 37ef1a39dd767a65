"""How quick is the page in a browser, and how many visitors does it bear, on a catalogue of 100 thousand titles?

    .venv/bin/python benchmarks/page.py [--size 100000x200] [--rounds 20] [--visitors 50]

Makes a release of random lists (see lookup.py), starts the page on it, and drives it: with a real browser for what one
visitor feels; and with so many visitors at once that speak Streamlit's protocol without drawing anything, as fifty
browsers would need the machine for themselves. Needs Chromium. Prints a table and writes results/page.md.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import lookup  # noqa: E402
from pipeline import release  # noqa: E402

START_SECONDS = 60


@contextlib.contextmanager
def served(warehouse: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Run the page on loopback; yield its address and the server's process id. options: --set words of the page.

    Raises RuntimeError with the end of the server's log when it does not come up.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app/streamlit_app.py", "--server.port", str(port)]
    command += ["--server.fileWatcherType", "none", "--", "--set", f"warehouse.dir={warehouse}", *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **(env or {})})
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).read()
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"the page did not start: {log.read()[-1000:].decode(errors='replace')}")
                time.sleep(0.05)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait(10)


def publish(warehouse: Path, n_movies: int, k: int) -> Path:
    """Publish a release of random lists and return its folder."""
    build = release.Build.start(warehouse)
    lookup.write_release(build.path, n_movies, k)
    build.record("inputs", [{"path": "/random/ratings.csv", "bytes": 1, "sha256": "0"}])
    return build.publish(k=k, als_rank=lookup.RANK, min_support=5, popularity_weight=lookup.WEIGHT)


def chromium() -> str | None:
    """Return the path of a Chromium or Chrome on this machine, None when there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)
