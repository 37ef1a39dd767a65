"""A data set of any size with the shape of the real one: popularity, activity, tastes, stars, titles, genres.

    ./spark-submit.sh benchmarks/grow.py --ratings 10000000 --movies 60000 --out DIR [--users 80000] [--seed 1]

Writes DIR/ratings and DIR/movies as Parquet, which every job reads with --set data.dir=DIR, and prints its shape beside
that of the real data it grew from (data.dir, ml-latest-small by default: what is learned from it fits in the driver).

How. The driver learns from the real ratings who rates what: the leading singular vectors of what users rated more or
less often than popularity and activity explain. A new movie is a noisy clone of a real one, a new user a noisy mixture
of two real ones. Users draw movies without repeats, with probability in proportion to popularity x relevance; relevance
is 1 + STRENGTH x the inner product of the tastes of user and movie, within [FLOOR, CEILING]. Stars come from the user's
mean, the movie's, relevance and noise, cut into half-star steps where the real shares fall. Ratings fall into the
sessions of a real user. Release years are not looked at: a film may be rated before it came out. No links, no tags.

Sizes. Ratings per user keep their least value and are stretched above it, on a logarithmic scale. Popularity by rank
runs from the real share of users who know the best-known movie down to one rating, along the real curve on logarithmic
scales, bent so that it adds up: the larger the catalogue, the more of it hardly anybody has rated.

The same arguments give the same rows on any number of cores: users are made in blocks of BLOCK, each with a
counter-based generator of its own. Ratings never pass through the driver, only counts do. A task makes the catalogue
and one block of users at a time: 0.2 GB for 87 thousand movies.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.batch.application import start
from pipeline.batch.run import Run
from pipeline.config import PipelineError
from pipeline.data import checks, reader

RANK = 16  # dimensions of taste
DAMPING = 10.0  # ratings without any taste that every real user and movie is credited with
# Strength of taste, noise and stars: set so that what is learned from 100,836 grown ratings recommends about as well
# as what is learned from the real ones.
STRENGTH = 4.0  # of taste in relevance
FLOOR, CEILING = 0.05, 40.0  # of relevance, in units of popularity alone
NOISE = 0.1  # of a clone's taste, in units of the spread among the real ones
STARS_OF_TASTE = 0.4  # stars on top for a movie that is e times as relevant
STARS_OF_NOISE = 0.75
BLOCK = 1024  # users made at once
PILOT_BLOCKS = 4  # of users, from whom the driver takes the cuts between the stars
MOVIE_BLOCK = 65_536
DRAWS = 1 << 18  # movies looked at in one go, at most
TASK_RATINGS = 1_000_000
SHIFT = 90 * 86_400  # seconds between a user's sessions and those of a real user, at most
FIRST = [
    "Silent",
    "Broken",
    "Golden",
    "Hidden",
    "Last",
    "Distant",
    "Crooked",
    "Burning",
    "Frozen",
    "Secret",
    "Electric",
]
SECOND = ["Harbour", "Summer", "Mirror", "Promise", "Garden", "River", "Stranger", "Letter", "Winter", "Kingdom"]


class Real(NamedTuple):
    """What the driver learned from the real data. Users stand in the order of their activity, movies of their ids."""

    titles: list[str]
    years: np.ndarray  # int32 [movies], 0: none
    genres: list[list[str]]
    user_counts: np.ndarray  # ratings per user, rising, int64 [users]
    movie_counts: np.ndarray  # ratings per movie, int64 [movies]
    user_taste: np.ndarray  # float32 [users, RANK]
    movie_taste: np.ndarray  # float32 [movies, RANK]
    user_stars: np.ndarray  # difference from the mean of all, shrunk by support, float32 [users]
    movie_stars: np.ndarray  # float32 [movies]
    steps: np.ndarray  # the values that a rating takes, rising, float32
    shares: np.ndarray  # of the ratings at or below each step, float64
    times: list[np.ndarray]  # of each user's ratings, seconds since 1970


class Size(NamedTuple):
    """What was asked for."""

    ratings: int
    movies: int
    users: int
    seed: int


class Plan(NamedTuple):
    """Everything that tasks need."""

    real: Real
    size: Size
    log_ranks: np.ndarray  # float64 [points], of the popularity curve
    log_weights: np.ndarray  # float64 [points]
    cuts: np.ndarray  # where the sum behind the stars passes from one step to the next, float64 [steps - 1]


class Catalogue(NamedTuple):
    """The grown movies, in the order of their ids."""

    parents: np.ndarray  # row of the real movie, int64 [movies]
    copies: np.ndarray  # how many clones of that movie stand before, int64 [movies]
    taste: np.ndarray  # float32 [movies, RANK]
    stars: np.ndarray  # float32 [movies]
    cumulative: np.ndarray  # of the shares in popularity, float64 [movies]


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument("--ratings", type=int, required=True)
    parser.add_argument("--movies", type=int, required=True)
    parser.add_argument("--users", type=int, help="by default so many that they rate as many movies each as real ones")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder or URI to write into")
    parser.add_argument("--seed", type=int, default=1)


def main(run: Run) -> None:
    """Learn, grow, write, compare."""
    asked, spark = run.options, run.spark
    if (Path(asked.out) / "ratings").exists():
        raise PipelineError(f"{asked.out}: there is a data set already; give another --out DIR, or remove it")
    with run.stage("learn") as stage:
        ratings, movies = real_tables(run)
        real = learn(ratings.toArrow(), movies.toArrow())
        plan = planned(real, checked_size(real, asked))
        stage.note = f"{real.user_counts.sum():,} ratings of {len(real.titles):,} movies by {len(real.times):,} users"
    size = plan.size
    with run.stage("movies") as stage:
        blocks = spark.range(0, -(-size.movies // MOVIE_BLOCK), 1, -(-size.movies // (4 * MOVIE_BLOCK)))
        made = blocks.mapInArrow(movie_batches(plan), "movie_id int, title string, genres array<string>")
        made.write.parquet(f"{asked.out}/movies")
        stage.note = f"{size.movies:,} movies in {asked.out}"
    with run.stage("ratings") as stage:
        blocks = spark.range(0, -(-size.users // BLOCK), 1, -(-size.ratings // TASK_RATINGS))
        made = blocks.mapInArrow(rating_batches(plan), "user_id int, movie_id int, rating float, rated_at timestamp")
        made.write.parquet(f"{asked.out}/ratings")
        stage.note = f"{size.ratings:,} ratings by {size.users:,} users in {asked.out}"
    with run.stage("compare") as stage:
        grown = spark.read.parquet(f"{asked.out}/ratings"), spark.read.parquet(f"{asked.out}/movies")
        shapes = shape(ratings, movies), shape(*grown)
        stage.note = f"use it with --set data.dir={asked.out}"
    run.say("\n".join(["", "| | real | grown |", "|---|---:|---:|"]))
    for name, value in shapes[0].items():
        run.say(f"| {name} | {value} | {shapes[1][name]} |")


def real_tables(run: Run) -> tuple[DataFrame, DataFrame]:
    """Return the accepted ratings and movies of data.dir, in a fixed order."""
    spark, knobs = run.spark, run.config.data
    movies = checks.checked_movies(reader.read_movies(spark, knobs.dir)).where("reason is null")
    stars = {"min_rating": knobs.min_rating, "max_rating": knobs.max_rating}
    checked = checks.checked_ratings(reader.read_ratings(spark, knobs.dir), movies, **stars)
    return checks.accepted_ratings(checked).orderBy("user_id", "movie_id"), movies.orderBy("movie_id")


def checked_size(real: Real, asked: argparse.Namespace) -> Size:
    """Return the sizes asked for, with the number of users filled in.

    Raises PipelineError when they do not go together: a user rates at least as many movies as the least active real
    one, and at most the share of the catalogue that the most active one does.
    """
    least, mean = real.user_counts[0], real.user_counts.mean()
    most = int(asked.movies * real.user_counts[-1] / len(real.titles))
    usual = max(least + 1, min(mean, most / 2))  # of a small catalogue nobody rates as many
    users = asked.users or max(1, round(asked.ratings / usual))
    if asked.seed < 0 or asked.movies < 2 or not least <= asked.ratings / users <= most / 2:
        raise PipelineError(
            f"{asked.ratings:,} ratings of {asked.movies:,} movies by {users:,} users: a user rates {least:,} to "
            f"{most:,} movies, and {most // 2:,} at most on average; choose other --ratings --movies --users"
        )
    return Size(asked.ratings, asked.movies, users, asked.seed)


def learn(ratings: pa.Table, movies: pa.Table) -> Real:
    """Return what the real data teach.

    ratings: user_id, movie_id, rating, rated_at, in order of user_id. movies: movie_id, title, year, genres, in order
    of movie_id. Memory: three dense matrices [users, movies].
    """
    users = np.unique(ratings["user_id"].to_numpy(), return_inverse=True)[1]
    order = np.argsort(np.bincount(users), kind="stable")  # from the least to the most active
    users = np.argsort(order)[users]
    columns = np.searchsorted(movies["movie_id"].to_numpy(), ratings["movie_id"].to_numpy())
    stars = ratings["rating"].to_numpy().astype(np.float64)
    user_counts = np.bincount(users)
    movie_counts = np.bincount(columns, minlength=len(movies))
    user_taste, movie_taste = tastes(users, columns, user_counts, movie_counts)
    residual = stars - stars.mean()
    user_stars = np.bincount(users, residual) / (user_counts + DAMPING)
    residual -= user_stars[users]
    movie_stars = np.bincount(columns, residual, len(movies)) / (movie_counts + DAMPING)
    steps, at_step = np.unique(stars, return_counts=True)
    seconds = pc.fill_null(pc.cast(pc.cast(ratings["rated_at"], pa.timestamp("s", "UTC"), safe=False), "int64"), 0)
    by_user = np.argsort(users, kind="stable")
    return Real(
        movies["title"].to_pylist(),
        pc.fill_null(movies["year"], 0).to_numpy().astype(np.int32),
        movies["genres"].to_pylist(),
        user_counts,
        movie_counts,
        user_taste,
        movie_taste,
        user_stars.astype(np.float32),
        movie_stars.astype(np.float32),
        steps.astype(np.float32),
        np.cumsum(at_step) / len(stars),
        np.split(seconds.to_numpy()[by_user], np.cumsum(user_counts)[:-1]),
    )


def tastes(
    users: np.ndarray, movies: np.ndarray, user_counts: np.ndarray, movie_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return user taste [users, RANK] and movie taste [movies, RANK], float32; or with fewer columns.

    Their inner product says how many times more often than popularity and activity explain this user rates that movie,
    minus one: correspondence analysis, damped where there are few ratings.
    """
    total = len(users)
    scale = np.sqrt(user_counts + DAMPING), np.sqrt(movie_counts + DAMPING)
    residual = np.outer(user_counts, movie_counts / -total)
    residual[users, movies] += 1
    residual /= np.outer(*scale)
    strength, vectors = np.linalg.eigh(residual @ residual.T)
    strength, vectors = strength[::-1][:RANK], vectors[:, ::-1][:, :RANK]
    vectors = vectors[:, strength > 1e-9 * strength[0]]
    strength = np.sqrt(strength[: vectors.shape[1]])
    # Either sign is right; the same one must come whatever the linear algebra behind it.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    spread = np.sqrt(total * strength)
    return (
        on_grid(vectors * spread / scale[0][:, None]),
        on_grid((vectors.T @ residual).T / strength * spread / scale[1][:, None]),
    )


def on_grid(taste: np.ndarray) -> np.ndarray:
    """Return taste in steps of 1/64, float32: inner products are then exact, whatever the order of their sums."""
    return (np.round(taste * 64) / 64).astype(np.float32)


def planned(real: Real, size: Size) -> Plan:
    """Return what tasks need: the popularity curve and, from the first blocks of users, the cuts between the stars."""
    log_ranks, log_weights = popularity_curve(real, size)
    plan = Plan(real, size, log_ranks, log_weights, np.zeros(0))
    movies, counts = catalogue(plan), activity(real, size)
    blocks = range(min(PILOT_BLOCKS, -(-size.users // BLOCK)))
    liking = np.concatenate([block_of_users(plan, movies, counts, block)[2] for block in blocks])
    return plan._replace(cuts=np.quantile(liking, real.shares[:-1]))


def activity(real: Real, size: Size) -> np.ndarray:
    """Return ratings per user, rising, int64 [users]; they add up to size.ratings.

    The real quantiles on a logarithmic scale, with the least one kept and the rest stretched.
    """
    quantiles = [(np.arange(n) + 0.5) / n for n in (size.users, len(real.user_counts))]
    least = real.user_counts[0]
    above = np.interp(*quantiles, np.log(real.user_counts / least))
    most = int(size.movies * real.user_counts[-1] / len(real.titles))

    def counts(stretch: float) -> np.ndarray:
        return np.minimum(least * np.exp(stretch * above), most)

    exact = counts(solved(lambda stretch: counts(stretch).sum(), size.ratings, 0, 20))
    whole = np.floor(exact).astype(np.int64)
    missing = size.ratings - whole.sum()
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    return np.sort(whole)


def popularity_curve(real: Real, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return points of log rank and log weight, such that users who draw by weight without repeats know the movies of
    each rank as often as the stretched real curve says."""
    counted = np.sort(real.movie_counts[real.movie_counts > 0])[::-1]
    # Many movies have one rating, or two: the middle of each such step is on the curve.
    levels, first, ties = np.unique(-counted, return_index=True, return_counts=True)
    middles = np.log(first + 0.5 + ties / 2) / np.log(len(counted))
    falls = np.log(-levels / counted[0])
    edges = np.unique(np.geomspace(1, size.movies + 1, 400).astype(np.int64))
    log_ranks = np.log((edges[:-1] + edges[1:] - 1) / 2)
    places = log_ranks / np.log(size.movies)
    repeats = np.diff(edges)
    # From the best-known movie, which the real share of the users knows, down to one rating, or less where ratings are
    # fewer per movie than in the real data.
    best = counted[0] / len(real.user_counts)
    last = min(1, size.ratings / size.movies * len(counted) / counted.sum()) / size.users
    falls *= np.log(best / last) / -falls[-1]

    def curve(bend: float) -> np.ndarray:
        return best * np.exp(np.interp(places**bend, middles, falls))

    mean = size.ratings / size.users
    wanted = curve(solved(lambda bend: (repeats * curve(bend)).sum(), mean, 0.05, 20))
    counts = activity(real, size)[((np.arange(64) + 0.5) / 64 * size.users).astype(np.int64)]
    counts = counts * mean / counts.mean()
    weights = wanted.copy()
    for _ in range(30):
        # A user goes on drawing until there are enough: for so long, in units of 1 / weight.
        lengths = solved(partial(drawn_within, weights, repeats), counts, 0, 1e6)
        weights *= wanted / -np.expm1(-np.outer(lengths, weights)).mean(axis=0)
    return log_ranks, np.log(weights)


def drawn_within(weights: np.ndarray, repeats: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return how many different movies are drawn by weight within each of the lengths, on average.

    repeats: how many movies have each of the weights.
    """
    return -np.expm1(-np.outer(lengths, weights)) @ repeats


def catalogue(plan: Plan) -> Catalogue:
    """Return the grown movies; every real one has its clones, as many as the others or one more."""
    real, size = plan.real, plan.size
    random = generator(size, 0)
    copies = np.arange(size.movies) // len(real.titles)
    parents = np.concatenate([random.permutation(len(real.titles)) for _ in range(copies[-1] + 1)])[: size.movies]
    spread = np.sqrt(np.average(real.movie_taste**2, axis=0, weights=real.movie_counts)).astype(np.float32)
    noise = random.standard_normal((size.movies, len(spread)), np.float32) * spread * NOISE
    stars = real.movie_stars[parents] + random.normal(0, 0.1, size.movies)
    real_ranks = np.argsort(np.argsort(-real.movie_counts, kind="stable")) + 1.0
    drift = np.log(real_ranks[parents]) + random.normal(0, 0.3, size.movies)
    ranks = np.argsort(np.argsort(drift, kind="stable")) + 1.0
    weights = np.exp(np.interp(np.log(ranks), plan.log_ranks, plan.log_weights))
    cumulative = np.cumsum(weights)
    return Catalogue(
        parents,
        copies,
        on_grid(real.movie_taste[parents] + noise),
        stars.astype(np.float32),
        cumulative / cumulative[-1],
    )


def block_of_users(
    plan: Plan, movies: Catalogue, counts: np.ndarray, block: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the ratings of one block of users: user_id, movie_id, liking (stars before they are cut), seconds.

    counts: activity() of all users.
    """
    real, size = plan.real, plan.size
    random = generator(size, 3 + block)
    places = generator(size, 1).permutation(size.users)[block * BLOCK : (block + 1) * BLOCK]
    spread = real.user_taste.std(axis=0)
    parts = []
    for number, place in enumerate(places):
        wanted = counts[place]
        # A real user who is about as active, and any other.
        parent = int((place + 0.5) / size.users * len(real.times) + random.normal(0, 10))
        parent = min(max(parent, 0), len(real.times) - 1)
        other, share = random.integers(len(real.times)), random.uniform(0, 0.3)
        taste = (1 - share) * real.user_taste[parent] + share * real.user_taste[other]
        taste = on_grid(taste + random.standard_normal(len(spread)) * spread * NOISE)
        rows, relevance = drawn(random, movies, taste, wanted)
        liking = real.user_stars[parent] + movies.stars[rows] + STARS_OF_TASTE * np.log(relevance)
        liking += random.normal(0, STARS_OF_NOISE, wanted)
        seconds = random.choice(real.times[parent], wanted) + random.exponential(60, wanted)
        seconds += random.uniform(-SHIFT, SHIFT)
        user = np.full(wanted, block * BLOCK + number + 1)
        parts.append((user, rows + 1, liking, np.sort(seconds).astype(np.int64)))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def drawn(
    random: np.random.Generator, movies: Catalogue, taste: np.ndarray, wanted: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return so many different movies, int64 [wanted], in the order drawn, and their relevance to the taste.

    Each is drawn with probability in proportion to popularity x relevance from those that are left: drawn by
    popularity, kept with probability relevance / CEILING, and ignored when drawn before.
    """
    rows, relevance = np.zeros(0, np.int64), np.zeros(0, np.float32)
    while len(rows) < wanted:
        draws = min(int(CEILING * (wanted - len(rows) + 16)), DRAWS)
        candidates = np.searchsorted(movies.cumulative, random.random(draws), side="right")
        relevances = np.clip(1 + STRENGTH * (movies.taste[candidates] @ taste), FLOOR, CEILING)
        kept = random.random(draws) * CEILING < relevances
        rows = np.concatenate([rows, candidates[kept]])
        relevance = np.concatenate([relevance, relevances[kept]])
        first = np.sort(np.unique(rows, return_index=True)[1])
        rows, relevance = rows[first], relevance[first]
    return rows[:wanted], relevance[:wanted]


def rating_batches(plan: Plan) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what makes a task's numbers of blocks of users into their ratings: user_id, movie_id, rating, rated_at."""

    def batches(blocks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        movies, counts = catalogue(plan), activity(plan.real, plan.size)
        for batch in blocks:
            for block in batch.column(0).to_pylist():
                user, movie, liking, seconds = block_of_users(plan, movies, counts, block)
                columns = [
                    pa.array(user, pa.int32()),
                    pa.array(movie, pa.int32()),
                    pa.array(plan.real.steps[np.searchsorted(plan.cuts, liking)], pa.float32()),
                    pa.array(seconds * 1_000_000, pa.timestamp("us", "UTC")),
                ]
                yield pa.RecordBatch.from_arrays(columns, ["user_id", "movie_id", "rating", "rated_at"])

    return batches


def movie_batches(plan: Plan) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what makes a task's numbers of blocks of movies into the movies: movie_id, title, genres.

    The first clone of a real movie has its title, the others a subtitle and a year near by.
    """

    def batches(blocks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        real, movies = plan.real, catalogue(plan)
        genres = pa.array(real.genres, pa.list_(pa.string()))
        later = generator(plan.size, 2).integers(0, 10, len(movies.parents))
        for batch in blocks:
            for block in batch.column(0).to_pylist():
                rows = slice(block * MOVIE_BLOCK, (block + 1) * MOVIE_BLOCK)
                parents = movies.parents[rows]
                clones = zip(parents.tolist(), movies.copies[rows].tolist(), later[rows].tolist(), strict=True)
                columns = [
                    pa.array(np.arange(len(movies.parents))[rows] + 1, pa.int32()),
                    pa.array([clone_title(real, *clone) for clone in clones]),
                    genres.take(pa.array(parents)),
                ]
                yield pa.RecordBatch.from_arrays(columns, ["movie_id", "title", "genres"])

    return batches


def clone_title(real: Real, parent: int, copy: int, later: int) -> str:
    """Return the title of a clone, with its year where the parent has one; no two clones of a movie share theirs."""
    year = int(real.years[parent])
    title = real.titles[parent]
    if copy:
        lap, words = divmod(copy - 1, len(FIRST) * len(SECOND))
        first, second = divmod((words + parent) % (len(FIRST) * len(SECOND)), len(SECOND))
        title += f": {FIRST[first]} {SECOND[second]}{f' {lap + 1}' if lap else ''}"
        year = year and min(year + later, int(real.years.max()))
    return f"{title} ({year})" if year else title


def shape(ratings: DataFrame, movies: DataFrame) -> dict[str, str]:
    """Return the measures of a data set's shape, by name, as text. Counts per user and per movie reach the driver."""
    per_user = ratings.groupBy("user_id").count().select("count").toArrow()["count"].to_numpy()
    counted = ratings.groupBy("movie_id").count()
    joined = movies.select("movie_id").join(counted, "movie_id", how="left").select(F.coalesce("count", F.lit(0)))
    per_movie = np.sort(joined.toArrow().column(0).to_numpy())[::-1]
    total = per_movie.sum()
    stars = {row.rating: row["count"] / total for row in ratings.groupBy("rating").count().collect()}
    genres = movies.select(F.avg(F.size("genres"))).head()[0]
    quantiles = np.quantile(per_user, [0, 0.1, 0.5, 0.9, 0.99, 1], method="nearest")
    best = [per_movie[: max(1, round(len(per_movie) * share))].sum() / total for share in (0.01, 0.1)]
    return {
        "ratings": f"{total:,}",
        "movies": f"{len(per_movie):,}",
        "users": f"{len(per_user):,}",
        "ratings per user: least, 10 %, half, 90 %, 99 %, most": " ".join(f"{n:,}" for n in quantiles),
        "ratings of the best-known 1 %, 10 % of the movies": " ".join(f"{share:.1%}" for share in best),
        "users who rated the best-known movie": f"{per_movie[0] / len(per_user):.1%}",
        "movies with fewer than 5 ratings, with none": f"{(per_movie < 5).mean():.1%} {(per_movie == 0).mean():.1%}",
        f"share of {min(stars):g}, .. {max(stars):g} stars": " ".join(f"{stars[step]:.1%}" for step in sorted(stars)),
        "mean stars": f"{sum(step * share for step, share in stars.items()):.2f}",
        "genres per movie": f"{genres:.2f}",
    }


def generator(size: Size, stream: int) -> np.random.Generator:
    """Return the random numbers of a stream: 0 movies, 1 order of users, 2 years, 3 and on blocks of users."""
    return np.random.Generator(np.random.Philox(key=[size.seed, stream]))


def solved(rising: Callable, target: float | np.ndarray, low: float, high: float) -> float | np.ndarray:
    """Return where a rising function reaches the target, by bisection; for each of the targets of an array."""
    low, high = np.full(np.shape(target), low, float), np.full(np.shape(target), high, float)
    for _ in range(60):
        middle = (low + high) / 2
        below = rising(middle) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


if __name__ == "__main__":
    start(main, __doc__.splitlines()[0], options, warehouse=False)
