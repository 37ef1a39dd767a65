"""Readiness: does the live release answer? Health says only that the server runs."""

import contextlib
from pathlib import Path

from pipeline.config import PipelineError
from pipeline.serving.recommender import Recommender

READY_PATH = "/ready"
ANSWERS = "ready: "  # how the answer begins; a page without this path answers with its own HTML
ANSWER_SECONDS = 10


def check(recommender: Recommender) -> str:
    """Have an open release recommend; return one line that names it. Raises PipelineError when it does not answer."""
    if not recommender.recommend([movie.movie_id for movie in recommender.starters(1)], k=1):
        raise PipelineError(f"release {recommender.release_id} recommends nothing; python -m pipeline rollback")
    return f"{ANSWERS}release {recommender.release_id} answers"


def check_folder(folder: Path) -> str:
    """Open the release in a folder and have it recommend; see check()."""
    with contextlib.closing(Recommender(folder)) as recommender:
        return check(recommender)


def ask_page(address: str) -> str:
    """Ask a page that was started as app/server.py; return its line. Raises PipelineError when it is not ready."""
    import requests  # the page, which is only asked, can do without

    try:
        answer = requests.get(address.rstrip("/") + READY_PATH, timeout=ANSWER_SECONDS)
    except requests.RequestException as error:
        raise PipelineError(
            f"{address}: no answer ({type(error).__name__}); start the page: python -m streamlit run app/server.py"
        ) from error
    if answer.ok and answer.text.startswith(ANSWERS):
        return answer.text
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise PipelineError(f"{address}: says nothing of readiness; start it as app/server.py")
    raise PipelineError(f"{address}: {answer.text[:500]}")
