"""Does the page fit a small host? Packages without Spark, quickly installed, and a visit within 512 MiB.

    .venv/bin/python benchmarks/hosting.py [--set warehouse.dir=DIR] [--mib 512] [--visitors 20]

Makes a fresh environment from requirements-serving.txt, imports there all that serves, starts the page from it under a
limit on memory, and visits it: a browser on all pages, so many visitors at once, and the containers' readiness check
inside of the same limit. Needs a published release, Chromium, and the right to make a control group (root, or one
that was handed over). Prints a table and writes results/hosting.md.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.page import launched, many_visits, resident, served
from benchmarks.tables import machine, table, write
from pipeline import config as configuration
from pipeline.release import store
from pipeline.serving.recommender import Recommender

ROOT = Path(__file__).resolve().parent.parent

MIB = 2**20
# Every module that serves: the whole page, and what of the pipeline can be imported where there is no Spark.
IMPORTS = """
import importlib, pathlib, sys
paths = [path for folder in ("app", "pipeline") for path in sorted(pathlib.Path(folder).glob("*.py"))]
names = [f"{path.parent.name}.{path.stem}" for path in paths]
batch = []
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        batch.append(name)
        if not name.startswith("pipeline."):
            raise
print(len(names) - len(batch), *batch)
"""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Install and serve the page as a small host would.")
    parser.add_argument("--mib", type=int, default=512, help="limit on memory (%(default)s)")
    parser.add_argument("--visitors", type=int, default=20, help="at once (%(default)s)")
    configuration.add_arguments(parser)
    options = parser.parse_args()
    warehouse = Path(configuration.load(options.conf, options.settings).warehouse.dir).resolve()
    live = store.release_dir(warehouse)
    titles = [title.movie_id for title in Recommender(live).starters(40)]
    with tempfile.TemporaryDirectory() as name:
        venv = Path(name) / ".venv"
        python = venv / "bin" / "python"
        begin = time.perf_counter()
        subprocess.run([ROOT / "hosting" / "install.sh", venv, "--no-compile", "--no-cache-dir"], check=True)
        seconds, installed = time.perf_counter() - begin, size(venv)
        by_uv, whole = installed_by_uv(Path(name) / "uv") if shutil.which("uv") else (None, None)
        found = subprocess.run([python, "-c", IMPORTS], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        imported, *batch = found.split()
        with limited(options.mib * MIB) as group:
            inside = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group / "cgroup.procs"), str(python)]
            with served(warehouse, script="app/server.py", python=inside) as (address, process):
                with sync_playwright() as playwright, contextlib.closing(launched(playwright)) as browser:
                    page = browser.new_page()
                    page.goto(f"{address}/?likes={titles[0]}")
                    page.locator(".film").first.wait_for(timeout=60_000)
                    for path, text in {"explore": "map", "releases": "The live release"}.items():
                        page.goto(f"{address}/{path}")
                        page.get_by_text(text).first.wait_for(timeout=60_000)
                _, _, errors = asyncio.run(many_visits(address, titles, options.visitors))
                ready = [*inside, "-m", "pipeline", "ready", address]
                line = subprocess.run(ready, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
                alone, together, killed = resident(process), peak(group), kills(group)
    rows = [
        ["`./hosting/install.sh DIR --no-compile`, seconds", f"{seconds:,.0f}", "60"],
        ["the folder that it makes, MiB", f"{installed / MIB:,.0f}", "400"],
        [
            "the same packages by uv, as Streamlit Community Cloud does, seconds",
            f"{by_uv:,.0f}" if by_uv else "–",
            "60",
        ],
        [
            "the packages as uv leaves them: with tests, headers, notebooks, MiB",
            f"{whole / MIB:,.0f}" if whole else "–",
            "",
        ],
        ["server, most ever resident, MiB", f"{alone:,.0f}", f"{options.mib}"],
        ["charged to the group, with the readiness check, MiB", f"{together:,.0f}", f"{options.mib}"],
        ["killed for want of memory", f"{killed}", "0"],
        ["visitors with an error", f"{errors} of {options.visitors}", "0"],
    ]
    write(
        "hosting",
        [
            "# The page on a small host",
            "",
            f"Made by `.venv/bin/python benchmarks/hosting.py` on {machine()}: a fresh environment from "
            f"requirements-serving.txt, and the page in a control group of {options.mib} MiB, on a release of "
            f"{size(live) / MIB:,.0f} MiB. A browser saw all pages, {options.visitors} visitors came at once, and "
            f"`python -m pipeline ready` said: {line.split(':')[0]}.",
            "",
            *table(["what", "here", "bar"], rows),
            "",
            f"{imported} modules of app/ and pipeline/ import there; those of the batch do not, for want of Spark or "
            f"of its libraries: {', '.join(name.split('.')[1] for name in batch)}.",
        ],
    )


def installed_by_uv(venv: Path) -> tuple[float, int]:
    """Return the seconds that uv takes for the same packages, nothing at hand from before, and their bytes."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    begin = time.perf_counter()
    install = ["uv", "pip", "install", "--quiet", "--no-cache", "--python", venv, "--require-hashes", "-r"]
    subprocess.run([*install, ROOT / "requirements-serving.txt"], check=True)
    return time.perf_counter() - begin, size(venv)


def size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@contextlib.contextmanager
def limited(memory: int) -> Iterator[Path]:
    """Make a control group, of version 1 or 2, whose processes may hold so many bytes; yield its folder.

    Raises OSError where that is not allowed.
    """
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    paths = {controllers: path.lstrip("/") for _, controllers, path in lines}
    root = Path("/sys/fs/cgroup")
    first = "memory" in paths and (root / "memory").exists()
    group = (root / "memory" / paths["memory"] if first else root / paths[""]) / f"page-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(memory))
        yield group
    finally:
        group.rmdir()


def peak(group: Path) -> float:
    """Return the most that a group ever held, in MiB."""
    file = next(path for name in ("memory.peak", "memory.max_usage_in_bytes") if (path := group / name).exists())
    return int(file.read_text()) / MIB


def kills(group: Path) -> int:
    """Return how many of a group's processes the system has killed for want of memory."""
    file = next(path for name in ("memory.events", "memory.oom_control") if (path := group / name).exists())
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("oom_kill "))


if __name__ == "__main__":
    main()
