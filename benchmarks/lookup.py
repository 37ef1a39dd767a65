"""How fast is a recommendation, from serving.duckdb and from Parquet alone, and what does building the database take?

    .venv/bin/python benchmarks/lookup.py [--sizes 87000x200 1000000x100] [--requests 500]

Makes releases of so many movies x neighbours from random numbers, builds serving.duckdb as a run would, and asks for
recommendations by 5 favourites drawn from the whole catalogue. Peers on the same lists: the sum of the lists alone, as
a query of the same database without titles, reasons and fallbacks; and numpy on arrays in memory. Prints two tables and
writes results/lookup.md. A quick look that writes nothing: --sizes 2000x50 --requests 50 --dry. Needs 2 GB of disk.
"""

import argparse
import multiprocessing
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tables import machine, table, write
from pipeline import schemas, sql
from pipeline.release import database
from pipeline.serving.recommender import Recommender

ROOT = Path(__file__).resolve().parent.parent

RANK = 64
BLOCK = 8192  # movies per file: neighbours.query_block
WEIGHT = 0.4  # popularity.weight
CLIENTS = 8
WARMING = 50  # requests before those that count
BARE = """
    select neighbour_id, sum(weight) as score from neighbours where movie_id = any(?::int[])
    group by neighbour_id order by score desc, neighbour_id limit 10
"""
ARROW = {
    "int": pa.int32(), "bigint": pa.int64(), "smallint": pa.int16(), "float": pa.float32(), "string": pa.string(),
    "array<string>": pa.list_(pa.string()), "array<float>": pa.list_(pa.float32()),
}  # fmt: skip
ROWS = {"neighbours": 65_536, "item_factors": 2048}  # per row group: parts.ROWS, and what Spark makes of 512 KiB
NAMES = """
    Action Adventure Animation Children Comedy Crime Documentary Drama Fantasy Film-Noir Horror IMAX Musical Mystery
    Romance Sci-Fi Thriller War Western
"""
TITLES = """
    night city last summer story love house blood river king girl return dark man woman war day life secret road island
    heart of the and a in on black white lost great little dead home fire star moon winter garden dream
"""
GENRES, WORDS = NAMES.split(), TITLES.split()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Time recommendations beside their peers.")
    parser.add_argument("--sizes", nargs="+", default=["87000x200", "1000000x100"], help="movies x neighbours")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    built, asked = [], []
    for size in options.sizes:
        n_movies, k = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            apart(write_release, Path(folder), n_movies, k)
            built.append([f"{n_movies:,} x {k}", *apart(build, Path(folder), k)])
            alone = apart(numpy_alone, Path(folder), k, options.requests)
            for source in ("serving.duckdb", "Parquet"):
                first = min(apart(first_request, Path(folder), source) for _ in range(3))
                row = apart(ask, Path(folder), source, options.requests)
                asked.append([f"{n_movies:,} x {k}", source, *row[:-2], f"{alone:.2f}", f"{first:.0f}", *row[-2:]])
    lines = [
        "# Looking up",
        "",
        f"Made by `.venv/bin/python benchmarks/lookup.py` on {machine()}. Ten movies for 5 favourites drawn from the "
        f"whole catalogue, {options.requests:,} requests; milliseconds, one thread and warm unless said otherwise. "
        "Lists alone: their sum as a query of the same database. First: opening and the first request in a new "
        "process, best of 3, imports apart; the system's page cache is warm. "
        f"Clients: {CLIENTS} threads of one process.",
        "",
        *table(
            ["catalogue", "from", "median", "p99", "macro, median", "lists alone, median", "median / lists alone",
             "numpy, median", "first", f"{CLIENTS} clients, requests/s", "errors"],
            asked,
        ),
        "",
        "Building `serving.duckdb`, gates included; the peak is that of the process.",
        "",
        *table(["catalogue", "seconds", "seconds in gates", "peak, MiB", "size, MiB"], built),
    ]  # fmt: skip
    if options.dry:
        print("\n".join(lines))
    else:
        write("lookup", lines)


def apart(action: Callable, *arguments):
    """Return what the action returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(action, *arguments).result()


def build(folder: Path, k: int) -> list[str]:
    """Build serving.duckdb; return seconds, those of them in gates, peak memory and size."""
    begin = time.perf_counter()
    bounds = {"k": k, "als_rank": RANK, "min_support": 5}
    run_gates, in_gates = database.run_gates, []
    database.run_gates = lambda *given, **named: in_gates.append(timed(lambda: run_gates(*given, **named)))
    database.build_database(folder, popularity_weight=WEIGHT, bounds=bounds, skip=database.bounded_gates())
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = (folder / database.DATABASE).stat().st_size / 2**20
    return [f"{seconds:.1f}", f"{sum(in_gates):.1f}", f"{peak:,.0f}", f"{size:,.0f}"]


def opened(folder: Path, source: str) -> tuple[Recommender, duckdb.DuckDBPyConnection]:
    """Return a Recommender and the connection that it asks."""
    parquet = source == "Parquet"
    connection = over_parquet(folder, popularity_weight=WEIGHT) if parquet else database.connect(folder)
    return Recommender(folder, connection), connection


def first_request(folder: Path, source: str) -> float:
    """Return the milliseconds that opening and a first request take."""
    return 1000 * timed(lambda: opened(folder, source)[0].recommend([1, 2, 3, 4, 5]))


def ask(folder: Path, source: str, n_requests: int) -> list[str]:
    """Return median and 99th percentile of a request, medians of macro and bare query, their ratio, requests per
    second of CLIENTS threads, and how many of these failed."""
    recommender, connection = opened(folder, source)
    requests = draw(folder, n_requests)
    of_clients = draw(folder, n_requests, seed=2)  # others: a Recommender remembers titles
    own, macro, bare = (
        # one after the other for each request, so that all three meet the same noise
        np.array(column) * 1000
        for column in zip(*[
            (
                timed(lambda: recommender.recommend(favourites)),  # noqa: B023
                timed(lambda: connection.cursor().execute("from recommend(?::int[])", [favourites]).fetchall()),  # noqa: B023
                timed(lambda: connection.cursor().execute(BARE, [favourites]).fetchall()),  # noqa: B023
            )
            for favourites in [*requests[:WARMING], *requests]
        ][-n_requests:], strict=True)
    )  # fmt: skip
    failed = []

    def client(part: list[list[int]]) -> None:
        for favourites in part:
            try:
                assert len(recommender.recommend(favourites)) == 10
            except Exception as error:
                failed.append(error)

    clients = [threading.Thread(target=client, args=(of_clients[i::CLIENTS],)) for i in range(CLIENTS)]
    seconds = timed(lambda: [*(c.start() for c in clients), *(c.join() for c in clients)])
    middle, p99, lists = np.median(own), np.percentile(own, 99), np.median(bare)
    figures = [f"{middle:.1f}", f"{p99:.1f}", f"{np.median(macro):.1f}", f"{lists:.1f}", f"{middle / lists:.1f}"]
    return [*figures, f"{n_requests / seconds:,.0f}", f"{len(failed)}"]


def numpy_alone(folder: Path, k: int, n_requests: int) -> float:
    """Return the median milliseconds of summing the lists in memory and finding the ten best."""
    lists = pq.read_table(folder / "neighbours", columns=["neighbour_id", "weight"])
    ids, weights = (column.to_numpy().reshape(-1, k) for column in lists.columns)
    rows = {movie: row for row, movie in enumerate(movie_ids(folder).tolist())}

    def best(favourites: list[int]) -> np.ndarray:
        of = [rows[movie] for movie in favourites]
        found, place = np.unique(ids[of], return_inverse=True)
        scores = np.bincount(place.ravel(), weights[of].ravel())
        scores[np.isin(found, favourites)] = 0
        return found[np.lexsort((found, -scores))[:10]]

    return 1000 * float(np.median([timed(lambda: best(favourites)) for favourites in draw(folder, n_requests)]))  # noqa: B023


def draw(folder: Path, n_requests: int, seed: int = 1) -> list[list[int]]:
    """Return requests of 5 favourites, every movie as likely as any other."""
    rng, movies = np.random.default_rng(seed), movie_ids(folder)
    return [rng.choice(movies, 5, replace=False, shuffle=False).tolist() for _ in range(n_requests)]


def movie_ids(folder: Path) -> np.ndarray:
    """Return the ids of the catalogue, rising."""
    return pq.read_table(folder / "movies", columns=["movie_id"]).column(0).to_numpy()


def timed(action: Callable) -> float:
    """Return the seconds that the action takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def write_release(folder: Path, n_movies: int, k: int) -> None:
    """Write the tables of a release. Popularity falls off as a power law, and the better known a movie, the more lists
    it stands in; ids rise with gaps."""
    rng = np.random.default_rng(7)
    ids = np.cumsum(rng.integers(1, 4, n_movies)).astype(np.int32)
    by_popularity = rng.permutation(ids)  # best-known first
    n_ratings = np.maximum(5, 3e5 * np.arange(1, n_movies + 1) ** -0.9).astype(np.int32)
    write_table(folder, "movies", movies(rng, ids, n_ratings[np.argsort(by_popularity)]))
    write_table(folder, "item_factors", item_factors(rng, ids))
    write_table(folder, "popularity", popularity(by_popularity, n_ratings))
    write_table(folder, "rejected", pa.table({name: [] for name in schemas.names("rejected")}))
    for part, begin in enumerate(range(0, n_movies, BLOCK)):
        write_table(folder, "neighbours", neighbours(rng, ids[begin : begin + BLOCK], by_popularity, k), part)


def movies(rng: np.random.Generator, ids: np.ndarray, n_ratings: np.ndarray) -> pa.Table:
    """Return the movies table: titles of one to five words, one to three genres."""
    n = len(ids)
    picks, lengths, years = rng.integers(0, len(WORDS), (n, 5)), rng.integers(1, 6, n), rng.integers(1920, 2026, n)
    titles = [" ".join(WORDS[w] for w in row[:m]).title() for row, m in zip(picks, lengths, strict=True)]
    drawn, many = rng.integers(0, len(GENRES), (n, 3)), rng.integers(1, 4, n)
    genres = [sorted({GENRES[g] for g in row[:m]}) for row, m in zip(drawn, many, strict=True)]
    raw = [f"{title} ({year})" for title, year in zip(titles, years, strict=True)]
    imdb_ids = [f"tt{movie:07d}" for movie in ids]
    stars, item_ids = rng.uniform(2, 4.5, n), [str(movie) for movie in ids]
    columns = [ids, titles, years, genres, imdb_ids, ids, n_ratings, stars, raw, item_ids]
    columns += [["movie"] * n, rng.integers(60, 180, n), genres, rng.uniform(1, 10, n), n_ratings]
    return pa.table(columns, schemas.names("movies"))


def item_factors(rng: np.random.Generator, ids: np.ndarray) -> pa.Table:
    """Return the item_factors table."""
    flat = rng.standard_normal(len(ids) * RANK, dtype=np.float32)
    factors = pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, RANK, dtype=np.int32), flat)
    return pa.table([ids, factors], schemas.names("item_factors"))


def popularity(by_popularity: np.ndarray, n_ratings: np.ndarray) -> pa.Table:
    """Return the popularity table: up to 200 movies for all and for each genre."""
    genres = ["*", *GENRES]
    width = min(200, len(by_popularity) // len(genres))
    places = np.concatenate([np.arange(width) * max(step, 1) for step in range(len(genres))])
    ranks = np.tile(np.arange(1, width + 1), len(genres))
    columns = [np.repeat(genres, width), by_popularity[places], ranks, n_ratings[places] / n_ratings[0] / 2]
    return pa.table(columns, schemas.names("popularity"))


def neighbours(rng: np.random.Generator, ids: np.ndarray, by_popularity: np.ndarray, k: int) -> pa.Table:
    """Return the lists of some movies: k distinct others each, one from every stratum of popularity; strata widen."""
    n, strata = len(ids), np.arange(k + 1)
    depth = ((strata + rng.random((n, k + 1))) / (k + 1)) ** 3  # 0 to 1, rising
    lists = by_popularity[strata + ((len(by_popularity) - k - 1) * depth).astype(int)]
    # One too many were drawn: the movie itself goes, or else the least popular.
    own = np.argmax(np.hstack([lists[:, :-1] == ids[:, None], np.ones((n, 1), bool)]), axis=1)
    lists = lists[strata != own[:, None]].reshape(n, k)
    lists = np.take_along_axis(lists, np.argsort(rng.random((n, k), dtype=np.float32), axis=1), axis=1)
    ranks = np.arange(1, k + 1)
    similarities = rng.uniform(0.05, 0.9, (n, 1)) * ranks**-0.5
    columns = [np.repeat(ids, k), lists.ravel(), np.tile(ranks, n), *[similarities.ravel()] * 2]
    return pa.table(columns, schemas.names("neighbours"))


def write_table(folder: Path, name: str, rows: pa.Table, part: int = 0) -> None:
    """Write rows as a file of a table, in row groups as small as the pipeline's."""
    schema = pa.schema([(column.name, ARROW[column.type]) for column in schemas.TABLES[name]])
    (folder / name).mkdir(exist_ok=True)
    path = folder / name / f"part-{part:05}.zstd.parquet"
    pq.write_table(rows.cast(schema), path, row_group_size=ROWS.get(name, 8192), compression="zstd")


def over_parquet(release: Path, *, popularity_weight: float) -> duckdb.DuckDBPyConnection:
    """Return a database in memory that reads the release's Parquet files at each query, with the ranking.

    Slower than serving.duckdb, with the same answers. search_movies is not there.
    """
    bounds = {name: database.READER[name] for name in ("threads", "memory_limit")}
    connection = duckdb.connect(config=bounds)
    connection.execute("set parquet_metadata_cache = true")  # a published file does not change
    for name in ("movies", "neighbours", "popularity"):
        files = sql.quoted(str(release / name / "*.parquet"))
        connection.execute(f"create view {name} as from read_parquet({files})")
    sql.define_macros(connection, [*sql.RANKING, "ids", "similar"], popularity_weight)
    return connection


if __name__ == "__main__":
    main()
