"""How good the lists are: accuracy per user, and what the lists are made of. No Spark."""

from typing import NamedTuple

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


class Measure(NamedTuple):
    """One row of the metrics table."""

    protocol: str
    model: str
    n_favourites: int
    metric: str
    k: int
    value: float
    ci_low: float | None
    ci_high: float | None


class Measured:
    """The measures of every model over the folds."""

    def __init__(self, k: int, seed: int) -> None:
        """k: length of the lists that are measured; seed: of the bootstrap."""
        self.k, self.seed = k, seed
        self.values: dict[tuple[str, int, str], list[np.ndarray]] = {}
        self.users: dict[tuple[str, int], list[np.ndarray]] = {}
        self.shown: dict[tuple[str, int], set[int]] = {}
        self.n_movies = 0

    def add(self, model: str, ranked: dict[int, list[np.ndarray]], requests: dict, catalogue: Catalogue) -> None:
        """Measure one model's lists in one fold."""
        self.n_movies = len(catalogue.movie_ids)
        for n, lists_ in ranked.items():
            if not lists_:
                continue
            for metric, values in per_request(lists_, requests[n].targets, self.k, catalogue).items():
                self.values.setdefault((model, n, metric), []).append(values)
            self.users.setdefault((model, n), []).append(requests[n].users)
            self.shown.setdefault((model, n), set()).update(np.concatenate(lists_).tolist())

    def rows(self) -> list[Measure]:
        """Return the rows of the metrics table."""
        rows = []
        for (model, n, metric), values in self.values.items():
            users = np.concatenate(self.users[model, n])
            value, low, high = mean_and_interval(np.concatenate(values), users, seed=self.seed)
            rows.append(self._row(model, n, metric, value, low, high))
        for (model, n), shown in self.shown.items():
            rows.append(self._row(model, n, "coverage", len(shown) / self.n_movies, None, None))
        return rows

    def summary(self) -> str:
        """Return the headline."""
        if ("served", 5, "ndcg") not in self.values:
            return "too few users with enough likes to measure anything"
        ndcg, recall = (np.concatenate(self.values["served", 5, metric]).mean() for metric in ("ndcg", "recall"))
        n_users = len(np.unique(np.concatenate(self.users["served", 5])))
        return f"nDCG@{self.k} {ndcg:.3f}, recall@{self.k} {recall:.3f} for {n_users:,} strangers with 5 favourites"

    def report(self) -> str:
        """Return a table of nDCG and recall per model, for the console."""
        if not self.values:
            return ""
        models = sorted({model for model, _ in self.users})
        numbers = sorted({n for _, n in self.users})
        value = {(row.model, row.n_favourites, row.metric): row.value for row in self.rows()}
        lines = [
            "model                     " + "".join(f"  {n:>2} favourites " for n in numbers) + "  coverage  novelty"
        ]
        for model in sorted(models, key=lambda model: -value.get((model, 5, "ndcg"), 0)):
            cells = (
                f"{value.get((model, n, 'ndcg'), 0):.4f} {value.get((model, n, 'recall'), 0):.4f}  " for n in numbers
            )
            tail = f"{value.get((model, 5, 'coverage'), 0):8.3f} {value.get((model, 5, 'novelty'), 0):8.2f}"
            lines.append(f"{model:26}" + "".join(cells) + tail)
        return "\n".join(lines)

    def _row(self, model: str, n: int, metric: str, value: float, low: float | None, high: float | None) -> Measure:
        return Measure("strangers", model, n, metric, self.k, value, low, high)
