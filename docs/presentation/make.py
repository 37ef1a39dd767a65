"""Makes talk.pdf from talk.md, one slide a page, with Chromium. Comments in the source are the speaker's notes.

.venv/bin/python docs/presentation/make.py [--out FILE.pdf]
"""

import argparse
import re
import sys
from pathlib import Path

from markdown_it import MarkdownIt
from playwright.sync_api import sync_playwright

from benchmarks.page import launched

FOLDER = Path(__file__).resolve().parent

TOO_LARGE = """slides => slides
    .filter(slide => slide.scrollHeight > slide.clientHeight || slide.scrollWidth > slide.clientWidth)
    .map(slide => slide.innerText)"""


def main() -> None:
    """Run the command line. A slide that does not fit its page, or a picture that is missing, is an error."""
    parser = argparse.ArgumentParser(description="Make the talk's PDF.")
    parser.add_argument("--out", type=Path, default=FOLDER / "talk.pdf", metavar="FILE.pdf")
    options = parser.parse_args()
    page_file = FOLDER / "talk.html"  # beside the source, so that links to pictures hold
    page_file.write_text(as_html((FOLDER / "talk.md").read_text(encoding="utf-8")), encoding="utf-8")
    try:
        with sync_playwright() as playwright:
            browser = launched(playwright)
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.goto(page_file.as_uri())
            missing = page.locator("img").evaluate_all("all => all.filter(i => !i.naturalWidth).map(i => i.src)")
            too_large = page.locator("section").evaluate_all(TOO_LARGE)
            if missing or too_large:
                sys.exit(f"error: talk.md: missing pictures {missing}, slides that do not fit {too_large}")
            page.pdf(path=options.out, prefer_css_page_size=True, print_background=True)
            browser.close()
    finally:
        page_file.unlink()
    print(options.out)


def as_html(markdown: str) -> str:
    """Return the talk as one HTML page, a section per slide; slides are parted by lines of ---."""
    renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
    slides = [renderer.render(slide) for slide in markdown.split("\n---\n")]
    style = (FOLDER / "slides.css").read_text(encoding="utf-8")
    sections = "".join(f"<section>{slide}</section>" for slide in slides)
    sections = sections.replace("<p><img", '<p class="picture"><img').replace("<p>Source:", '<p class="source">Source:')
    sections = re.sub(r"<a [^>]*>(.*?)</a>", r"\1", sections)  # a PDF would hold them as paths of this machine
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Ten good films</title><style>{style}</style>'
    return head + sections


if __name__ == "__main__":
    main()
