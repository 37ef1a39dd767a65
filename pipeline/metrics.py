"""How good the lists are: accuracy per user, and what the lists are made of. No Spark."""

import numpy as np

PER_USER = ("ndcg", "recall", "hit_rate", "mrr", "novelty", "popularity_share", "diversity", "hub_share",
            "least_support", "median_support")  # fmt: skip


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
    targets. hit_rate: any target found. mrr: 1 / rank of the first. novelty: mean of -log2 of a movie's share of
    the ratings. popularity_share: share of the list among the 1 % of the catalogue with most ratings. diversity: 1
    minus the mean genre cosine of pairs. hub_share: share of the list that stands in over a tenth of these lists.
    least_support, median_support: of the number of ratings in the list.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)
    shown = np.concatenate([ids[:k] for ids in lists]) if lists else np.empty(0, np.int32)
    values, counts = np.unique(shown, return_counts=True)
    hubs = values[counts > len(lists) / 10]
    result = {name: np.zeros(len(lists)) for name in PER_USER}
    for i, (ids, wanted) in enumerate(zip(lists, targets, strict=True)):
        ids = ids[:k]
        hit = np.isin(ids, wanted)
        result["ndcg"][i] = discount[: len(ids)][hit].sum() / ideal[min(k, len(wanted)) - 1]
        result["recall"][i] = hit.sum() / len(wanted)
        result["hit_rate"][i] = hit.any()
        result["mrr"][i] = 1 / (1 + hit.argmax()) if hit.any() else 0.0
        if len(ids):
            rows = catalogue.rows(ids)
            genres = catalogue.genres[rows]
            result["novelty"][i] = catalogue.novelty[rows].mean()
            result["popularity_share"][i] = catalogue.popular[rows].mean()
            similar = (genres @ genres.T)[np.triu_indices(len(ids), 1)]
            result["diversity"][i] = 1 - similar.mean() if len(similar) else 0.0
            result["hub_share"][i] = np.isin(ids, hubs).mean()
            result["least_support"][i] = catalogue.support[rows].min()
            result["median_support"][i] = np.median(catalogue.support[rows])
    return result


def mean_and_interval(
    values: np.ndarray, users: np.ndarray, *, seed: int, samples: int = 2000
) -> tuple[float, float, float]:
    """Return the mean over users of their mean value, and its 95 % bootstrap interval over users.

    values float64 [n], users int64 [n]: a user's requests are averaged first and drawn together.
    """
    _, owner = np.unique(users, return_inverse=True)
    means = np.bincount(owner, values) / np.bincount(owner)
    draws = np.random.default_rng(seed).integers(0, len(means), (samples, len(means)))
    low, high = np.percentile(means[draws].mean(axis=1), [2.5, 97.5])
    return float(means.mean()), float(low), float(high)
