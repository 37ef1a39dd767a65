"""Posters from TMDB, where the operator has a key: the server fetches them, so that no visitor's browser asks it.

Without a key, without an answer or with a slow one there is a drawn poster instead, and never a broken page.
"""

import base64
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext

API_KEY = "TMDB_API_KEY"  # of the environment: no file and no log holds a secret
API, IMAGES = "https://api.themoviedb.org/3", "https://image.tmdb.org/t/p/w185"
WAIT = 0.3  # seconds that a page waits for its posters; what comes later is there the next time
TMDB_SECONDS = 3.0  # that TMDB has for an answer
MAX_IMAGE_BYTES = 60_000  # of one image
KEPT_POSTERS = 1_000  # posters of some 15 KB
KEPT_SECONDS, MISSED_SECONDS = 6 * 3600, 60  # until one is asked for again: it was had, it could not be had
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
_pool = ThreadPoolExecutor(max_workers=10, thread_name_prefix="posters")
_kept: dict[int, tuple[float, str | None]] = {}  # by TMDB id: until when it holds, and the poster


def posters(
    tmdb_ids: list[int | None], meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext
) -> dict[int, str]:
    """Return the posters that can be had in time, as data: addresses by TMDB id. meanwhile: what holds while some are
    waited for."""
    if not os.environ.get(API_KEY):
        return {}
    wanted = [tmdb_id for tmdb_id in tmdb_ids if tmdb_id]
    if asked := [_pool.submit(_keep, tmdb_id) for tmdb_id in wanted if not _holds(tmdb_id)]:
        with meanwhile():
            wait(asked, timeout=WAIT)
    kept = {tmdb_id: _kept.get(tmdb_id, (0.0, None))[1] for tmdb_id in wanted}
    return {tmdb_id: image for tmdb_id, image in kept.items() if image}


def _holds(tmdb_id: int) -> bool:
    return _kept.get(tmdb_id, (0.0, None))[0] > time.monotonic()


def _keep(tmdb_id: int) -> None:
    """Have a poster in what is kept; where it could not be had, that."""
    if _holds(tmdb_id):
        return  # another visitor asked for it first
    image = _poster(tmdb_id)
    _kept.pop(tmdb_id, None)
    _kept[tmdb_id] = (time.monotonic() + (KEPT_SECONDS if image else MISSED_SECONDS), image)
    for oldest in list(_kept)[:-KEPT_POSTERS]:
        _kept.pop(oldest, None)


def _poster(tmdb_id: int) -> str | None:
    """Return a poster as a data: address, None when TMDB has none, does not answer, or answers with something else."""
    import requests  # here: without a key, a visitor need not wait for it

    try:
        key = {"api_key": os.environ[API_KEY]}
        movie = requests.get(f"{API}/movie/{int(tmdb_id)}", params=key, timeout=TMDB_SECONDS)
        movie.raise_for_status()
        with requests.get(f"{IMAGES}{movie.json()['poster_path']}", timeout=TMDB_SECONDS, stream=True) as answer:
            answer.raise_for_status()
            image, kind = (
                answer.raw.read(MAX_IMAGE_BYTES + 1, decode_content=True),
                answer.headers.get("Content-Type", ""),
            )
    except (requests.RequestException, OSError, ValueError, KeyError, TypeError):
        return None  # and no word of it: the text of such an error holds the key
    if len(image) > MAX_IMAGE_BYTES or kind not in IMAGE_TYPES:
        return None
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"
