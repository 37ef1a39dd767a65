"""python -m pipeline: ask, export or carry elsewhere the live release, go back, see to what visitors left. No Spark."""

import argparse
import importlib.metadata
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from pipeline import config as configuration
from pipeline.config import PipelineError, RefusedError
from pipeline.release import archive, changes, database, store
from pipeline.release.export import FORMS, export
from pipeline.release.manifest import read_manifest
from pipeline.serving import analyst, readiness
from pipeline.serving.recommender import AmbiguousTitleError, Match, Recommender, named
from pipeline.serving.sessions import Sessions, ratings_of, write_ratings
from pipeline.serving.steering import Steering
from pipeline.serving.tables import matches_table, recommendations_table
from pipeline.terminal import console, table

COMMANDS = (
    "recommend, search, similar, sql, export, releases, changes, gates, rollback, pack, fetch, ready, feedback or "
    "sessions"
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or, after one line that says what was wrong, the error's own."""
    options = _parser().parse_args(arguments)
    try:
        options.config = configuration.load(options.conf, options.settings)
        options.command(options, Path(options.config.warehouse.dir), console())
    except PipelineError as error:
        if options.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, AmbiguousTitleError) and error.candidates:
            console(stderr=True).print(matches_table(error.candidates))
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; `python -m pipeline releases` says which release is live", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar=COMMANDS)

    def command(
        name: str, function: Callable[[argparse.Namespace, Path, Console], None], help_text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(command=function)
        configuration.add_arguments(sub)
        return sub

    sub = command("recommend", _recommend, "ten titles for a few favourites")
    sub.add_argument("titles", nargs="+", help="titles as you remember them, or id:ID")
    sub.add_argument("-k", type=int, default=10, help="length of the list (10)")
    sub.add_argument(
        "--exclude", action="append", default=[], metavar="TITLE", help="leave this title out; may be given again"
    )
    sub = command("search", _search, "what has a title like this")
    sub.add_argument("text", nargs="+", help="a title; typos are forgiven")
    sub.add_argument("-k", type=int, default=10, help="length of the list (10)")
    sub = command("similar", _similar, "one title's own list")
    sub.add_argument("title", help="a title, or id:ID")
    sub.add_argument("-k", type=int, default=10, help="length of the list (10)")
    sub = command("sql", _sql, "run a query on the live release")
    sub.add_argument("statement", help='e.g. "from recommend([1, 260])"')
    sub = command("export", _export, "write all lists with their titles to one file")
    sub.add_argument("--to", type=Path, required=True, metavar="FILE", help=f"its ending is one of {', '.join(FORMS)}")
    sub.add_argument("-k", type=int, help="neighbours per list (all)")
    sub.add_argument("--release", metavar="ID", help="default: the live one")
    sub = command("releases", _releases, "list the published releases")
    sub.add_argument(
        "--verify", action="store_true", help="compare every file with the checksums noted as it was published"
    )
    sub = command("changes", _changes, "what changed in the lists from one release to another")
    sub.add_argument("old", nargs="?", help="default: the one before the live one")
    sub.add_argument("new", nargs="?", help="default: the live one")
    sub = command("gates", _gates, "ask what a release must not have before it goes live, and show what is found")
    sub.add_argument("release", nargs="?", help="a release, or building; default: a refused one, else the live one")
    sub = command("rollback", _rollback, "make an older release live")
    sub.add_argument("release_id", nargs="?", help="default: the one before the live one")
    sub = command("pack", _pack, "write a release as one file, to be fetched elsewhere")
    sub.add_argument("--release", metavar="RELEASE_ID", help="default: the live one")
    sub.add_argument("--out", type=Path, default=Path(archive.NAME), metavar="FILE|DIR", help="default: %(default)s")
    sub = command("fetch", _fetch, "bring in a packed release, check every file, and make it live")
    sub.add_argument("source", metavar="URL|FILE", help="with #sha256=... behind it only that very file is taken")
    sub.add_argument("--max-mib", type=int, default=4096, help="the most that it may take, unpacked too (%(default)s)")
    sub = command("ready", _ready, "say whether the live release answers, or that of a running page")
    sub.add_argument("url", nargs="?", metavar="URL", help="of the page; default: open the release in the warehouse")
    sub = command("feedback", _feedback, "write what visitors thought of recommendations as ratings")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.csv|DIR", help="a .csv file, or a folder")
    sub = command("sessions", _sessions, "say how much is stored of visitors, or delete it")
    sub.add_argument("--wipe", action="store_true", help="delete all sessions and thumbs")
    return parser


def _version() -> str:
    """Return the version of the installed project; a checkout that is not installed has none."""
    try:
        return f"ten-films {importlib.metadata.version('ten-films')}"
    except importlib.metadata.PackageNotFoundError:
        return "ten-films, not installed: run ./spark-submit.sh"


def _recommend(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    recommender = Recommender(store.release_dir(warehouse))
    favourites = [_resolve(recommender, title) for title in options.titles]
    exclude = tuple(_resolve(recommender, title).movie_id for title in options.exclude)
    rows = recommender.recommend([movie.movie_id for movie in favourites], options.k, Steering(exclude=exclude))
    console.print(recommendations_table([named(movie) for movie in favourites], rows))


def _search(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    matches = Recommender(store.release_dir(warehouse)).search(" ".join(options.text), options.k)
    if not matches:
        raise PipelineError(f"no title like '{' '.join(options.text)}' in this catalogue; try fewer words")
    console.print(matches_table(matches))


def _similar(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    recommender = Recommender(store.release_dir(warehouse))
    movie = _resolve(recommender, options.title)
    rows = recommender.similar(movie.movie_id, options.k)
    if not rows:
        raise PipelineError(f"{named(movie)} has no list: nobody liked it yet; try `python -m pipeline recommend`")
    lines = [(row.rank, row.title, row.year, ", ".join(row.genres), round(row.similarity, 4)) for row in rows]
    console.print(table(["", "title", "year", "genres", "similarity"], lines, f"Goes with {named(movie)}"))


def _sql(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    limits = options.config.sql
    bounds = analyst.Bounds(seconds=limits.seconds, rows=limits.rows, memory_mb=limits.memory_mb)
    answer = analyst.ask(store.release_dir(warehouse), options.statement, bounds)
    console.print(table(answer.columns, answer.rows))
    if answer.cut:
        print(f"{analyst.cut_in_words(answer)}; --set sql.rows=N shows more", file=sys.stderr)


def _export(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    folder = store.release_dir(warehouse, options.release)
    written = export(folder, options.to, options.k)
    print(f"wrote {written.n_lists:,} lists of release {folder.name} to {options.to}, {written.n_bytes:,} bytes")
    if options.to.suffix == ".resp":
        print(f"load them: redis-cli --pipe <{shlex.quote(str(options.to))}")


def _releases(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    releases = store.list_releases(warehouse)
    if not releases:
        raise PipelineError(f"{warehouse}: no release has been published here yet; run ./spark-submit.sh")
    headings = ["release", "live", "movies", "neighbours", "made from"]
    lines = [
        (row.release_id, "live" if row.live else "", row.n_movies, row.n_neighbours, row.inputs) for row in releases
    ]
    if not options.verify:
        console.print(table(headings, lines))
        return
    wrong = {row.release_id: store.verify(warehouse, row.release_id) for row in releases}
    checked = [(*line, "; ".join(wrong[line[0]][:3]) or "whole") for line in lines]
    console.print(table([*headings, "checked"], checked))
    if damaged := [release_id for release_id, found in wrong.items() if found]:
        raise PipelineError(
            f"{warehouse}: {len(damaged)} of {len(wrong)} releases are not as they were published ({damaged[0]}); "
            "make another live: python -m pipeline rollback RELEASE_ID"
        )
    store.release_dir(warehouse)  # says what is wrong where none is live


def _gates(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    refused = warehouse / store.BUILDING
    if options.release == store.BUILDING or (not options.release and (refused / database.DATABASE).exists()):
        folder, live = refused, store.comparable(warehouse, read_manifest(refused))
    else:
        folder, live = store.release_dir(warehouse, options.release), None
    gates = database.gates_of(folder, live=live)
    lines = [(gate.name, gate.question, "; ".join(gate.found) or "nothing") for gate in gates]
    console.print(table(["gate", "asks", "found"], lines, f"Gates of {folder}"))
    if live is None:
        print("not compared with a live release of the same data", file=sys.stderr)
    if found := [gate.name for gate in gates if gate.found]:
        raise RefusedError(f"{folder}: {len(found)} of {len(gates)} gates find something ({', '.join(found)})")


def _changes(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    new = store.release_dir(warehouse, options.new)
    old = store.release_dir(warehouse, options.old or store.before(warehouse, new.name))
    found = changes.changes(old, new)
    print(f"{new.name}: {changes.changes_in_words(found)}")
    movers = [(row["title"], row["year"], row["n_before"], row["n_after"]) for row in found["movers"]]
    lists = [(row["title"], row["year"], f"{row['overlap']:.0%}") for row in found["lists"]]
    titles = [(row["what"], row["title"], row["year"]) for row in found["titles"]]
    for headings, lines, title in (
        (["title", "year", "before", "after"], movers, "Most moved, by the lists that have them in the first ten"),
        (["list of", "year", "stayed"], lists, "Lists that changed the most"),
        (["", "title", "year"], titles, "New and gone titles"),
    ):
        if lines:
            console.print(table(headings, lines, title))


def _rollback(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    console.print(f"live is now {store.rollback(warehouse, options.release_id)}")


def _pack(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    release_id, size, digest = archive.pack(warehouse, options.out, options.release)
    print(f"packed {release_id}: {size / 1e6:.1f} MB, sha256={digest}")


def _fetch(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    release_id = archive.fetch(
        warehouse,
        options.source,
        readiness.check_folder,
        max_bytes=options.max_mib * 2**20,
        keep=options.config.warehouse.keep,
    )
    print(f"live is now {release_id}")


def _ready(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    print(readiness.ask_page(options.url) if options.url else readiness.check_folder(store.release_dir(warehouse)))


def _feedback(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    data = options.config.data
    if data.kind == "events":  # there is no event for what somebody does not like
        ratings = [row for row in ratings_of(_opened(options).feedback(), worst=0, best=1) if row.rating]
    else:
        ratings = ratings_of(_opened(options).feedback(), worst=data.min_rating, best=data.max_rating)
    if data.ids == "string" and ratings:
        names = Recommender(store.release_dir(warehouse)).item_ids([int(row.movie_id) for row in ratings])
        ratings = [row._replace(movie_id=names[row.movie_id]) for row in ratings if row.movie_id in names]
    path = write_ratings(ratings, options.out)
    print(f"wrote {len(ratings):,} ratings by {len({row.user_id for row in ratings}):,} visitors to {path}")
    job = "".join([" jobs/run_pipeline.py", *(f" --conf {shlex.quote(name)}" for name in options.conf)])
    setting = shlex.quote(f"data.more_ratings={path}")
    print(f"train with them: ./spark-submit.sh{job if options.conf else ''} --set {setting}")


def _sessions(options: argparse.Namespace, warehouse: Path, console: Console) -> None:
    sessions = _opened(options)
    stored = sessions.stored()
    if options.wipe:
        sessions.wipe()
    what = f"{stored.n_sessions:,} sessions, and {stored.n_thumbs:,} thumbs by {stored.n_visitors:,} visitors"
    since = f", since {stored.since:%Y-%m-%d}" if stored.since else ""
    print(f"{sessions.path}: {'wiped ' if options.wipe else ''}{what}{since}")


def _opened(options: argparse.Namespace) -> Sessions:
    if not options.config.sessions.path:
        raise PipelineError("sessions.path is empty, so nothing is kept; name the file with --set sessions.path=FILE")
    return Sessions(options.config.sessions.path)


def _resolve(recommender: Recommender, text: str) -> Match:
    movie = recommender.resolve(text)
    if movie.match < 1:
        print(f"taking '{text}' as {named(movie)}", file=sys.stderr)
    return movie


if __name__ == "__main__":
    sys.exit(main())
