"""The page, made ready before its first visitor comes, with an address for machines, /ready: 200 when the live release
answers, else 503, and one line why.

python -m streamlit run app/server.py takes the same options as app/streamlit_app.py, and serves that page.
"""

import contextlib
import importlib
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from streamlit.starlette import App

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # `streamlit run` puts only this folder there

from app.shared import live_release
from pipeline import readiness
from pipeline.config import PipelineError


def ready(request: Request) -> PlainTextResponse:
    """Ask the release that visitors are answered from, in a thread of its own."""
    try:
        return PlainTextResponse(readiness.check(live_release()))
    except PipelineError as error:
        return PlainTextResponse(f"not ready: {error}", status_code=503)


@contextlib.asynccontextmanager
async def warm(_: App) -> AsyncIterator[None]:
    """Load, beside the server as it starts, what the first visitor would else wait for."""
    threading.Thread(target=load, daemon=True).start()
    yield


def load() -> None:
    """Import what a visit needs, and open the live release."""
    for name in (
        "pandas",
        "streamlit.emojis",
        "app.films",
    ):  # Streamlit needs the first two for a search field and icons
        importlib.import_module(name)
    with contextlib.suppress(PipelineError):  # said to whoever asks
        readiness.check(live_release())


server = App(Path(__file__).with_name("streamlit_app.py"), routes=[Route(readiness.PATH, ready)], lifespan=warm)
