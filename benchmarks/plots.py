"""Plots of the tables in results/: every benchmark draws its own; this draws all of them again.

.venv/bin/python benchmarks/plots.py
"""

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

RESULTS = Path(__file__).resolve().parent / "results"
INK, OURS, PEER, THIRD, LIMIT = "#333333", "#0072b2", "#999999", "#e69f00", "#d55e00"  # told apart by all eyes
Row = dict[str, str]


def neighbours(axes: Axes, rows: list[Row]) -> None:
    """Seconds by number of movies, beside the peers."""
    movies = [number(row["movies"]) for row in rows]
    ours = [number(row["neighbour stage, s"]) for row in rows]
    join, blocks = (
        [number(row[f"{peer} / stage"]) * seconds for row, seconds in zip(rows, ours, strict=True)]
        for peer in ("nearestByJoin", "numpy")
    )
    lines = {
        "Spark's nearestByJoin": (THIRD, join),
        "numpy in blocks": (PEER, blocks),
        "neighbour stage": (OURS, ours),
        "faiss alone": (INK, [number(row["faiss alone, s"]) for row in rows]),
    }
    for label, (colour, seconds) in lines.items():
        axes.plot(movies, seconds, "o-", color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="movies", ylabel="seconds", title="All lists of K = 100, rank 64")
    axes.set_xticks(movies, [f"{n:,}" for n in map(int, movies)], minor=False)
    axes.minorticks_off()
    axes.legend(frameon=False)


def lookup(axes: Axes, rows: list[Row]) -> None:
    """Milliseconds of a recommendation, by catalogue and what answers."""
    rows = [row for row in rows if "median" in row][::-1]
    labels = [f"{row['catalogue']}\n{row['from']}" for row in rows]
    for offset, column, colour in [(0.2, "median", OURS), (-0.2, "p99", PEER)]:
        values = [number(row[column]) for row in rows]
        bars = axes.barh([place + offset for place in range(len(rows))], values, 0.38, color=colour, label=column)
        axes.bar_label(bars, [row[column] for row in rows], padding=3)
    axes.axvline(3, color=LIMIT, linestyle=":", label="bar of the median: 3 ms")
    axes.set_yticks(range(len(rows)), labels)
    axes.set(xlabel="milliseconds", title="Ten movies for five favourites")
    axes.margins(x=0.12)
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.62))


def main_job(axes: Axes, rows: list[Row]) -> None:
    """Seconds of each stage, as shares of the whole."""
    stages = [name for name in rows[0] if name.endswith(", s") and name != "total, s"]
    evaluated = ["evaluation.enabled=true" in row["settings"] for row in rows]
    labels = [
        f"{row['ratings']} ratings\n{row['movies']} movies\n{row['total, s']} s{', evaluated' * also}"
        for row, also in zip(rows, evaluated, strict=True)
    ]
    so_far = [0.0] * len(rows)
    rest = [number(row["total, s"]) - sum(number(row[stage]) for stage in stages) for row in rows]
    parts = {stage.removesuffix(", s"): [number(row[stage]) for row in rows] for stage in stages}
    colours = [INK, OURS, "#56b4e9", THIRD, PEER]
    for (label, seconds), colour in zip({**parts, "start, map, evaluation": rest}.items(), colours, strict=True):
        shares = [s / number(row["total, s"]) for s, row in zip(seconds, rows, strict=True)]
        axes.barh(labels, shares, 0.6, left=so_far, color=colour, label=label)
        so_far = [a + b for a, b in zip(so_far, shares, strict=True)]
    axes.set(xlim=(0, 1), title="Where the main job's time goes")
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    axes.legend(frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.45, -0.1))


def training(axes: Axes, rows: list[Row]) -> None:
    """Seconds of each trainer."""
    rows = [row for row in rows if "trainer" in row][::-1]
    colours = [OURS if "als.solver" in row["trainer"] else PEER for row in rows]
    bars = axes.barh([row["trainer"] for row in rows], [number(row["s"]) for row in rows], 0.6, color=colours)
    axes.bar_label(bars, [f"{row['s']} s" for row in rows], padding=3)
    axes.set(xlabel="seconds", title="Training with the same parameters on the same likes")
    axes.margins(x=0.12)


def page(axes: Axes, rows: list[Row]) -> None:
    """Milliseconds of what visitors wait for, and the bar of each."""
    rows = [row for row in rows if row["bar"]][::-1]
    values = [number(row["ms"]) for row in rows]
    bars = axes.barh([row["what"] for row in rows], values, 0.6, color=OURS)
    axes.bar_label(bars, [row["ms"] for row in rows], padding=3)
    for place, row in enumerate(rows):
        axes.plot([number(row["bar"])] * 2, [place - 0.4, place + 0.4], color=LIMIT, label="bar" if not place else None)
    axes.set(xlabel="milliseconds", title="The page with 100,000 titles")
    axes.margins(x=0.1)
    axes.legend(frameon=False, loc="center right")


PLOTS = {plot.__name__: plot for plot in (neighbours, lookup, main_job, training, page)}


def draw(name: str) -> None:
    """Draw results/<name>.md as results/<name>.png, where there is a plot for it."""
    if name not in PLOTS:
        return
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    PLOTS[name](axes, rows_of(RESULTS / f"{name}.md"))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / f"{name}.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


def rows_of(path: Path) -> list[Row]:
    """Return the rows of all tables of a Markdown file, each by the heads of its table."""
    rows, heads = [], []
    lines = path.read_text(encoding="utf-8").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if following.startswith("| ---"):
            heads = cells
        elif line.startswith("|") and not line.startswith("| ---"):
            rows.append(dict(zip(heads, cells, strict=True)))
    return rows


def number(text: str) -> float:
    """Return the number that a cell begins with, '1,234 (5 to 6)' as 1234."""
    return float(re.match(r"[\d,.]+", text)[0].replace(",", ""))


if __name__ == "__main__":
    for each in PLOTS:
        draw(each)
