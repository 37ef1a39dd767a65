"""What every benchmark writes: a Markdown file in results/, with the command and the machine it was made by."""

import os
import re
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def machine(cores: int | None = None) -> str:
    """Return the machine's cores, or those that were used, its memory, and how quick it was when asked."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    quick = f"ten million squares summed by plain Python in {yardstick()} s"
    return f"{cores or os.cpu_count()} cores, {round(memory / 2**30)} GiB ({quick})"


def yardstick() -> str:
    """Return the seconds in which plain Python sums ten million squares, best of three.

    Shared machines are two or three times as quick on one day as on another: seconds of two runs compare by it.
    """
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        sum(i * i for i in range(10**7))
        seconds.append(time.perf_counter() - begin)
    return f"{min(seconds):.2f}"


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table of figures."""
    return ["| " + " | ".join(line) + " |" for line in [heads, ["---:"] * len(heads), *rows]]


def rows_so_far(name: str) -> list[list[str]]:
    """Return the rows of results/<name>.md: a run adds to them, or puts its own in the place of an older one."""
    path = RESULTS / f"{name}.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.strip("| ").split(" | ") for line in lines if re.match(r"\| [\d,]+ \|", line)]


def write(name: str, lines: list[str]) -> None:
    """Print the lines, write them to results/<name>.md, and draw what there is a plot for."""
    from benchmarks import plots  # matplotlib takes a second, and every process of a benchmark loads this module

    text = "\n".join(lines)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    plots.draw(name)
