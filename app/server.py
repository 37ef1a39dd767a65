"""The page, made ready before its first visitor comes, its style sent with it, and an address for machines, /ready: 200
when the live release answers, else 503, and one line why.

python -m streamlit run app/server.py takes the same options as app/streamlit_app.py, and serves that page.
"""

import contextlib
import importlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import streamlit
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.starlette import App

from app.shared import live_release, without_folders
from pipeline.config import PipelineError
from pipeline.serving import readiness

STYLE = Path(__file__).with_name("style.css")
AT_MOST_OLD = 1  # seconds of an answer of /ready
DRAWN_FIRST = """
    Html purify.es TextInput TextField Button Multiselect Slider BidiComponent PageLink
"""  # Streamlit's scripts for what the page draws first


def ready(request: Request) -> PlainTextResponse:
    """Answer in a thread of its own."""
    text, status = state()
    return PlainTextResponse(text, status_code=status)


@streamlit.cache_data(ttl=AT_MOST_OLD, show_spinner=False)
def state() -> tuple[str, int]:
    """Ask the release that visitors are answered from; return what it says and the status that goes with it. However
    many ask, it is asked once at a time, and what it said holds for a second."""
    try:
        return readiness.check(live_release()), 200
    except PipelineError as error:
        return f"not ready: {without_folders(str(error))}", 503


@contextlib.asynccontextmanager
async def warm(_: App) -> AsyncIterator[None]:
    """Load, beside the server as it starts, what the first visitor would else wait for."""
    threading.Thread(target=load_ahead, daemon=True).start()
    yield


def load_ahead() -> None:
    """Import what a visit needs, and open the live release."""
    for name in (
        "pandas",
        "streamlit.emojis",
        "app.films",
    ):  # Streamlit needs the first two for a search field and icons
        importlib.import_module(name)
    with contextlib.suppress(PipelineError):  # the page says it to visitors
        readiness.check(live_release())


class Ahead:
    """Sends the page's style, and the names of the scripts that the browser will ask for in a moment, with the page
    itself. Streamlit brings them once there is something to style, and then what is there already moves."""

    def __init__(self, app: ASGIApp) -> None:
        """app: what answers."""
        self._app = app
        scripts = Path(streamlit.__file__).parent / "static" / "static" / "js"
        names = (path.name for name in DRAWN_FIRST.split() for path in sorted(scripts.glob(f"{name}.*.js")))
        links = "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">' for name in names)
        self._head = f"<style>{STYLE.read_text(encoding='utf-8')}</style>{links}</head>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the page with more in its head."""
        start: Message = {}
        body = b""

        async def with_head(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
                    start = message
                    return
            elif start:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    page = body.replace(b"</head>", self._head, 1)
                    changed = (b"content-length", b"etag", b"last-modified")
                    kept = [header for header in start["headers"] if header[0] not in changed]
                    await send({**start, "headers": [*kept, (b"content-length", str(len(page)).encode())]})
                    await send({"type": "http.response.body", "body": page})
                return
            await send(message)

        await self._app(scope, receive, with_head if scope.get("method") == "GET" else send)


server = App(
    Path(__file__).with_name("streamlit_app.py"),
    routes=[Route(readiness.READY_PATH, ready)],
    lifespan=warm,
    middleware=[Middleware(Ahead)],
)
