"""What the pages share: the settings they were started with, the opened releases, and titles as plain text."""

import argparse
import contextlib
import logging
import os
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from pipeline import config as configuration
from pipeline.config import PipelineError, Settings
from pipeline.release import store
from pipeline.serving import readiness
from pipeline.serving.recommender import Recommender

OPEN_RELEASES = 3  # the live one, the one before it for scripts that still run, and one to compare
MAX_FETCHED = 2**30  # bytes of a release that the page fetches for itself
FETCH_AGAIN = 300  # seconds after a fetch that failed
DRAWN = re.compile(r"https?(?=:)|www(?=\.)|@|(?<=:)(?:material(?=/)|streamlit(?=:))", re.IGNORECASE)
FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/'\"]+/)*")  # of an absolute path, all but its last name
NOTHING, WRONG = ":material/info:", ":material/warning:"  # icons that need no font of the visitor's


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Return the configuration from PAGE_OPTIONS in the environment, for hosts that start the page themselves, and the
    options behind `--` on the command line. Raises PipelineError."""
    parser = argparse.ArgumentParser()
    configuration.add_arguments(parser)
    try:
        given = shlex.split(os.environ.get("PAGE_OPTIONS", ""))
    except ValueError as error:
        raise PipelineError(f"PAGE_OPTIONS in the environment: {error}; write it as in a shell") from error
    options, _ = parser.parse_known_args([*given, *sys.argv[1:]])
    return configuration.load(options.conf, options.settings)


def warehouse() -> Path:
    """Return the warehouse's folder."""
    return Path(settings().warehouse.dir)


def live_release() -> Recommender:
    """Return the live release, opened. Raises PipelineError when there is none."""
    if source := os.environ.get("RELEASE_URL"):
        as_the_page_starts(source)
        if store.current_id(warehouse()) is None and (failed := fetched(source)):
            raise PipelineError(failed)
    folder = store.release_dir(warehouse())
    try:
        return open_release(str(folder))
    except PipelineError:
        if (now := store.release_dir(warehouse())) == folder:
            raise
        return open_release(str(now))  # the other one was replaced and retired before it was open


@st.cache_resource(show_spinner="Fetching the release")
def as_the_page_starts(source: str) -> None:
    """Bring in, once, the release that is at the address now, and leave the one that is here where it cannot be had."""
    if failed := fetched(source):
        logging.getLogger(__name__).error("%s", failed)


@st.cache_resource(show_spinner="Fetching the release", ttl=FETCH_AGAIN)
def fetched(source: str) -> str:
    """Fetch a packed release if a host can run nothing before the page; once for all visitors. Return why it could not
    be had: remembered for some minutes, as every visitor would else download it once more; nothing when it was."""
    from pipeline.release import archive  # brings requests, which the page can do without

    try:
        archive.fetch(
            warehouse(), source, readiness.check_folder, max_bytes=MAX_FETCHED, keep=settings().warehouse.keep
        )
    except PipelineError as error:
        return str(error)
    return ""


def still(recommender: Recommender) -> bool:
    """Tell whether an open release's database is the file that it was; if not, close it: as long as it is open, DuckDB
    gives every new connection to this path the old file."""
    if recommender.replaced():
        recommender.close()
        return False
    return True


# Python closes a release that leaves this cache once nobody uses it.
@st.cache_resource(max_entries=OPEN_RELEASES, validate=still, show_spinner=False)
def open_release(folder: str) -> Recommender:
    """Return the opened release, shared by all visitors; opened again once its database was replaced. Raises
    PipelineError."""
    return Recommender(Path(folder))


def sorry(error: PipelineError) -> None:
    """Draw an error as a sentence; the server's log has it with the folders, which are no visitor's business."""
    logging.getLogger(__name__).error("%s", error)
    st.info(f"No recommendations just now, sorry. For who runs this page: {without_folders(str(error))}", icon=NOTHING)


def without_folders(text: str) -> str:
    """Return text with the last name only of each absolute path."""
    with contextlib.suppress(PipelineError):
        text = text.replace(f"{warehouse().absolute().parent}/", "")  # this one may have blanks in it
    return FOLDERS.sub("", text)


def plain(text: str) -> str:
    """Return text that Markdown shows literally: a title is data, never markup.

    Addresses and the names of icons get an invisible word joiner: Streamlit draws links and icons, escaped or not.
    """
    text = DRAWN.sub("\\g<0>\u2060", text)
    return "".join(f"\\{char}" if char in r"\`*_{}[]()<>#+-.!|~:$&" else char for char in text)


class Words(NamedTuple):
    """The page's words for its catalogue, as Markdown shows them: one thing and several, and both with a capital."""

    item: str
    items: str
    Item: str
    Items: str


def word() -> Words:
    """Return the words of the configuration."""
    item, items = settings().page.item, settings().page.items
    return Words(plain(item), plain(items), plain(item[:1].upper() + item[1:]), plain(items[:1].upper() + items[1:]))


def ink() -> str:
    """Return the colour of text on the visitor's page."""
    return "#f5f5f4" if st.context.theme.type == "dark" else "#292524"


def paper() -> str:
    """Return the colour that the visitor's page has behind the text."""
    return "#14161b" if st.context.theme.type == "dark" else "#fffdf9"


def faint() -> float:
    """Return the opacity of what is not in focus on the visitor's page: pale colours vanish before dark paper."""
    return 0.4 if st.context.theme.type == "dark" else 0.2
