"""Who is tested with what: users held out whole, a few of their likes as favourites, the rest as targets. No Spark."""

from typing import NamedTuple

import numpy as np


class Requests(NamedTuple):
    """Requests of held-out users, as the page would get them.

    users: int64 [n]; favourites: n int32 arrays; targets: n int32 arrays, likes that are not favourites.
    A user may stand in several requests, one per draw.
    """

    users: np.ndarray
    favourites: list[np.ndarray]
    targets: list[np.ndarray]


def draw_requests(
    likes: dict[int, np.ndarray], n_favourites: int, *, draws: int, min_targets: int, seed: int
) -> Requests:
    """Draw n_favourites of each user's likes at random, draws times; users need min_targets likes beyond them.

    likes: user id -> int32 array of movie ids. A user's draws depend on the seed, n_favourites and the user
    alone, so that every model gets the same requests.
    """
    users, favourites, targets = [], [], []
    for user in sorted(likes):
        liked = np.sort(likes[user])
        if len(liked) < n_favourites + min_targets:
            continue
        generator = np.random.default_rng([seed, n_favourites, user])
        for _ in range(draws):
            order = generator.permutation(len(liked))
            users.append(user)
            favourites.append(liked[order[:n_favourites]])
            targets.append(liked[order[n_favourites:]])
    return Requests(np.array(users, np.int64), favourites, targets)
