"""How good the lists are: accuracy per user, and what the lists are made of. No Spark."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.standings import Measure

if TYPE_CHECKING:
    from pipeline.evaluation.protocol import Requests  # needs Spark

Key = tuple[str, str, int | None, str, int]  # protocol, model, n_favourites, metric, k
PER_USER = ("ndcg", "recall", "stratified_recall", "hit_rate", "mrr", "novelty", "popularity_share", "diversity",
            "hub_share", "least_support", "median_support")  # fmt: skip


class Catalogue:
    """What the measures need to know of the movies: support and genres in the training part."""

    def __init__(self, movie_ids: np.ndarray, n_ratings: np.ndarray, genres: list[list[str]]) -> None:
        """movie_ids int32 [m] rising; n_ratings int [m] in the training part; genres: m lists of names."""
        self.movie_ids, self.support = movie_ids, n_ratings.astype(np.float64)
        self.novelty = -np.log2(np.maximum(self.support, 1) / max(self.support.sum(), 1))
        names = sorted({name for movie in genres for name in movie})
        column = {name: i for i, name in enumerate(names)}
        matrix = np.zeros((len(movie_ids), max(len(names), 1)))
        for row, movie in enumerate(genres):
            matrix[row, [column[name] for name in movie]] = 1
        self.genres = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1)
        self.popular = np.zeros(len(movie_ids), bool)
        self.popular[np.argsort(-self.support, kind="stable")[: max(len(movie_ids) // 100, 1)]] = True

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each movie id; every id must be known."""
        return np.searchsorted(self.movie_ids, ids)


def per_request(
    lists: list[np.ndarray], targets: list[np.ndarray], k: int, catalogue: Catalogue
) -> dict[str, np.ndarray]:
    """Return the measures of PER_USER for the first k of each list, float64 [n requests].

    lists, targets: movie ids, best first, and the movies that should be there (at least one).
    ndcg: binary gain, ideal over min(k, targets) (Jarvelin and Kekalainen 2002). recall: found targets over all
    targets. stratified_recall: the same, a title counting its number of ratings to the power of -0.5 (Steck 2011), so
    that hits among the well-known count less. hit_rate: any target found. mrr: 1 / rank of the first. novelty: mean of
    -log2 of a movie's share of the ratings. popularity_share: share of the list among the 1 % of the catalogue with
    most ratings. diversity: 1 minus the mean genre cosine of pairs. hub_share: share of the list that is in over a
    tenth of these lists. least_support, median_support: of the number of ratings in the list.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)
    ids = np.full((len(lists), k), -1, np.int64)  # -1: the list is shorter
    for i, movies in enumerate(lists):
        ids[i, : len(movies[:k])] = movies[:k]
    shown = ids >= 0
    length = np.maximum(shown.sum(axis=1), 1)
    n_targets = np.array([len(wanted) for wanted in targets])
    request = np.arange(len(lists), dtype=np.int64) << 32
    every = np.concatenate(targets).astype(np.int64) if targets else np.empty(0, np.int64)
    wanted = np.repeat(request, n_targets) + every
    hit = shown & np.isin(ids + request[:, None], wanted)
    rarity = np.maximum(catalogue.support, 1) ** -0.5
    places = np.minimum(catalogue.rows(every), len(rarity) - 1)
    weights = np.where(catalogue.movie_ids[places] == every, rarity[places], 1)  # a target may be new to the catalogue
    of_targets = np.bincount(np.repeat(np.arange(len(lists)), n_targets), weights, len(lists))
    values, counts = np.unique(ids[shown], return_counts=True)
    rows = catalogue.rows(np.where(shown, ids, catalogue.movie_ids[0]))
    support = np.where(shown, catalogue.support[rows], np.nan)
    support[~shown.any(axis=1)] = 0  # an empty list
    # Cosines over all pairs: the square of the sum is the sum of the squares and twice the sum of the pairs.
    total, squares = np.zeros((len(lists), catalogue.genres.shape[1])), np.zeros(len(lists))
    for position in range(k):
        direction = catalogue.genres[rows[:, position]] * shown[:, position, None]
        total += direction
        squares += (direction**2).sum(axis=1)
    pairs = ((total**2).sum(axis=1) - squares) / 2
    n_pairs = length * (length - 1) / 2
    return {
        "ndcg": (hit @ discount) / ideal[np.minimum(k, n_targets) - 1],
        "recall": hit.sum(axis=1) / n_targets,
        "stratified_recall": (hit * rarity[rows]).sum(axis=1) / of_targets,
        "hit_rate": hit.any(axis=1).astype(float),
        "mrr": np.where(hit.any(axis=1), 1 / (1 + hit.argmax(axis=1)), 0.0),
        "novelty": (catalogue.novelty[rows] * shown).sum(axis=1) / length,
        "popularity_share": (catalogue.popular[rows] & shown).sum(axis=1) / length,
        "diversity": np.where(n_pairs > 0, 1 - pairs / np.maximum(n_pairs, 1), 0.0),
        "hub_share": (np.isin(ids, values[counts > len(lists) / 10]) & shown).sum(axis=1) / length,
        "least_support": np.nanmin(support, axis=1),
        "median_support": np.nanmedian(support, axis=1),
    }


def overlap(lists: list[np.ndarray], others: list[np.ndarray], k: int) -> np.ndarray:
    """Return the share of the first k movies that two answers to the same request have in common, float64 [n]."""
    return np.array([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(lists, others, strict=True)])


def mean_and_interval(
    values: np.ndarray, users: np.ndarray, *, seed: int, samples: int = 2000, at_once: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the means over users of their mean values, and their 95 % bootstrap intervals over users, [measures] each.

    values float64 [n, measures], users int64 [n]: a user's requests are averaged first and drawn together.
    at_once: samples that are held at a time, 8 bytes per user each.
    """
    owners, owner = np.unique(users, return_inverse=True)
    means = np.zeros((len(owners), values.shape[1]))
    np.add.at(means, owner, values)
    means /= np.bincount(owner)[:, None]
    # How often each user is drawn, in so many draws of all users: the samples are then one matrix product.
    random, share = np.random.default_rng(seed), np.full(len(owners), 1 / len(owners))
    drawn = [random.multinomial(len(owners), share, at_once) @ means for _ in range(0, samples, at_once)]
    low, high = np.percentile(np.concatenate(drawn) / len(owners), [2.5, 97.5], axis=0)
    mean = means.mean(axis=0)
    return mean, np.minimum(low, mean), np.maximum(high, mean)  # where all users agree, rounding must not part them


class Measured:
    """The measures of some models in one split, request by request."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        # users int64 [n] and values float64 [n], or what was shown.
        self.values: dict[Key, tuple[np.ndarray, np.ndarray]] = {}
        self.shown: dict[Key, np.ndarray] = {}
        self.examples: dict[str, dict[int, np.ndarray]] = {}  # by model and place in pairs.PAIRS, movie ids

    def add(
        self,
        model: str,
        asked: tuple[str, int | None],
        lists: list[np.ndarray],
        requests: "Requests",
        lengths: tuple[int, ...],
    ) -> None:
        """Measure a model's answers to protocol.Requests at every length; asked: protocol, number of favourites."""
        for k in lengths if lists else ():
            key = (asked[0], model, asked[1])
            for metric, values in per_request(lists, requests.targets, k, self.catalogue).items():
                self.values[*key, metric, k] = requests.users, values
            self.shown[*key, "coverage", k] = np.unique(np.concatenate([ids[:k] for ids in lists]))

    def add_values(
        self, model: str, asked: tuple[str, int | None], metric: str, k: int, requests: "Requests", values: np.ndarray
    ) -> None:
        """Add a measure that was taken elsewhere: values float64 [n] of the n protocol.Requests."""
        if len(values):
            self.values[asked[0], model, asked[1], metric, k] = requests.users, values


def rows_of(parts: list[Measured], *, seed: int) -> list[Measure]:
    """Return the rows of the metrics table from all splits; coverage: share of the catalogue that is ever shown."""
    rows = []
    together: dict[tuple, list[Key]] = {}  # measures of the same users share their bootstrap
    for key in dict.fromkeys(key for part in parts for key in part.values):
        having = tuple(number for number, part in enumerate(parts) if key in part.values)
        together.setdefault((key[0], key[2], having), []).append(key)
    for (_, _, having), keys in together.items():
        users = np.concatenate([parts[number].values[keys[0]][0] for number in having])
        values = [np.concatenate([parts[number].values[key][1] for number in having]) for key in keys]
        intervals = mean_and_interval(np.stack(values, axis=1), users, seed=seed)
        rows += [Measure(*key, *map(float, row)) for key, row in zip(keys, np.stack(intervals, axis=1), strict=True)]
    for key in dict.fromkeys(key for part in parts for key in part.shown):
        shown = np.unique(np.concatenate([part.shown[key] for part in parts if key in part.shown]))
        rows.append(Measure(*key, len(shown) / len(parts[0].catalogue.movie_ids), None, None))
    return rows
