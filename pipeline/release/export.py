"""The lists of a release as one file for a service of one's own: Parquet, JSON lines, CSV, SQLite, or for Redis."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb

from pipeline import sql
from pipeline.config import PipelineError
from pipeline.files import replacing
from pipeline.release import database

LISTS_PER_BATCH = 1000  # lists in memory
ALL = 2**31 - 1  # neighbours: more than any list has
# What the forms take from pipeline/sql/exported.sql.
NESTED = "from exported"
FLAT = """
    select
        movie_id, title, year, rank, n.movie_id as neighbour_id, n.title as neighbour_title, n.year as neighbour_year,
        n.similarity as similarity, item_id, n.item_id as neighbour_item_id, n.weight as weight
    from (select *, unnest(neighbours) as n, generate_subscripts(neighbours, 1)::smallint as rank from exported)
"""
# By way of text a float gets the fewest digits that say which it is.
JSON = """
    select movie_id, item_id, title, year, list_transform(neighbours, lambda n: {
        movie_id: n.movie_id, item_id: n.item_id, title: n.title, year: n.year,
        similarity: n.similarity::varchar::double, weight: n.weight::varchar::double
    }) as neighbours
    from exported
"""
WITH_JSON = f"select * replace (to_json(neighbours)::varchar as neighbours) from ({JSON})"
DOCUMENTS = f"select item_id, to_json(list)::varchar from ({JSON}) as list"
TABLE = (
    "create table lists (movie_id integer primary key, item_id text unique, title text, year integer, neighbours text)"
)
Batches = Iterator[duckdb.DuckDBPyRelation]


class Written(NamedTuple):
    """How many lists were written, and the size of the file."""

    n_lists: int
    n_bytes: int


def export(release: Path, path: Path, k: int | None = None) -> Written:
    """Write the release's lists, in order of movie_id, to a file in the form that its ending names, see FORMS.

    k: neighbours per list, None for all. Holds LISTS_PER_BATCH lists in memory. A reader sees the old
    file or the new one, whole; after a failure, the old one.
    Raises PipelineError when the ending is unknown, k is below 1, or the file cannot be written.
    """
    if path.suffix not in FORMS:
        raise PipelineError(f"{path}: the name's ending chooses the form; give one of {', '.join(FORMS)}")
    if k is not None and k < 1:
        raise PipelineError(f"-k {k}: a list has at least one neighbour")
    if path.is_dir():
        raise PipelineError(f"{path}: this is a folder; name a file in it")
    if not path.parent.is_dir():
        raise PipelineError(f"{path.parent}: no such folder; make it, or give another --to FILE")
    columns, write = FORMS[path.suffix]
    try:
        with replacing(path) as new, database.connect(release) as connection:
            ids = connection.cursor().execute("select distinct movie_id from neighbours order by all").fetchall()
            write(new, _batches(connection, [movie for (movie,) in ids], columns, k or ALL))
            size = new.stat().st_size
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise PipelineError(f"{path}: not written, nothing was changed ({reason}); give another --to FILE") from error
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(
            f"{release}: cannot be read ({reason}); see python -m pipeline releases --verify"
        ) from error
    return Written(len(ids), size)


def _batches(connection: duckdb.DuckDBPyConnection, ids: list[int], columns: str, k: int) -> Batches:
    """Yield queries, each for the columns of the next LISTS_PER_BATCH lists."""
    # Before releases had weights, the similarity was what a neighbour counted.
    weights = "*" if database.has_weights(connection) else "*, similarity as weight"
    lists = sql.statement("exported").rstrip().rstrip(";")
    statement = f"with neighbours as (select {weights} from main.neighbours), exported as ({lists}) {columns}"
    for begin in range(0, len(ids), LISTS_PER_BATCH):
        part = ids[begin : begin + LISTS_PER_BATCH]
        yield connection.cursor().sql(statement, params=[part[0], part[-1], k])


def _parquet(path: Path, batches: Batches) -> None:
    from pyarrow.parquet import ParquetWriter  # slow to import, and other commands do without

    first = next(batches).to_arrow_table()
    with ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for batch in batches:
            writer.write_table(batch.to_arrow_table())


def _csv(path: Path, batches: Batches) -> None:
    from pyarrow.csv import CSVWriter

    first = next(batches).to_arrow_table()
    with CSVWriter(path, first.schema) as writer:
        writer.write_table(first)
        for batch in batches:
            writer.write_table(batch.to_arrow_table())


def _jsonl(path: Path, batches: Batches) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for batch in batches:
            file.writelines(f"{document}\n" for _, document in batch.fetchall())


def _sqlite(path: Path, batches: Batches) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma journal_mode = off")  # a file that is not whole is thrown away
        connection.execute(TABLE)
        for batch in batches:
            connection.executemany("insert into lists values (?, ?, ?, ?, ?)", batch.fetchall())


def _redis(path: Path, batches: Batches) -> None:
    """Write SET neighbours:<item_id> <JSON> per list, in the protocol that `redis-cli --pipe` sends on as it is."""
    with open(path, "wb") as file:
        for batch in batches:
            for item_id, document in batch.fetchall():
                words = [b"SET", f"neighbours:{item_id}".encode(), document.encode()]
                file.write(b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))


FORMS = {
    ".parquet": (NESTED, _parquet),
    ".jsonl": (DOCUMENTS, _jsonl),
    ".csv": (FLAT, _csv),
    ".sqlite": (WITH_JSON, _sqlite),
    ".resp": (DOCUMENTS, _redis),
}
