"""What does the page look like? Takes the pictures in docs/page/ from the live release, with Chromium.

.venv/bin/python benchmarks/screenshots.py [--set warehouse.dir=DIR ...]
"""

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.page import launched, served
from pipeline import config
from pipeline.release import store
from pipeline.serving.recommender import Recommender

ROOT = Path(__file__).resolve().parent.parent

FOLDER = ROOT / "docs" / "page"
# name: path of the address, width, height, colour scheme
SHOTS = {
    "films": ("?likes={likes}", 1280, 1000, "light"),
    "phone": ("?likes={likes}", 380, 800, "dark"),
    "explore": ("explore?movie={movie}", 1280, 1000, "dark"),
    "releases": ("releases", 1280, 1000, "light"),
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Take the pictures of the page.")
    config.add_arguments(parser)
    options = parser.parse_args()
    configured = config.load(options.conf, options.settings)
    warehouse = Path(configured.warehouse.dir)
    recommender = Recommender(store.release_dir(warehouse))
    likes = [movie.movie_id for movie in recommender.example(configured.example.favourites)]
    recommender.close()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as sessions,
        served(warehouse, "--set", f"sessions.path={sessions}/sessions.sqlite") as (address, _),
        sync_playwright() as playwright,
    ):
        browser = launched(playwright)
        for name, (path, width, height, scheme) in SHOTS.items():
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(f"{address}/{path.format(likes=','.join(map(str, likes)), movie=likes[0])}")
            page.locator("h1").first.wait_for()
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(2000)  # charts are drawn after that
            page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")  # whose code is on its way
            page.screenshot(path=FOLDER / f"{name}.png")
            context.close()
            print(FOLDER / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
