"""What an evaluation found: for the console, for the manifest, and as Markdown with plots. No Spark."""

import importlib.resources
import string
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evaluation.pairs import PAIRS
from pipeline.standings import ASKED, LABELS, SERVED, Measure, Results, favourites_in_words, standings

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEMPLATE = importlib.resources.files("pipeline.evaluation") / "report.md"
WITHOUT_CONTENT = "served, without content"
READ_BESIDE = "item-item, shrinkage 20"
ACCENT, INK, PALE = "#c2410c", "#292524", "#a8a29e"
# What the plots show beside the served lists: what was measured in several strengths, by the best of them.
PLOTTED = ["EASE", "item-item, shrinkage", "item-item cosine", "these ALS factors, cosine", "popularity", "random"]
PROFILE = {  # measures of what the lists are made of, and how they are written
    "hit_rate": "{:.3f}", "mrr": "{:.3f}", "novelty": "{:.2f}", "coverage": "{:.3f}", "popularity_share": "{:.3f}",
    "diversity": "{:.3f}", "hub_share": "{:.3f}", "least_support": "{:.0f}", "median_support": "{:.0f}",
}  # fmt: skip


def headlines(rows: list[Measure]) -> dict[str, float]:
    """Return nDCG and recall of what is served, for the manifest."""
    return {
        f"{row.protocol}, {row.n_favourites or 'all'} favourites, {row.metric}@{row.k}": round(row.value, 4)
        for row in rows
        if row.model == SERVED and row.metric in ("ndcg", "recall")
    }


def summary(rows: list[Measure]) -> str:
    """Return a line: the served lists with 5 favourites, or with whole histories."""
    results = Results(rows)
    for protocol, (_, (n, k)) in ASKED.items():
        ndcg, recall = (results.value(protocol, SERVED, n, metric, k) for metric in ("ndcg", "recall"))
        if ndcg is not None:
            return f"nDCG@{k} {ndcg:.3f}, recall@{k} {recall:.3f}, {protocol} with {favourites_in_words(n)}"
    return "too few users with enough likes to measure anything"


def console_table(rows: list[Measure]) -> str:
    """Return nDCG and recall per model and protocol, for a terminal."""
    results, texts = Results(rows), []
    for protocol in ASKED:
        lines = _accuracy(results, protocol)
        if lines:
            widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
            texts += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join(texts)


def write_report(
    folder: Path, rows: list[Measure], *, data: str, command: str, examples: list[list[str]] | None = None
) -> Path:
    """Write evaluation.md and its plots into folder/ and folder/evaluation/; return the Markdown file.

    data: what was evaluated on; command: what makes the report again; examples: see examples_table().
    """
    results = Results(rows)
    plots = folder / "evaluation"
    plots.mkdir(parents=True, exist_ok=True)
    drawn = []
    if results.models("strangers", 5, "ndcg", 10):
        _plot_favourites(results, plots / "favourites.png")
        _plot_coverage(results, plots / "coverage.png")
        _plot_support(results, plots / "support.png")
        drawn = [
            "EASE and item-item's shrinkage are drawn in the strength that has the highest nDCG@10 with 5 favourites.",
            "![nDCG@10 by number of favourites](evaluation/favourites.png)",
            "![nDCG@10 against coverage](evaluation/coverage.png)",
            "![Support of what is recommended](evaluation/support.png)",
        ]
    text = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        data=data,
        command=command,
        verdict="\n".join(verdict(results)),
        strangers=_table(_accuracy(results, "strangers")),
        histories=_table(_accuracy(results, "histories")),
        franchises=_table(_accuracy(results, "franchises")),
        examples=_table(examples or []),
        support=_table(_support(results)),
        profile=_table(_profile(results)),
        stability=_stability(results),
        plots="\n\n".join(drawn),
    )
    path = folder / "evaluation.md"
    path.write_text(text, encoding="utf-8")
    return path


def examples_table(examples: "dict[str, dict[int, np.ndarray]]", titles: dict[int, str]) -> list[list[str]]:
    """Return the heads and a line per pair of titles: the ten that are served, and those of the baseline READ_BESIDE.

    examples: movie ids by model and place in PAIRS.
    """
    models = [model for model in (SERVED, READ_BESIDE) if model in examples]
    lines = [["favourites", *(model if model != SERVED else "these lists" for model in models)]]
    for number in examples[SERVED]:
        tens = ["; ".join(titles[movie].partition(" (")[0] for movie in examples[model][number]) for model in models]
        lines.append([" and ".join(PAIRS[number]), *(ten.replace("|", "\\|") for ten in tens)])
    return lines


def verdict(results: Results) -> list[str]:
    """Return a line per protocol, number of favourites and measure: the served lists beside the best baseline."""
    lines = []
    for row in standings(results):
        side, asked = "above" if row.lead > 0 else "**below**", favourites_in_words(row.n_favourites)
        lines.append(
            f"- {row.protocol}, {asked}: {LABELS[row.metric]}@{row.k} {row.served.value:.4f} "
            f"({row.served.ci_low:.4f} to {row.served.ci_high:.4f}), {abs(row.lead):.1%} {side} the best baseline, "
            f"{row.rival.model} ({row.rival.value:.4f})"
        )
    return lines or ["- too few users with enough likes to measure anything"]


def _accuracy(results: Results, protocol: str) -> list[list[str]]:
    """Return the heads and a line per model, best first: nDCG, recall and stratified recall; and coverage and novelty
    of the main pair."""
    columns, main = ASKED[protocol]
    heads = [favourites_in_words(n) if n else f"top {k}" for n, k in columns]
    lines = [[protocol, *heads, "coverage", "novelty"]]
    for model in results.models(protocol, main[0], "ndcg", main[1]):
        cells = []
        for n, k in columns:
            pair = [results.value(protocol, model, n, metric, k) for metric in LABELS]
            cells.append(" ".join("–" if value is None else f"{value:.4f}" for value in pair))
        coverage, novelty = (results.value(protocol, model, main[0], name, main[1]) for name in ("coverage", "novelty"))
        lines.append([model, *cells, f"{coverage:.3f}", f"{novelty:.2f}"])
    return lines if len(lines) > 1 else []


def _support(results: Results) -> list[list[str]]:
    """Return nDCG by the support of the one favourite, with content and, where that was measured, without."""
    classes = {"under 5 ratings": "under 5", "5 to 20": "5 to 20", "over 20": "over 20"}
    lines = [["lists", *classes]]
    for model in (SERVED, WITHOUT_CONTENT):
        rows = [results.rows.get((f"strangers, {name}", model, 1, "ndcg", 10)) for name in classes.values()]
        cells = [f"{row.value:.4f} ({row.ci_low:.4f} to {row.ci_high:.4f})" if row else "–" for row in rows]
        if model == SERVED or any(rows):
            lines.append([model, *cells])
    return lines


def _profile(results: Results) -> list[list[str]]:
    """Return what the lists for 5 favourites are made of."""
    lines = [["model", *PROFILE]]
    for model in results.models("strangers", 5, "ndcg", 10):
        values = [(form, results.value("strangers", model, 5, metric, 10)) for metric, form in PROFILE.items()]
        lines.append([model, *("–" if value is None else form.format(value) for form, value in values)])
    return lines


def _stability(results: Results) -> str:
    """Return how much of the ten another seed leaves, per kind of request."""
    asked = [(protocol, n) for protocol, (columns, _) in ASKED.items() for n in dict(columns)]
    shares = [(favourites_in_words(n), results.value(protocol, SERVED, n, "stability", 10)) for protocol, n in asked]
    return ", ".join(f"{share:.0%} with {name}" for name, share in shares if share is not None) or "not measured"


def _table(lines: list[list[str]]) -> str:
    """Return lines of cells as Markdown, the served lists in bold."""
    if not lines:
        return "Not measured."
    heads, *rows = lines
    rows = [[f"**{name}**" if name == SERVED else name, *cells] for name, *cells in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *rows])


def shown(results: Results) -> list[str]:
    """Return the models of PLOTTED that were measured, in its order; of several strengths the best, by nDCG@10 for
    strangers with 5 favourites."""
    ranked = results.models("strangers", 5, "ndcg", 10)
    found = (next((model for model in ranked if model.startswith(name)), None) for name in PLOTTED)
    return [model for model in found if model]


def _figure(title: str, size: tuple[float, float] = (7.2, 4.2)) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure  # here, because it takes a second that a job without evaluation need not wait

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", color=INK, fontsize=12, pad=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    return figure, axes


def _plot_favourites(results: Results, path: Path) -> None:
    """Draw accuracy against the number of favourites."""
    figure, axes = _figure("Lists of ten for strangers: nDCG by number of favourites")
    ends = []
    for model in [SERVED, *shown(results)]:
        rows = [results.rows.get(("strangers", model, n, "ndcg", 10)) for n in (1, 3, 5, 10)]
        points = [(n, row) for n, row in zip((1, 3, 5, 10), rows, strict=True) if row]
        if not points:
            continue
        numbers, values = [n for n, _ in points], [row.value for _, row in points]
        served = model == SERVED
        axes.plot(
            numbers,
            values,
            color=ACCENT if served else PALE,
            linewidth=2.6 if served else 1.4,
            marker="o",
            markersize=4,
        )
        if served:
            low, high = [row.ci_low for _, row in points], [row.ci_high for _, row in points]
            axes.fill_between(numbers, low, high, color=ACCENT, alpha=0.13, linewidth=0)
        ends.append((values[-1], model))
    heights = _apart([value for value, _ in ends], 0.022)
    for height, (_, model) in zip(heights, ends, strict=True):
        axes.text(10.2, height, model, color=ACCENT if model == SERVED else INK, va="center", fontsize=9)
    axes.set_xticks((1, 3, 5, 10))
    axes.set_xlim(0.7, 13.6)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("favourites named")
    axes.set_ylabel("nDCG@10, band: 95 % interval")
    _save(figure, path)


def _plot_coverage(results: Results, path: Path) -> None:
    """Draw accuracy against coverage."""
    figure, axes = _figure("What accuracy costs in breadth, 5 favourites")
    named = shown(results)
    for model in results.models("strangers", 5, "ndcg", 10):
        coverage, ndcg = (results.value("strangers", model, 5, metric, 10) for metric in ("coverage", "ndcg"))
        served = model == SERVED
        axes.scatter(coverage, ndcg, s=70 if served else 26, color=ACCENT if served else PALE, zorder=3)
        if model in (SERVED, *named, "explicit ALS, cosine", "genre popularity"):
            # Where a name would lie on a neighbour.
            below, before = model in ("random", "these ALS factors, cosine"), model.startswith("EASE")
            axes.annotate(
                model,
                (coverage, ndcg),
                xytext=(-6 if before else 6, -12 if below or before else 4),
                textcoords="offset points",
                horizontalalignment="right" if before else "left",
                fontsize=9,
                color=ACCENT if served else INK,
            )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: share of the catalogue that is ever shown (logarithmic)")
    axes.set_ylabel("nDCG@10")
    axes.margins(x=0.2)
    _save(figure, path)


def _plot_support(results: Results, path: Path) -> None:
    """Draw the support of what is recommended."""
    models = [
        model
        for model in [SERVED, *shown(results), "explicit ALS, cosine"]
        if results.value("strangers", model, 5, "median_support", 10)
    ]
    figure, axes = _figure("How well known are the ten? Ratings behind them, 5 favourites", (7.2, 3.6))
    for place, model in enumerate(reversed(models)):
        least, median = (
            results.value("strangers", model, 5, metric, 10) for metric in ("least_support", "median_support")
        )
        colour = ACCENT if model == SERVED else PALE
        axes.plot([least, median], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        axes.scatter([median], [place], color=colour, s=46, zorder=3)
    axes.set_yticks(range(len(models)), reversed(models))
    axes.set_xlim(left=0)
    axes.set_xlabel("ratings of the least known and (dot) of the median of the ten")
    _save(figure, path)


def _apart(heights: list[float], gap: float) -> list[float]:
    """Return label heights moved so far apart that they do not overlap, in the same order."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    moved, last = list(heights), float("-inf")
    for i in order:
        moved[i] = last = max(heights[i], last + gap)
    return moved


def _save(figure: "Figure", path: Path) -> None:
    # Without a version or a date in it the same figures make the same file.
    figure.savefig(path, dpi=120, metadata={"Software": None})
