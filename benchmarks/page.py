"""How quick is the page in a browser, and how many visitors does it bear, on a catalogue of 100 thousand titles?

    .venv/bin/python benchmarks/page.py [--size 100000x200] [--rounds 20] [--visitors 50]

Makes a release of random lists (see lookup.py), starts the page on it, and drives it: with a real browser for what one
visitor feels; and with so many visitors at once that speak Streamlit's protocol without drawing anything, as fifty
browsers would need the machine for themselves. Needs Chromium. Prints a table and writes results/page.md.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import websockets
from playwright.sync_api import Browser, Locator, Page, Playwright, sync_playwright
from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks import lookup
from benchmarks.tables import machine, table, write
from pipeline.release import store
from pipeline.release.build import Build
from pipeline.serving import readiness
from pipeline.serving.recommender import Match, Recommender

ROOT = Path(__file__).resolve().parent.parent

VIEWS = {"laptop": {"width": 1280, "height": 900}, "phone": {"width": 380, "height": 900}}
MOVES = """window.moved = 0; new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.moved += entry.value;
}).observe({type: "layout-shift", buffered: true});"""
STARTS, IDLE_SECONDS = 5, 4  # of servers, and for how long nobody comes
START_SECONDS = 120
FIELD = "Films you love"
# Asked from outside, a browser is looked at every 20 to 500 ms; its own clock tells from an event, or from the call of
# the page, until the frame that shows an element with these words has been drawn.
WATCH = """([event, selector, words]) => {
    let begin = event ? null : 0;
    addEventListener(event, () => { begin ??= performance.now(); }, {capture: true, once: true});
    const shown = () => [...document.querySelectorAll(selector)]
        .some((element) => element.textContent.includes(words) && element.checkVisibility());
    window.seen = new Promise((resolve) => {
        const look = () => requestAnimationFrame(() => {
            if (begin === null || !shown()) look();
            else requestAnimationFrame(() => resolve(performance.now() - begin));
        });
        look();
    });
}"""


@contextlib.contextmanager
def served(
    warehouse: Path,
    *options: str,
    env: dict[str, str] | None = None,
    script: str = "app/streamlit_app.py",
    python: Sequence[str] = (sys.executable,),
) -> Iterator[tuple[str, int]]:
    """Run the page on loopback; yield its address and the server's process id. options: --set words of the page;
    python: the interpreter, and what it is started by.

    Raises RuntimeError with the end of the server's log when it does not come up.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [*python, "-m", "streamlit", "run", script, "--server.port", str(port)]
    command += ["--", "--set", f"warehouse.dir={warehouse}", *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **(env or {})})
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).read()
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"the page did not start: {log.read()[-1000:].decode(errors='replace')}")
                time.sleep(0.05)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait(10)


def publish(warehouse: Path, n_movies: int, k: int) -> Path:
    """Publish a release of random lists and return its folder."""
    build = Build.start(warehouse)
    lookup.write_release(build.path, n_movies, k)
    build.record("inputs", [{"path": "/random/ratings.csv", "bytes": 1, "sha256": "0"}])
    return build.publish(k=k, als_rank=lookup.RANK, min_support=5, popularity_weight=lookup.WEIGHT)


def launched(playwright: Playwright) -> Browser:
    """Return a running Chromium: the machine's own or Playwright's. Raises playwright's Error when there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Time the page.")
    parser.add_argument("--size", default="100000x200", help="movies x neighbours")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--visitors", type=int, default=50)
    options = parser.parse_args()
    n_movies, k = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        lookup.apart(publish, Path(name), n_movies, k)
        titles = Recommender(store.release_dir(Path(name))).starters(40)
        cold = first_visits(Path(name))
        begin = time.perf_counter()
        with served(Path(name), script="app/server.py") as (address, process):
            listening = time.perf_counter() - begin
            readiness.ask_page(address)
            ready = time.perf_counter() - begin
            with sync_playwright() as playwright, contextlib.closing(launched(playwright)) as browser:
                typeable = [until_typeable(browser, address) for _ in range(options.rounds)]
                felt = [one_visit(browser, address, title) for title in titles[: options.rounds]]
                moved = [statistics.median(moves(browser, address, view) for _ in range(STARTS)) for view in VIEWS]
            visits = asyncio.run(many_visits(address, [title.movie_id for title in titles], options.visitors))
            memory = resident(process)
    suggested, listed = zip(*felt, strict=True)
    first, later, errors = visits
    often = f"browser, {STARTS} starts"
    rows = [
        ["server started until it listens; until it is ready", f"{1000 * listening:,.0f}; {1000 * ready:,.0f}", "", ""],
        ["first visit to a server until one can type", *middle(cold["app/server.py"]), "2,000", often],
        ["the same, app/streamlit_app.py", *middle(cold["app/streamlit_app.py"]), "2,000", often],
        ["a visit until one can type", *middle(typeable[1:]), "2,000", "browser"],
        ["title in the field until it is suggested", *middle(suggested), "300", "browser; 80 are the field's pause"],
        ["click until the new list", *middle(listed), "300", "browser"],
        ["how much moves while it appears, laptop; phone", "; ".join(f"{shift:.2f}" for shift in moved), "0.1",
         "cumulative layout shift, no ms"],
        [f"{options.visitors} at once: a visit until the list is sent", *middle(first), "1,000", f"{errors} errors"],
        [f"{options.visitors} at once: click until the list is sent", *middle(later), "1,000", f"{errors} errors"],
    ]  # fmt: skip
    write(
        "page",
        [
            "# The page",
            "",
            f"Made by `.venv/bin/python benchmarks/page.py` on {machine()}, which server, browser and visitors share: "
            f"{n_movies:,} titles x {k} neighbours, random; app/server.py. Milliseconds, medians of {options.rounds}. "
            f"The server's memory after that: {memory:,.0f} MiB (bar 400).",
            "",
            *table(["what", "ms", "bar", ""], rows),
        ],
    )


def middle(seconds: Sequence[float]) -> list[str]:
    """Return the median in milliseconds."""
    return [f"{1000 * statistics.median(seconds):,.0f}"]


def first_visits(warehouse: Path) -> dict[str, list[float]]:
    """Return the seconds of the first visit to a server that was started a while ago, of STARTS servers of each kind in
    turns; the browser has been used before."""
    seconds: dict[str, list[float]] = {"app/streamlit_app.py": [], "app/server.py": []}
    with sync_playwright() as playwright, contextlib.closing(launched(playwright)) as browser:
        with served(warehouse) as (address, _):
            until_typeable(browser, address)
        for _ in range(STARTS):
            for script, times in seconds.items():
                with served(warehouse, script=script) as (address, _):
                    time.sleep(IDLE_SECONDS)
                    times.append(until_typeable(browser, address))
    return seconds


def until_typeable(browser: Browser, address: str) -> float:
    """Return the seconds from calling the page in a fresh window until its search field takes keys."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(f"({WATCH})(['', 'input[aria-label=\"{FIELD}\"]:enabled', ''])")
    page.goto(address, wait_until="commit")
    seconds = page.evaluate("window.seen") / 1000
    field(page).press_sequentially("night")
    page.locator(".st-key-suggestions button").first.wait_for()  # it does take them
    context.close()
    return seconds


def moves(browser: Browser, address: str, view: str) -> float:
    """Return the cumulative layout shift of a first visit: the parts of the window that moved times how far, summed."""
    phone = view == "phone"
    context = browser.new_context(viewport=VIEWS[view], is_mobile=phone, has_touch=phone)
    page = context.new_page()
    page.add_init_script(MOVES)
    page.goto(address)
    page.locator(".film").first.wait_for()
    page.wait_for_timeout(2000)  # until it has come to rest
    shift = page.evaluate("window.moved")
    context.close()
    return shift


def one_visit(browser: Browser, address: str, movie: Match) -> tuple[float, float]:
    """Return the seconds from a title in the field until its suggestion can be seen, and from the click on it until
    a list with reasons can be."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.locator(".film").first.wait_for()
    field(page).fill("zzzzzz")
    page.get_by_text("No title like that").first.wait_for()
    page.evaluate(WATCH, ["input", ".st-key-suggestions button", movie.title])
    field(page).fill(f"{movie.title} {movie.year}")
    suggested = page.evaluate("window.seen") / 1000
    page.evaluate(WATCH, ["click", ".film .because", "Because you liked"])
    page.locator(".st-key-suggestions button", has_text=movie.title).first.click()
    listed = page.evaluate("window.seen") / 1000
    context.close()
    return suggested, listed


def field(page: Page) -> Locator:
    """Return the page's search field."""
    return page.get_by_label(FIELD).first


async def many_visits(address: str, movies: list[int], visitors: int) -> tuple[list[float], list[float], int]:
    """Return the seconds of every visitor's first list and of the one after a click, and the number of errors."""
    visits = [speak(address, movies[i % len(movies)]) for i in range(visitors)]
    done = await asyncio.gather(*visits, return_exceptions=True)
    errors = [result for result in done if isinstance(result, BaseException)]
    good = [result for result in done if not isinstance(result, BaseException)]
    return [first for first, _ in good], [later for _, later in good], len(errors)


async def speak(address: str, movie_id: int) -> tuple[float, float]:
    """Visit with a favourite in the address, think for a second or so, ask for more like one of the list; return how
    long each took. Raises RuntimeError when the page reports an error."""
    url = f"{address.replace('http', 'ws', 1)}/_stcore/stream"
    async with websockets.connect(url, subprotocols=["streamlit"], max_size=None) as socket:
        message = BackMsg()
        message.rerun_script.query_string = f"likes={movie_id}"
        begin = time.perf_counter()
        await socket.send(message.SerializeToString())
        component, shown = await answer(socket)
        first = time.perf_counter() - begin
        await asyncio.sleep(0.5 + movie_id % 10 / 10)
        message.rerun_script.widget_states.widgets.extend(click(component, "more", shown[0]))
        begin = time.perf_counter()
        await socket.send(message.SerializeToString())
        await answer(socket)
        return first, time.perf_counter() - begin


def click(component: str, button: str, movie_id: int) -> list[WidgetState]:
    """Return what a browser sends after a click on a card's button. component: the id of the cards."""
    sent = json.dumps([{"event": button, "value": movie_id}])
    trigger = WidgetState(id=_make_trigger_id(component, "events"), json_trigger_value=sent)
    return [WidgetState(id=component, json_value="{}"), trigger]


async def answer(socket) -> tuple[str, list[int]]:
    """Read until the page is drawn; return the id of the cards and the movie ids that they show."""
    component, shown = "", []
    while True:
        message = ForwardMsg()
        message.ParseFromString(await socket.recv())
        if message.WhichOneof("type") == "delta":
            element = message.delta.new_element
            if element.WhichOneof("type") == "bidi_component":
                component = element.bidi_component.id
                buttons = re.findall('name="more" value="([0-9]+)"', " ".join(json.loads(element.bidi_component.json)))
                shown = [int(movie_id) for movie_id in buttons]
            if element.WhichOneof("type") == "exception":
                raise RuntimeError(element.exception.message)
        if message.WhichOneof("type") == "script_finished":
            if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                return component, shown
            raise RuntimeError(f"the page ended with state {message.script_finished}")


def resident(process: int) -> float:
    """Return the memory of a process, in MiB: the most that was ever resident."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
