"""Baselines: what simpler or well-known methods recommend from the same training part. numpy and scipy, no Spark."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from pipeline.evaluation.metrics import Catalogue

EASE_LIMIT = 12_000  # users or movies, the fewer of the two: EASE inverts a dense matrix of that size, 1.2 GB


class Training(NamedTuple):
    """The training part of one fold.

    stars: float32 CSR [users, movies], in the order of catalogue.movie_ids; likes: the same, 1 where a rating is a
    like; candidates: bool [movies], the movies that may be recommended.
    """

    stars: sp.csr_matrix
    likes: sp.csr_matrix
    candidates: np.ndarray
    catalogue: Catalogue
    seed: int


Score = Callable[[sp.csr_matrix], np.ndarray]  # favourites, 0/1 CSR [requests, movies] -> scores [requests, movies]


def random(training: Training) -> Score:
    """Any candidate is as good as any other."""
    generator = np.random.default_rng(training.seed)
    return lambda favourites: generator.random(favourites.shape)


def popularity(training: Training) -> Score:
    """Most liked first, the same for everybody."""
    liked = np.asarray(training.likes.sum(axis=0)).ravel()
    return lambda favourites: np.broadcast_to(liked, favourites.shape).copy()


def genre_popularity(training: Training) -> Score:
    """Likes times the cosine of the movie's genres and those of the favourites together."""
    liked = np.asarray(training.likes.sum(axis=0)).ravel()
    genres = training.catalogue.genres

    def score(favourites: sp.csr_matrix) -> np.ndarray:
        taste = favourites @ genres
        taste /= np.maximum(np.linalg.norm(taste, axis=1, keepdims=True), 1e-12)
        return (taste @ genres.T) * liked

    return score


def item_item(training: Training, shrinkage: float = 0.0) -> Score:
    """Cosine of the movies' likes, times c / (c + shrinkage) for c users in common (Bell and Koren 2007)."""
    common = (training.likes.T @ training.likes).tocsr()
    norm = np.sqrt(common.diagonal())
    common.setdiag(0)
    common.eliminate_zeros()
    rows, columns = common.nonzero()
    count = common.data
    cosine = count / (norm[rows] * norm[columns]) * count / (count + shrinkage)
    similarity = sp.csr_matrix((cosine, (rows, columns)), shape=common.shape)
    return lambda favourites: (favourites @ similarity).toarray()


def ease(training: Training, regularisation: float) -> Score | None:
    """The closed-form linear autoencoder without self-similarity (Steck 2019); None beyond EASE_LIMIT."""
    movies = np.flatnonzero(np.asarray(training.likes.sum(axis=0)).ravel())
    liked = training.likes[:, movies].astype(np.float64)
    n_users = liked.shape[0]
    if min(n_users, len(movies)) > EASE_LIMIT:
        return None
    if n_users < len(movies):
        # (X'X + aI)^-1 = (I - X'(XX' + aI)^-1 X) / a: the inverse of the smaller side
        small = np.linalg.inv((liked @ liked.T).toarray() + regularisation * np.eye(n_users))
        diagonal = (1 - np.asarray(liked.multiply((liked.T @ small).T).sum(axis=0)).ravel()) / regularisation

        def times_inverse(rows: sp.csr_matrix) -> np.ndarray:
            return (rows.toarray() - ((rows @ liked.T) @ small) @ liked) / regularisation

    else:
        inverse = np.linalg.inv((liked.T @ liked).toarray() + regularisation * np.eye(len(movies)))
        diagonal = np.diag(inverse)

        def times_inverse(rows: sp.csr_matrix) -> np.ndarray:
            return rows @ inverse

    def score(favourites: sp.csr_matrix) -> np.ndarray:
        chosen = favourites[:, movies]
        scores = np.zeros(favourites.shape)
        # The weights are -P_ij / P_jj off the diagonal and 0 on it, where the quotient is -1.
        scores[:, movies] = chosen.toarray() - times_inverse(chosen) / diagonal
        return scores

    return score


def explicit_als_cosine(
    training: Training, rank: int = 50, regularisation: float = 0.05, iterations: int = 10
) -> Score:
    """The outline this project began as: ALS on the stars, regularisation times support (Zhou et al. 2008), cosine."""
    generator = np.random.default_rng(training.seed)
    items = generator.standard_normal((training.stars.shape[1], rank)) / np.sqrt(rank)
    users = np.zeros((training.stars.shape[0], rank))
    by_item = training.stars.T.tocsr()
    for _ in range(iterations):
        _solve(training.stars, items, users, regularisation)
        _solve(by_item, users, items, regularisation)
    items[np.diff(by_item.indptr) == 0] = 0
    return _cosine(items)


def ranked(
    score: Score, training: Training, favourites: list[np.ndarray], seen: list[np.ndarray], k: int
) -> list[np.ndarray]:
    """Return each request's k best candidates, movie ids, best first; no favourites, and nothing seen."""
    ids = training.catalogue.movie_ids
    candidates = np.flatnonzero(training.candidates)
    lists = []
    for begin in range(0, len(favourites), 256):
        part = favourites[begin : begin + 256]
        rows = np.repeat(np.arange(len(part)), [len(movies) for movies in part])
        columns = training.catalogue.rows(np.concatenate(part))
        chosen = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(part), len(ids)))
        scores = np.asarray(score(chosen), np.float64)
        scores[rows, columns] = -np.inf
        known = seen[begin : begin + 256]
        rows = np.repeat(np.arange(len(part)), [len(movies) for movies in known])
        scores[rows, training.catalogue.rows(np.concatenate(known))] = -np.inf
        scores = scores[:, candidates]
        width = min(k, len(candidates))
        # In rising order, and sorted stably, so that ties fall to the smaller id, as in SQL.
        best = np.sort(np.argpartition(-scores, width - 1, axis=1)[:, :width], axis=1)
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        lists += [ids[candidates[row[np.isfinite(scores[i, row])]]] for i, row in enumerate(best)]
    return lists


def _cosine(vectors: np.ndarray) -> Score:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return lambda favourites: (favourites @ unit) @ unit.T


def _solve(ratings: sp.csr_matrix, fixed: np.ndarray, solved: np.ndarray, regularisation: float) -> None:
    """Solve each row of ratings for its factors, in place, with the other side fixed; rows of one length together."""
    lengths = np.diff(ratings.indptr)
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        places = ratings.indptr[rows][:, None] + np.arange(length)
        seen, stars = fixed[ratings.indices[places]], ratings.data[places][..., None].astype(np.float64)
        ridge = regularisation * length
        if length < fixed.shape[1]:
            # (Y'Y + aI)^-1 Y' = Y'(YY' + aI)^-1: the inverse of the smaller side
            gram = seen @ seen.swapaxes(1, 2) + ridge * np.eye(length)
            solved[rows] = (seen.swapaxes(1, 2) @ np.linalg.solve(gram, stars))[..., 0]
        else:
            gram = seen.swapaxes(1, 2) @ seen + ridge * np.eye(fixed.shape[1])
            solved[rows] = np.linalg.solve(gram, seen.swapaxes(1, 2) @ stars)[..., 0]
