"""The resident memory of a process and all its descendants: the JVM, the driver's Python and the Python workers."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

SECONDS = 0.2  # between looks at the memory


def held(pid: int) -> tuple[int, int]:
    """Return what the process and its descendants hold now, shared pages for each, and of it the JVMs; bytes."""
    children: dict[int, list[int]] = {}
    memory: dict[int, tuple[bool, int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
            memory[int(process.name)] = "java" in status["Name"], 1024 * int(status.get("VmRSS", "0").split()[0])
            children.setdefault(int(status["PPid"]), []).append(int(process.name))
        except (OSError, ValueError, KeyError):
            continue  # it has just ended
    family, ours = [pid], 0
    while ours < len(family):
        family += children.get(family[ours], [])
        ours += 1
    held_by = [memory[pid] for pid in family if pid in memory]
    return sum(size for _, size in held_by), sum(size for java, size in held_by if java)


@contextlib.contextmanager
def peak(pid: int) -> Iterator[SimpleNamespace]:
    """Look on while the block runs: .total is the most that was held at once, in bytes, and .java the JVMs' part."""
    seen, done = SimpleNamespace(total=0, java=0), threading.Event()

    def watch() -> None:
        while not done.wait(SECONDS):
            seen.total, seen.java = max((seen.total, seen.java), held(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
