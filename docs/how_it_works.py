"""Draws the pictures of docs/how-it-works.md, and fills in its tables, from two releases of the same ratings.

.venv/bin/python docs/how_it_works.py WAREHOUSE EXPLICIT

WAREHOUSE holds a release of the default configuration, EXPLICIT one of conf/mvp.yaml.
"""

import argparse
import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import duckdb
import matplotlib
import numpy as np

matplotlib.use("Agg")  # no screen

import matplotlib.pyplot as plt

from pipeline.config import PipelineError
from pipeline.model.vectors import unit_rows, whitening_matrix
from pipeline.release import database, store
from pipeline.release.manifest import read_manifest
from pipeline.serving.recommender import Recommender, named

ROOT = Path(__file__).resolve().parent.parent

PAGE = ROOT / "docs" / "how-it-works.md"
PICTURES = PAGE.with_suffix("")
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8a8a8a"  # Okabe and Ito's, for every kind of sight
WELL_KNOWN = 100  # ratings
SHOWN = ["Toy Story (1995)", "The Matrix (1999)", "The Godfather (1972)"]
FAVOURITES = ["Toy Story (1995)", "Finding Nemo (2003)"]


class Factors(NamedTuple):
    """Of the n movies that training saw: movie_id and n_ratings [n], title with year, and factors float64 [n, rank]."""

    movie_id: np.ndarray
    n_ratings: np.ndarray
    title: list[str]
    factors: np.ndarray


def main(arguments: list[str] | None = None) -> int:
    """Draw the pictures, fill in the tables and return the exit code; a mistake is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("warehouse", type=Path, metavar="WAREHOUSE")
    parser.add_argument("explicit", type=Path, metavar="EXPLICIT")
    options = parser.parse_args(arguments)
    try:
        folders = [store.release_dir(folder) for folder in (options.warehouse, options.explicit)]
        served, explicit = (database.connect(folder) for folder in folders)
        recommender = Recommender(folders[0], served)
        manifests = [read_manifest(folder) for folder in folders]
        knobs = manifests[0]["config"]
        inputs = [{file["sha256"] for file in manifest["inputs"]} for manifest in manifests]
        if inputs[0] != inputs[1]:
            raise PipelineError(f"{options.explicit}: was made from other ratings than {options.warehouse}")
        plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 140})
        PICTURES.mkdir(exist_ok=True)
        implicit, stars = factors_of(served), factors_of(explicit)
        tables = {
            "space": draw_space(implicit, knobs["neighbours"]["whitening"]),
            "beside": beside(recommender, Recommender(folders[1], explicit)),
            "neighbours": draw_neighbours(served, implicit, stars, knobs["neighbours"]["min_support"]),
            "shrinkage": draw_shrinkage(served, knobs["spectral"]["shrinkage"]),
            "sum": draw_sum(served, recommender),
        }
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    page = PAGE.read_text(encoding="utf-8")
    for name, text in tables.items():
        print(text, end="\n\n")
        page, found = re.subn(
            rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", lambda _, text=text: f"{text}\n", page, count=1, flags=re.S
        )
        assert found == 1, f"{PAGE} has no place for {name}"
    PAGE.write_text(page, encoding="utf-8")
    return 0


def factors_of(connection: duckdb.DuckDBPyConnection) -> Factors:
    """Return the item factors of a release, the best-known movies first."""
    rows = connection.sql(
        "select movie_id, n_ratings, title || coalesce(' (' || year || ')', ''), factors "
        "from item_factors join movies using (movie_id) order by n_ratings desc, movie_id"
    ).fetchall()
    movie_id, n_ratings, title, factors = zip(*rows, strict=True)
    return Factors(np.array(movie_id), np.array(n_ratings), list(title), np.array(factors, float))


def draw_space(known: Factors, whitening: float) -> str:
    """Draw the factors before and after whitening, both at a mean squared length of 1; return figures as a table."""
    gram = known.factors.T @ known.factors
    spaces = {"ALS factors": known.factors, "whitened": known.factors @ whitening_matrix(gram, whitening)}
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 6.2), layout="constrained")
    axes[0, 1].sharex(axes[0, 0])
    axes[0, 1].sharey(axes[0, 0])
    lines = ["| factors | first axis | first ten | length: 1 rating | 5 | 100 and more |", "|---|---|---|---|---|---|"]
    n_ratings = np.unique(known.n_ratings[known.n_ratings <= WELL_KNOWN])
    for axis, (name, vectors), colour, style in zip(axes[0], spaces.items(), (ORANGE, BLUE), ("-", "--"), strict=True):
        vectors = vectors / np.sqrt((vectors**2).sum(axis=1).mean())
        values, directions = np.linalg.eigh(vectors.T @ vectors)
        share = values[::-1] / values.sum()
        plane = vectors @ directions[:, [-1, -2]]
        plane *= np.sign(plane.sum(axis=0))
        drawn = axis.scatter(
            *plane[::-1].T, c=known.n_ratings[::-1], s=7, linewidths=0, cmap="viridis_r",
            norm=matplotlib.colors.LogNorm(),
        )  # fmt: skip
        axis.set(title=name, xlabel=f"first axis: {share[0]:.0%} of all", ylabel=f"second axis: {share[1]:.0%}")
        axis.set_aspect("equal")
        lengths = np.linalg.norm(vectors, axis=1)
        medians = [np.median(lengths[known.n_ratings == n]) for n in n_ratings]
        famous = np.median(lengths[known.n_ratings >= WELL_KNOWN])
        axes[1, 0].plot(range(1, len(share) + 1), share, style, color=colour, lw=2.5, label=name)
        axes[1, 1].plot(n_ratings, medians, style, color=colour, lw=2.5, label=name)
        lines.append(f"| {name} | {share[0]:.0%} | {share[:10].sum():.0%} "
                     f"| {medians[0]:.2f} | {medians[4]:.2f} | {famous:.2f} |")  # fmt: skip
    figure.colorbar(drawn, ax=axes[0], label="ratings of the film", format="%d", ticks=[1, 3, 10, 30, 100, 300])
    axes[1, 0].set(title="What each axis counts", xlabel="axis", ylabel="share of all")
    axes[1, 0].yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, 0))
    axes[1, 1].set(
        title="How long the vectors are", xlabel="ratings of the film", ylabel="median length", ylim=(0, None)
    )
    for axis in axes[1]:
        axis.legend(frameon=False)
    save(figure, "space")
    return "\n".join(lines)


def beside(served: Recommender, explicit: Recommender) -> str:
    """Return the first five neighbours of some films in both releases, with their ratings, as a table."""
    lines = ["| | cosine of explicit factors | spectral |", "|---|---|---|"]
    for title in SHOWN:
        movie, cells = served.resolve(title), []
        for recommender in (explicit, served):
            found = recommender.movies([row.movie_id for row in recommender.similar(movie.movie_id, 5)])
            cells.append("<br>".join(f"{named(row)}: {row.n_ratings}" for row in found))
        lines.append(f"| **{title}**: {movie.n_ratings} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_neighbours(served: duckdb.DuckDBPyConnection, implicit: Factors, stars: Factors, min_support: int) -> str:
    """Draw how well-known the ten nearest of well-known films are; return the medians as a table."""
    lists = {
        "cosine of explicit factors": nearest_by_cosine(stars, 1),
        "cosine of implicit factors": nearest_by_cosine(implicit, min_support),
        "spectral (served)": served.sql(
            "select other.n_ratings from neighbours join movies using (movie_id) "
            "join movies as other on other.movie_id = neighbour_id "
            f"where rank <= 10 and movies.n_ratings >= {WELL_KNOWN}"
        ).fetchnumpy()["n_ratings"],
    }
    figure, axes = plt.subplots(3, 1, figsize=(7.2, 4.6), sharex=True, sharey=True, layout="constrained")
    bins = np.geomspace(1, implicit.n_ratings.max(), 26)
    lines = ["| the ten nearest by | median ratings | under 5 ratings |", "|---|---|---|"]
    for axis, colour, (name, support) in zip(axes, (ORANGE, GREY, BLUE), lists.items(), strict=True):
        median = np.median(support)
        axis.hist(support, bins, weights=np.full(len(support), 1 / len(support)), color=colour)
        axis.axvline(median, color="black", lw=1)
        axis.annotate(
            f" half have {median:.0f} ratings or fewer ",
            (median, 0.97),
            xycoords=("data", "axes fraction"),
            va="top",
            ha="right" if median > 30 else "left",
        )
        axis.set_title(name, loc="left", fontsize=10, fontweight="bold")
        axis.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, 0))
        lines.append(f"| {name} | {median:.0f} | {(support < 5).mean():.0%} |")
    axes[-1].set(xscale="log", xlabel="ratings of the neighbour", xticks=[1, 3, 10, 30, 100, 300])
    axes[-1].xaxis.set_major_formatter("{x:.0f}")
    figure.supylabel("share of the neighbours", fontsize=10)
    save(figure, "neighbours")
    return "\n".join(
        [
            *lines,
            "",
            f"Neighbours of the {(implicit.n_ratings >= WELL_KNOWN).sum()} films with {WELL_KNOWN} ratings or more.",
        ]
    )


def nearest_by_cosine(known: Factors, min_support: int) -> np.ndarray:
    """Return n_ratings of the ten nearest of each well-known film, int [10 * films]."""
    unit = unit_rows(known.factors)
    queries = np.flatnonzero(known.n_ratings >= WELL_KNOWN)
    cosine = unit[queries] @ unit.T
    cosine[:, known.n_ratings < min_support] = -2
    cosine[np.arange(len(queries)), queries] = -2
    return known.n_ratings[np.argsort(-cosine, axis=1)[:, :10]].ravel()


def draw_shrinkage(served: duckdb.DuckDBPyConnection, shrinkage: float) -> str:
    """Draw what is left of a share when shrinkage likes without taste are added, and the strength of real lists."""
    figure, (curve, lists) = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
    likes = np.arange(1, 401)
    curve.axhline(1, color=GREY, lw=1.5, ls="--")
    curve.plot(likes, likes / (likes + shrinkage), color=BLUE, lw=2.5)
    curve.annotate("as it is", (400, 1), xytext=(0, 4), textcoords="offset points", ha="right", color="#555555")
    curve.annotate(f"shrunk by {shrinkage:g} likes", (400, 0.74), ha="right", color=BLUE, va="top")
    for n in (2, 15, 300):
        curve.plot(n, n / (n + shrinkage), "o", color=BLUE)
    curve.set(title="All who like A like B", xlabel="people who like A", ylabel="share that counts", ylim=(0, 1.12))
    rows = served.sql(
        "select n_ratings, similarity from neighbours join movies using (movie_id) where rank = 1 and n_ratings > 0"
    ).fetchnumpy()
    lists.scatter(rows["n_ratings"], rows["similarity"], s=6, color=BLUE, alpha=0.35, linewidths=0)
    lists.set(
        title="First neighbour of every film",
        xlabel="ratings of the film",
        ylabel="similarity",
        xscale="log",
        ylim=(0, None),
    )
    lists.xaxis.set_major_formatter("{x:.0f}")
    save(figure, "shrinkage")
    lines = ["| people who like A, all of whom like B | share | shrunk |", "|---|---|---|"]
    lines += [f"| {n} | 100% | {n / (n + shrinkage):.0%} |" for n in (2, 15, 300)]
    lines += ["", "| ratings of the film | median similarity of its first neighbour |", "|---|---|"]
    for low, high in ((1, 2), (3, 9), (10, 29), (30, 99), (100, 10**9)):
        inside = (rows["n_ratings"] >= low) & (rows["n_ratings"] <= high)
        lines.append(
            f"| {low} {f'to {high}' if high < 10**9 else 'and more'} | {np.median(rows['similarity'][inside]):.3f} |"
        )
    return "\n".join(lines)


def draw_sum(served: duckdb.DuckDBPyConnection, recommender: Recommender) -> str:
    """Draw what each favourite's list and popularity bring to the ten; return the sums as a table."""
    favourites = [recommender.resolve(title) for title in FAVOURITES]
    ids = [movie.movie_id for movie in favourites]
    parts = {}
    listed = served.execute("select movie_id, score, reasons from listed([?::int[]])", [ids])
    for movie_id, score, reasons in listed.fetchall():
        brought = {reason["favourite_id"]: reason["weight"] for reason in reasons or []}
        parts[movie_id] = brought, score - sum(brought.values())
    ranks = {
        (favourite, other): rank
        for favourite, other, rank in served.execute(
            "select movie_id, neighbour_id, rank from neighbours where movie_id = any(?::int[])", [ids]
        ).fetchall()
    }
    ten = recommender.recommend(ids)
    figure, axis = plt.subplots(figsize=(7.2, 4), layout="constrained")
    left = np.zeros(len(ten))
    for colour, hatch, name, values in [
        (BLUE, "", FAVOURITES[0], [parts[row.movie_id][0].get(ids[0], 0) for row in ten]),
        (ORANGE, "//", FAVOURITES[1], [parts[row.movie_id][0].get(ids[1], 0) for row in ten]),
        (GREY, "", "popularity", [parts[row.movie_id][1] for row in ten]),
    ]:
        axis.barh(range(10), values, left=left, color=colour, hatch=hatch, edgecolor="white", label=name)
        left += values
    axis.set_yticks(range(10), [textwrap.shorten(row.title, 34, placeholder=" …") for row in ten])
    axis.invert_yaxis()
    axis.set_xlabel("score")
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=3, frameon=False)
    save(figure, "sum")
    lines = [
        f"| | | {' | '.join(f'list of {title}' for title in FAVOURITES)} | popularity | score |",
        "|---|---|---|---|---|---|",
    ]
    for row in ten:
        brought, popular = parts[row.movie_id]
        assert abs(sum(brought.values()) + popular - row.score) < 1e-6, f"{row.title} is not the sum of its parts"
        cells = [f"{brought[i]:.4f} (place {ranks[i, row.movie_id]})" if i in brought else "–" for i in ids]
        lines.append(f"| {row.rank} | {row.title} | {' | '.join(cells)} | {popular:.4f} | **{row.score:.4f}** |")
    first = served.execute("select neighbour_id from neighbours where movie_id = ? and rank = 1", [ids[0]]).fetchall()[
        0
    ][0]
    place = [row.movie_id for row in recommender.recommend(ids, 1000)].index(first) + 1
    title = recommender.movies([first])[0].title
    return "\n".join([*lines, "", f"The first on the list of {FAVOURITES[0]}, {title}, is number {place} of the sum."])


def save(figure: plt.Figure, name: str) -> None:
    """Write a picture into docs/how-it-works/."""
    figure.savefig(PICTURES / f"{name}.png", metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
