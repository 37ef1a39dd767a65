"""Ten recommendations from a new release, for the operator to look at."""

import contextlib
import os
import shlex
from pathlib import Path

from pipeline import config as configuration
from pipeline.batch.run import Run
from pipeline.serving.recommender import Recommender, named
from pipeline.serving.tables import recommendations_table


def show_example(run: Run, folder: Path) -> None:
    """Print ten recommendations from a release for the configured favourites, and the next commands."""
    with contextlib.closing(Recommender(folder)) as recommender:
        movies = recommender.example(run.config.example.favourites)
        favourites = [named(movie) for movie in movies]
        rows = recommender.recommend([movie.movie_id for movie in movies])
    run.console.print("", recommendations_table(favourites, rows), "")
    python = os.environ.get("PIPELINE_PYTHON", "python")
    overlays = run.options.conf
    where = "".join(f" --conf {shlex.quote(name)}" for name in overlays)
    if run.config.warehouse.dir != configuration.load(overlays).warehouse.dir:
        where += f" --set warehouse.dir={shlex.quote(str(run.warehouse))}"
    page = f"{python} -m streamlit run app/streamlit_app.py{where and ' --' + where}"
    titles = " ".join(shlex.quote(title) for title in favourites)
    run.say(f"ask for others: {python} -m pipeline recommend{where} {titles}\nopen the page: {page}")
