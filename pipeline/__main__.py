"""python -m pipeline: ask the live release, list releases, go back to an older one. No Spark, no Java."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import config as configuration
from pipeline import release
from pipeline.config import PipelineError
from pipeline.recommend import AmbiguousTitleError, Match, Recommendation, Recommender, named

COMMANDS = "recommend, search, similar, sql, releases or rollback"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 1 after one line that says what was wrong."""
    options = _parser().parse_args(arguments)
    try:
        config = configuration.load(options.conf, options.settings)
        options.command(options, Path(config.warehouse.dir), Console(soft_wrap=True))
    except PipelineError as error:
        if options.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, AmbiguousTitleError) and error.candidates:
            Console(stderr=True).print(matches_table(error.candidates))
        return 1
    except BrokenPipeError:
        sys.stderr.close()
    return 0


def recommendations_table(favourites: list[str], rows: list[Recommendation]) -> Table:
    """Return the recommendations as a table for the terminal."""
    table = Table(title=f"Because you liked {escape(' and '.join(favourites))}", title_justify="left")
    for heading in ("", "title", "year", "genres", "because"):
        table.add_column(heading, justify="right" if heading in ("", "year") else "left")
    for row in rows:
        because = ", ".join(f"{reason.title} {reason.share:.0%}" for reason in row.because[:3])
        reasons = because if row.source == "neighbours" else f"{row.source}{': ' * bool(because)}{because}"
        table.add_row(str(row.rank), escape(row.title), _text(row.year), escape(", ".join(row.genres)), escape(reasons))
    return table


def matches_table(matches: list[Match]) -> Table:
    """Return search results as a table for the terminal."""
    table = Table()
    for heading in ("id", "title", "year", "genres", "ratings", "match"):
        table.add_column(heading, justify="left" if heading in ("title", "genres") else "right")
    for row in matches:
        cells = (row.movie_id, row.title, row.year, ", ".join(row.genres), row.n_ratings, f"{row.match:.2f}")
        table.add_row(*(escape(_text(cell)) for cell in cells))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar=COMMANDS)

    def command(name: str, function, help_text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(command=function)
        configuration.add_arguments(sub)
        return sub

    sub = command("recommend", _recommend, "ten movies for a few favourites")
    sub.add_argument("titles", nargs="+", help="titles as you remember them, or id:MOVIE_ID")
    sub.add_argument("-k", type=int, default=10, help="length of the list (10)")
    sub = command("search", _search, "movies whose title matches")
    sub.add_argument("text", nargs="+", help="a title; typos are forgiven")
    sub.add_argument("-k", type=int, default=10, help="length of the list (10)")
    sub = command("similar", _similar, "one movie's own list")
    sub.add_argument("title", help="a title, or id:MOVIE_ID")
    sub.add_argument("-k", type=int, default=10, help="length of the list (10)")
    sub = command("sql", _sql, "run a query on the live release")
    sub.add_argument("statement", help='e.g. "from recommend([1, 260])"')
    command("releases", _releases, "list the published releases")
    sub = command("rollback", _rollback, "make an older release live")
    sub.add_argument("release_id", nargs="?", help="default: the one before the live one")
    return parser


def _recommend(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    recommender = Recommender(release.release_dir(warehouse))
    favourites = [_resolve(recommender, title) for title in options.titles]
    rows = recommender.recommend([movie.movie_id for movie in favourites], options.k)
    console.print(recommendations_table([named(movie) for movie in favourites], rows))


def _search(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    matches = Recommender(release.release_dir(warehouse)).search(" ".join(options.text), options.k)
    if not matches:
        raise PipelineError(f"no title like '{' '.join(options.text)}' in this catalogue; try fewer words")
    console.print(matches_table(matches))


def _similar(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    recommender = Recommender(release.release_dir(warehouse))
    movie = _resolve(recommender, options.title)
    rows = recommender.similar(movie.movie_id, options.k)
    if not rows:
        raise PipelineError(f"{named(movie)} has no list: nobody liked it yet; try `python -m pipeline recommend`")
    table = Table(title=f"Goes with {escape(named(movie))}", title_justify="left")
    for heading in ("", "title", "year", "genres", "similarity"):
        table.add_column(heading, justify="left" if heading in ("title", "genres") else "right")
    for row in rows:
        cells = (row.rank, row.title, row.year, ", ".join(row.genres), f"{row.similarity:.4f}")
        table.add_row(*(escape(_text(cell)) for cell in cells))
    console.print(table)


def _sql(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    columns, rows = Recommender(release.release_dir(warehouse)).query(options.statement)
    table = Table()
    for column in columns:
        table.add_column(escape(column))
    for row in rows:
        table.add_row(*(escape(_text(cell)) for cell in row))
    console.print(table)


def _releases(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    releases = release.list_releases(warehouse)
    if not releases:
        raise PipelineError(f"{warehouse}: no release has been published here yet; run ./spark-submit.sh")
    table = Table()
    for heading in ("release", "live", "movies", "neighbours", "made from"):
        table.add_column(heading, justify="right" if heading in ("movies", "neighbours") else "left")
    for row in releases:
        live = "live" if row.live else ""
        table.add_row(row.release_id, live, f"{row.n_movies:,}", f"{row.n_neighbours:,}", escape(row.inputs))
    console.print(table)


def _rollback(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    console.print(f"live is now {release.rollback(warehouse, options.release_id)}")


def _resolve(recommender: Recommender, text: str) -> Match:
    movie = recommender.resolve(text)
    if movie.match < 1:
        print(f"taking '{text}' as {named(movie)}", file=sys.stderr)
    return movie


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


if __name__ == "__main__":
    sys.exit(main())
