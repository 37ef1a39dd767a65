"""Who is asked what: strangers, of whom a model knows nothing, and histories, of which a part was hidden from it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from pipeline.evaluation.franchises import franchises
from pipeline.evaluation.pairs import PAIRS

N_FAVOURITES = (1, 3, 5, 10)
# Lengths of the lists that are measured, per protocol.
LENGTHS = {"strangers": (10,), "histories": (10, 20, 50, 100), "franchises": (10,), "examples": (10,)}
SUPPORT_CLASSES = {"under 5": (0, 5), "5 to 20": (5, 21), "over 20": (21, np.inf)}  # ratings of the one favourite
HIDDEN_SHARE = 0.2  # of a user's likes, in the histories protocol
KNOWN = 10  # ratings in the training part that a title of a family needs to be asked for
VALIDATION = 3  # every third user is a validation user: tuned on, and never tested


Asked = tuple[str, int | None]  # protocol, and number of favourites (None: whole histories)
FRANCHISES: Asked = ("franchises", 1)
EXAMPLES: Asked = ("examples", 2)  # to be read by a person, not measured


class Requests(NamedTuple):
    """Requests as the page would get them, and what is wanted in the answers.

    users: int64 [n]; favourites: n int32 arrays; targets: n int32 arrays, likes that are not favourites; seen: n int32
    arrays, what the user has rated besides and must not be counted, out of the list before it is cut.
    A user may have several requests, one per draw.
    """

    users: np.ndarray
    favourites: list[np.ndarray]
    targets: list[np.ndarray]
    seen: list[np.ndarray]


class Split(NamedTuple):
    """One experiment: what a model may learn from, and what it is asked then.

    training: ratings; requests: by protocol and number of favourites.
    """

    training: DataFrame
    requests: dict[Asked, Requests]


def strangers(
    ratings: DataFrame, *, part: str, like_rating: float, folds: int, draws: int, min_targets: int, max_users: int,
    seed: int,
) -> Iterator[Split]:  # fmt: skip
    """Yield a split per fold over users: every user is held out once, and asked for by a few of their likes.

    Asked are the users of the part, at most about max_users per fold, chosen at random; only their likes reach the
    driver. A split's requests: 1, 3, 5 and 10 favourites of each user with min_targets likes beyond them, and one
    favourite from each of SUPPORT_CLASSES, counted in the training part.
    """
    fold = F.pmod(F.xxhash64("user_id", F.lit(seed)), F.lit(folds))
    n_users = ratings.agg(F.count_distinct("user_id")).head()[0]
    asked = _asked_users(part, folds * max_users, n_users, seed)
    likes = ratings.where(asked & (F.col("rating") >= like_rating)).select("user_id", "movie_id", fold.alias("fold"))
    likes = likes.toArrow()
    folds_of = likes.column("fold").to_numpy()
    for number in range(folds):
        training = ratings.where(fold != number)
        mine = likes.filter(folds_of == number)
        of_user = _by_user(mine.column("user_id").to_numpy(), mine.column("movie_id").to_numpy())
        knobs: dict[str, Any] = {"draws": draws, "min_targets": min_targets, "seed": seed}
        requests: dict[Asked, Requests] = {}
        for n in N_FAVOURITES:
            requests["strangers", n] = draw_requests(of_user, n, **knobs)
        support = training.groupBy("movie_id").agg(F.count("*").alias("n")).toArrow()
        counts = dict(zip(support.column("movie_id").to_pylist(), support.column("n").to_pylist(), strict=True))
        for name, (low, high) in SUPPORT_CLASSES.items():
            eligible = {movie for movie, n in counts.items() if low <= n < high}
            if low == 0:
                eligible |= {movie for movies in of_user.values() for movie in movies.tolist() if movie not in counts}
            requests[f"strangers, {name}", 1] = draw_requests(of_user, 1, eligible=eligible, **knobs)
        yield Split(training, requests)


def histories(ratings: DataFrame, *, part: str, like_rating: float, max_users: int, seed: int) -> Split:
    """Hide a fifth of the likes of each asked user; the rest of their likes are the favourites.

    Asked are the users of the part with 5 likes or more, at most about max_users, chosen at random; only their
    ratings reach the driver.
    """
    n_users = ratings.agg(F.count_distinct("user_id")).head()[0]
    asked = _asked_users(part, max_users, n_users, seed)
    by_chance = Window.partitionBy("user_id").orderBy(F.xxhash64("movie_id", "user_id", F.lit(seed)), "movie_id")
    likes = ratings.where(asked & (F.col("rating") >= like_rating)).select("user_id", "movie_id")
    n_likes = F.count("*").over(Window.partitionBy("user_id"))
    hidden = likes.withColumns({"position": F.row_number().over(by_chance), "n_likes": n_likes})
    hidden = hidden.where(F.col("position") <= F.floor(HIDDEN_SHARE * F.col("n_likes"))).select("user_id", "movie_id")
    training = ratings.join(F.broadcast(hidden), ["user_id", "movie_id"], how="left_anti")
    return Split(training, {("histories", None): _whole_histories(training.where(asked), hidden, like_rating)})


def given_histories(training: DataFrame, tests: DataFrame, *, like_rating: float) -> Split:
    """Return the split that somebody else made: training and tests are user_id, movie_id, rating.

    Every user with a test interaction of like_rating or more is asked, by all their training interactions of as
    many; these users' ratings reach the driver.
    """
    wanted = tests.where(F.col("rating") >= like_rating).select("user_id", "movie_id").distinct()
    asked = training.join(F.broadcast(wanted.select("user_id").distinct()), "user_id", how="left_semi")
    return Split(training, {("histories", None): _whole_histories(asked, wanted, like_rating)})


def of_franchises(movies: DataFrame) -> dict[Asked, Requests]:
    """Return a request per title with KNOWN ratings or more that has others like it in its family: the title as the one
    favourite, and the rest of its family as targets.

    movies: the movies table, support counted in the training part. Its titles of that support reach the driver.
    """
    known = movies.where(F.col("n_ratings") >= KNOWN).select("movie_id", "title").orderBy("movie_id").toArrow()
    ids, titles = known.column("movie_id").to_numpy().astype(np.int32), known.column("title").to_pylist()
    pairs = [(ids[one], np.delete(ids[found], i)) for found in franchises(titles) for i, one in enumerate(found)]
    if not pairs:
        return {}
    favourites, none = [np.array([one]) for one, _ in pairs], np.empty(0, np.int32)
    users = np.array([one for one, _ in pairs], np.int64)
    return {FRANCHISES: Requests(users, favourites, [rest for _, rest in pairs], [none] * len(pairs))}


def of_examples(movies: DataFrame) -> dict[Asked, Requests]:
    """Return a request for each of PAIRS that the movies table has both titles of; users: its place in PAIRS."""
    plain = F.trim(F.regexp_replace("title", r"\(.*", ""))  # without a title in another language
    named = movies.select(F.format_string("%s (%s)", plain, "year").alias("name"), "movie_id")
    known = {row.name: row.movie_id for row in named.where(F.col("name").isin([*sum(PAIRS, ())])).collect()}
    found = [number for number, pair in enumerate(PAIRS) if known.keys() >= {*pair}]
    favourites = [np.array([known[name] for name in PAIRS[number]], np.int32) for number in found]
    none = [np.empty(0, np.int32)] * len(found)
    return {EXAMPLES: Requests(np.array(found, np.int64), favourites, none, none)} if found else {}


def lengths(asked: Asked) -> tuple[int, ...]:
    """Return the lengths of the lists that are measured, rising."""
    return LENGTHS[asked[0].split(",")[0]]


def draw_requests(
    likes: dict[int, np.ndarray],
    n_favourites: int,
    *,
    draws: int,
    min_targets: int,
    seed: int,
    eligible: set[int] | None = None,
) -> Requests:
    """Draw n_favourites of each user's likes at random, draws times; users need min_targets likes beyond them.

    likes: user id -> int32 array of movie ids; eligible: movies that may be favourites, None for all. A user's draws
    depend on the seed, n_favourites, what is eligible and the user alone, so that every model gets the same requests.
    """
    requests = Requests(np.empty(0, np.int64), [], [], [])
    users = []
    for user in sorted(likes):
        liked = np.sort(likes[user])
        pool = liked if eligible is None else liked[[movie in eligible for movie in liked.tolist()]]
        if len(liked) < n_favourites + min_targets or len(pool) < n_favourites:
            continue
        generator = np.random.default_rng([seed, n_favourites, user % 2**64])
        for _ in range(draws):
            favourites = generator.permutation(pool)[:n_favourites]
            users.append(user)
            requests.favourites.append(favourites)
            requests.targets.append(np.setdiff1d(liked, favourites, assume_unique=True))
            requests.seen.append(np.empty(0, np.int32))
    return requests._replace(users=np.array(users, np.int64))


def _asked_users(part: str, limit: int, n_users: int, seed: int) -> Column:
    """Return a condition that about limit of n_users fulfil: those of the part, and of them as many as are needed."""
    is_validation = F.pmod(F.xxhash64("user_id", F.lit(seed + 1)), F.lit(VALIDATION)) == 0
    of_part = is_validation if part == "validation" else ~is_validation
    size = n_users / VALIDATION * (1 if part == "validation" else VALIDATION - 1)
    chance = F.pmod(F.xxhash64("user_id", F.lit(seed + 2)), F.lit(1_000_000)) / 1_000_000
    return of_part & (chance < limit / max(size, 1))


def _whole_histories(training: DataFrame, hidden: DataFrame, like_rating: float) -> Requests:
    """Return a request per user of hidden: their likes in training as favourites, their other ratings as seen."""
    known = training.select("user_id", "movie_id", (F.col("rating") >= like_rating).alias("liked")).toArrow()
    hidden = hidden.toArrow()
    users, movies = (known.column(name).to_numpy() for name in ("user_id", "movie_id"))
    liked = known.column("liked").to_numpy()
    favourites = _by_user(users[liked], movies[liked])
    seen = _by_user(users[~liked], movies[~liked])
    targets = _by_user(hidden.column("user_id").to_numpy(), hidden.column("movie_id").to_numpy())
    none = np.empty(0, np.int32)
    owners = sorted(targets)
    return Requests(
        np.array(owners, np.int64),
        [favourites.get(user, none) for user in owners],
        [targets[user] for user in owners],
        [seen.get(user, none) for user in owners],
    )


def _by_user(users: np.ndarray, movies: np.ndarray) -> dict[int, np.ndarray]:
    """Return user id -> sorted int32 array of movie ids."""
    order = np.lexsort((movies, users))
    owners, begins = np.unique(users[order], return_index=True)
    parts = np.split(movies[order].astype(np.int32), begins[1:])
    return dict(zip(owners.tolist(), parts, strict=False))  # no owner: one empty part
