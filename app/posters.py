"""Posters from TMDB, where the operator has a key: the server fetches them, so that no visitor's browser asks it.

Without a key, without an answer or with a slow one there is a drawn poster instead, and never a broken page.
"""

import base64
import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor, wait

KEY = "TMDB_API_KEY"  # of the environment: a secret stands in no file and no log
API, IMAGES = "https://api.themoviedb.org/3", "https://image.tmdb.org/t/p/w185"
WAIT = 0.3  # seconds that a page waits for its posters; what comes later is there the next time
SECONDS = 3.0  # that TMDB has for an answer
MAX_BYTES = 60_000  # of one image
KEPT, KEPT_SECONDS = 1_000, 6 * 3600  # posters of some 15 KB; what could not be had is asked for again after that, too
TYPES = ("image/jpeg", "image/png", "image/webp")
_pool = ThreadPoolExecutor(max_workers=10, thread_name_prefix="posters")


def posters(tmdb_ids: list[int | None]) -> dict[int, str]:
    """Return the posters that can be had in time, as data: addresses by TMDB id."""
    if not os.environ.get(KEY):
        return {}
    period = int(time.time() // KEPT_SECONDS)
    asked = {_pool.submit(_poster, tmdb_id, period): tmdb_id for tmdb_id in tmdb_ids if tmdb_id}
    done, _ = wait(asked, timeout=WAIT)
    return {asked[future]: image for future in done if (image := future.result())}


@functools.lru_cache(KEPT)
def _poster(tmdb_id: int, period: int) -> str | None:
    """Return a poster as a data: address, None when TMDB has none, does not answer, or answers with something else.

    period: a number that changes when it is time to ask again."""
    import requests  # here: without a key, a visitor need not wait for it

    try:
        key = {"api_key": os.environ[KEY]}
        movie = requests.get(f"{API}/movie/{int(tmdb_id)}", params=key, timeout=SECONDS)
        movie.raise_for_status()
        with requests.get(f"{IMAGES}{movie.json()['poster_path']}", timeout=SECONDS, stream=True) as answer:
            answer.raise_for_status()
            image, kind = answer.raw.read(MAX_BYTES + 1, decode_content=True), answer.headers.get("Content-Type", "")
    except (requests.RequestException, OSError, ValueError, KeyError, TypeError):
        return None  # and no word of it: the text of such an error holds the key
    if len(image) > MAX_BYTES or kind not in TYPES:
        return None
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"
