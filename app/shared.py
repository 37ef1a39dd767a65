"""What the pages share: the settings they were started with, the opened releases, and titles as plain text."""

import argparse
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import streamlit as st

from pipeline import config as configuration
from pipeline import release
from pipeline.recommend import Recommender

OPEN_RELEASES = 3  # the live one, the one before it for those who are still in the middle of a run, and one to compare
MAX_FIRST = 2**30  # bytes of a release that the page fetches for itself
DRAWN = re.compile(r"https?(?=:)|www(?=\.)|@|(?<=:)(?:material(?=/)|streamlit(?=:))", re.IGNORECASE)
NOTHING, WRONG = ":material/info:", ":material/warning:"  # icons that need no font of the visitor's


@st.cache_resource(show_spinner=False)
def settings() -> SimpleNamespace:
    """Return the configuration from the options behind `--` on the command line. Raises PipelineError."""
    parser = argparse.ArgumentParser()
    configuration.add_arguments(parser)
    options, _ = parser.parse_known_args(sys.argv[1:])
    return configuration.load(options.conf, options.settings)


def warehouse() -> Path:
    """Return the warehouse's folder."""
    return Path(settings().warehouse.dir)


def live_release() -> Recommender:
    """Return the live release, opened. Raises PipelineError when there is none."""
    if (source := os.environ.get("RELEASE_URL")) and release.current_id(warehouse()) is None:
        first_release(source)
    return open_release(str(release.release_dir(warehouse())))


@st.cache_resource(show_spinner="Fetching the first release")
def first_release(source: str) -> None:
    """Fetch a packed release where a host can run nothing before the page; once, whoever asks. Raises PipelineError."""
    from pipeline import archive  # brings requests, which the page can do without

    archive.fetch(warehouse(), source, max_bytes=MAX_FIRST)


@st.cache_resource(max_entries=OPEN_RELEASES, on_release=lambda recommender: recommender.close(), show_spinner=False)
def open_release(folder: str) -> Recommender:
    """Return the opened release; one per folder, shared by all visitors. A new release has a new folder."""
    return Recommender(Path(folder))


def plain(text: str) -> str:
    """Return text that Markdown shows as it stands: a title is data, never markup.

    Addresses and the names of icons get an invisible word joiner: Streamlit draws links and icons, escaped or not.
    """
    text = DRAWN.sub("\\g<0>\u2060", text)
    return "".join(f"\\{char}" if char in r"\`*_{}[]()<>#+-.!|~:$&" else char for char in text)


def word() -> SimpleNamespace:
    """Return what the catalogue holds, as Markdown shows it: item, one, and items, several; Item and Items begin so."""
    words = {"item": settings().page.item, "items": settings().page.items}
    words |= {name.capitalize(): text[:1].upper() + text[1:] for name, text in words.items()}
    return SimpleNamespace(**{name: plain(text) for name, text in words.items()})


def ink() -> str:
    """Return the colour of text on the visitor's page."""
    return "#f5f5f4" if st.context.theme.type == "dark" else "#292524"


def paper() -> str:
    """Return the colour that the visitor's page has behind the text."""
    return "#14161b" if st.context.theme.type == "dark" else "#fffdf9"
