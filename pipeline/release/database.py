"""serving.duckdb: made from a release's Parquet tables, held to the gates, and opened for reading."""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb

from pipeline import schemas, sql
from pipeline.config import PipelineError, RefusedError

DATABASE = "serving.duckdb"
SPILL = ".spill-"  # how the name of a folder begins that a build writes to what does not fit into memory
MAY_BE_MISSING = ("catalogue_map", "metrics")  # left out on purpose: the release then has them without rows
SETTINGS = {  # macros that return numbers of the configuration, and what they are
    "popularity_weight": "How much does popularity count beside the lists?",
    "bound": "What do the gates of this name hold the tables to?",
}
VIEWS = ["lists", "hubs", "mutual_pairs", "popular", "film_genres"]
Config = dict[str, str | bool | int | float | list[str]]  # what duckdb.connect takes
# What a build may take. The gates need the most: they group all neighbours, and go to disk for what does not fit.
BUILDER: Config = {"autoinstall_known_extensions": False, "memory_limit": "2GB"}
# What a reader's connection may do: look at this one file, and nothing else.
READER: Config = {
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "temp_directory": "",  # what does not fit in memory fails: a published release gets no files
    "memory_limit": "1GB",  # what is read stays in memory: a million lists of 100 take 0.7 GB
    "threads": 1,  # one query is too small to be shared out; every client brings a thread of its own
    "max_execution_time": 30_000,  # milliseconds; what a visitor asks takes some
    "lock_configuration": True,
}


class Gate(NamedTuple):
    """What one gate asks, and the first few problems that it found. name: of its file below pipeline/sql/gates."""

    name: str
    question: str
    found: list[str]


def connect(release: Path) -> duckdb.DuckDBPyConnection:
    """Open the release's database for reading: no files, no network, no extensions, bounds on memory and time.

    One connection may be shared by threads when each call uses its own cursor().
    Raises PipelineError if the database is missing or damaged.
    """
    try:
        return duckdb.connect(str(release / DATABASE), read_only=True, config=READER)
    except duckdb.Error as error:
        raise PipelineError(
            f"{release / DATABASE}: cannot be opened ({str(error).splitlines()[0]}); "
            "go back with `python -m pipeline rollback`, or run ./spark-submit.sh"
        ) from error


def build_database(
    release: Path,
    *,
    popularity_weight: float,
    bounds: dict[str, float],
    skip: Collection[str] = (),
    live: Path | None = None,
) -> dict[str, dict[str, int]]:
    """Make serving.duckdb from the release's Parquet tables, run the gates on it, and return rows, bytes, files.

    popularity_weight: what listed.sql counts popularity with. bounds: what the gates read with bound(). skip, live: see
    run_gates(). Takes no more memory than BUILDER allows, and disk in the release's folder while it runs.
    Raises PipelineError on the first problem.
    """
    database = release / DATABASE
    for leftover in (database, database.with_name(f"{DATABASE}.wal")):
        leftover.unlink(missing_ok=True)
    for leftover in release.glob(f"{SPILL}*"):
        shutil.rmtree(leftover)
    sizes = {}
    with (
        tempfile.TemporaryDirectory(prefix=SPILL, dir=release) as spill,
        duckdb.connect(str(database), config={**BUILDER, "temp_directory": spill}) as connection,
    ):
        connection.execute("set enable_progress_bar = false")
        for table in schemas.TABLES:
            files = parquet_files(release / table)
            if not files and table in MAY_BE_MISSING:
                _write_empty(connection, release, table)
                files = parquet_files(release / table)
            sizes[table] = _load(connection, table, files)
        # Titles are looked up by id; the lists need no index, since a lookup skips all row groups but their own.
        connection.execute("create index movies_by_id on movies (movie_id)")
        sql.define_macros(connection, sql.MACROS, popularity_weight)
        for view in VIEWS:
            connection.execute(sql.statement(f"views/{view}"))
        cases = " ".join(f"when {sql.quoted(name)} then {float(value)!r}::double" for name, value in bounds.items())
        connection.execute(f"create macro bound(name) as case name {cases} end")
        _comment(connection)
        run_gates(connection, release, skip=skip, live=live)
        # Closing also writes what is left, but does not report a full disk.
        connection.execute("checkpoint")
    return sizes


def run_gates(
    connection: duckdb.DuckDBPyConnection, release: Path, *, skip: Collection[str] = (), live: Path | None = None
) -> None:
    """Hold the tables to the gates. Raises RefusedError on the first gate that finds something.

    skip: names of gates in gates/bounds to skip. live: folder of the release that gates/bounds/live_*.sql compare with,
    None to skip these gates.
    """
    if live:
        connection.execute(f"attach {sql.quoted(str(live / DATABASE))} as live (read_only)")
    for gate in ask_gates(connection, skip=skip, live=live is not None):
        if gate.found:
            found = "; ".join(gate.found)
            text = f"not published, gate {gate.name}.sql asks: {gate.question} It found: {found} ({release})"
            fix = "to make every table again: ./spark-submit.sh jobs/run_pipeline.py --fresh"
            if gate.name.startswith("bounds/"):
                fix = f"to publish all the same: --set 'gates.skip=[{gate.name.removeprefix('bounds/')}]'"
            raise RefusedError(f"{text}; {fix}")
    if live:
        connection.execute("detach live")


def ask_gates(connection: duckdb.DuckDBPyConnection, *, skip: Collection[str] = (), live: bool) -> Iterator[Gate]:
    """Ask the gates of pipeline/sql/gates about a release's database, and yield what each finds.

    skip: see run_gates(); live: whether the live release is attached as live.
    """
    bounds = [name for name in bounded_gates() if name not in skip and (live or not name.startswith("live_"))]
    names = [name for name in sql.names("gates") if name != "weights" or has_weights(connection)]
    for name in [*names, *(f"bounds/{name}" for name in bounds)]:
        statement = sql.statement(f"gates/{name}")
        problems = connection.execute(f"from ({statement.rstrip().rstrip(';')}) limit 3").fetchall()
        # format() of a null is null
        yield Gate(name, statement.splitlines()[0].removeprefix("-- "), [text or "a null" for (text,) in problems])


def gates_of(release: Path, *, live: Path | None) -> list[Gate]:
    """Return what every gate finds in a release, published or refused; live: see run_gates().

    The release may come from anywhere: nothing but these databases can be read. Raises PipelineError if they cannot be
    opened, or are from before releases kept their bounds.
    """
    try:
        with (
            tempfile.TemporaryDirectory() as spill,
            duckdb.connect(config={**BUILDER, "temp_directory": spill}) as connection,
        ):
            for name, folder in {"asked": release, "live": live}.items():
                if folder:
                    connection.execute(f"attach {sql.quoted(str(folder / DATABASE))} as {name} (read_only)")
            connection.execute("use asked")
            connection.execute("set enable_external_access = false")
            return list(ask_gates(connection, live=live is not None))
    except duckdb.Error as error:
        raise PipelineError(
            f"{release / DATABASE}: the gates cannot be asked ({str(error).splitlines()[0]}); "
            "ask about another release: python -m pipeline gates RELEASE_ID"
        ) from error


def has_weights(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether a release's neighbours have weights. Before version 0.9.0 the similarity was the weight."""
    described = connection.execute("describe neighbours").fetchall()
    return any(name == "weight" for name, *_ in described)


def bounded_gates() -> list[str]:
    """Return the names of the gates that gates.skip may name."""
    return sql.names("gates/bounds")


def differences(release: Path, tables: Collection[str]) -> list[str]:
    """Return those of the tables that do not hold the same rows in serving.duckdb as in the Parquet files.

    The release may come from anywhere: nothing outside its folder can be read, and nothing written.
    Raises PipelineError if the database cannot be opened, and for names that are no tables of a release.
    """
    if unknown := sorted(set(tables).difference(schemas.TABLES)):
        raise PipelineError(f"{release}: {unknown[0]!r:.100} is no table of a release")
    differ = []
    config: Config = {"autoload_known_extensions": False, "temp_directory": "", **BUILDER}
    with duckdb.connect(config=config) as connection:
        connection.execute("set enable_progress_bar = false")
        try:
            connection.execute(f"attach {sql.quoted(str(release / DATABASE))} as serving (read_only)")
        except duckdb.Error as error:
            raise PipelineError(
                f"{release / DATABASE}: cannot be opened ({str(error).splitlines()[0]}); "
                "find a whole release with python -m pipeline releases --verify"
            ) from error
        connection.execute(f"set allowed_directories = [{sql.quoted(str(release.resolve()))}]")
        connection.execute("set enable_external_access = false")
        for table in tables:
            rows = "select count(*), bit_xor(hash(t)), sum(hash(t)::hugeint) from {} as t"
            try:
                files = [str(path) for path in parquet_files(release.resolve() / table)]
                stored = connection.execute(rows.format(f"serving.{table}")).fetchall()
                recorded = connection.execute(rows.format("read_parquet(?)"), [files]).fetchall()
                same = stored == recorded
            except (OSError, duckdb.Error):
                same = False
            if not same:
                differ.append(table)
    return differ


def parquet_files(folder: Path) -> list[Path]:
    """Return a table's files in order; none if the folder is missing.

    Raises OSError if the folder cannot be listed; Path.glob would not.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".parquet")
    except FileNotFoundError:
        return []


def _comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Say in the database itself what its tables, views, columns and macros are."""
    for table, columns in {**schemas.TABLES, **schemas.DERIVED}.items():
        kind = "view" if table in VIEWS else "table"
        connection.execute(f"comment on {kind} {table} is {sql.quoted(f'one row per {schemas.ROWS[table]}')}")
        for column in columns:
            unit = f" [{schemas.UNITS[column.name]}]" if column.name in schemas.UNITS else ""
            connection.execute(f"comment on column {table}.{column.name} is {sql.quoted(column.meaning + unit)}")
    own = "select function_name, function_type from duckdb_functions() where database_name = current_database()"
    for name, kind in connection.execute(f"{own} and not internal").fetchall():
        text = SETTINGS[name] if name in SETTINGS else sql.header(sql.statement(name))
        table = "table " if kind == "table_macro" else ""
        connection.execute(f'comment on macro {table}"{name}" is {sql.quoted(text)}')


def _load(connection: duckdb.DuckDBPyConnection, table: str, files: list[Path]) -> dict[str, int]:
    """Copy a Parquet table into the database, in the order of its first column, neighbours by movie_id and rank."""
    if not files:
        raise PipelineError(f"not published: table {table} has no Parquet files")
    paths = [str(path) for path in files]
    order = {"neighbours": "movie_id, rank"}.get(table, schemas.names(table)[0])
    try:
        described = connection.execute("describe from read_parquet(?)", [paths]).fetchall()
        found = [row[:2] for row in described]
        if found != schemas.duckdb_schema(table):
            wanted = schemas.duckdb_schema(table)
            raise PipelineError(f"not published: table {table} has columns {found}, not {wanted}")
        # Spark writes its files in order: sorting a hundred million rows again would be most of the work.
        connection.execute(f"create table {table} as from read_parquet(?)", [paths])
        if not _in_order(connection, table, order):
            connection.execute(f"create or replace table {table} as from read_parquet(?) order by {order}", [paths])
    except duckdb.Error as error:
        raise PipelineError(f"not published: table {table} cannot be read ({str(error).splitlines()[0]})") from error
    rows = connection.execute(f"select count(*) from {table}").fetchall()[0][0]
    promised = connection.execute("select sum(num_rows) from parquet_file_metadata(?)", [paths]).fetchall()[0][0]
    if rows != promised:
        raise PipelineError(f"not published: table {table} has {rows} rows, its Parquet files promise {promised}")
    return {"rows": rows, "bytes": sum(path.stat().st_size for path in files), "files": len(files)}


def _in_order(connection: duckdb.DuckDBPyConnection, table: str, order: str) -> bool:
    """Return whether the table's rows lie in this order. One pass; lag() without an order sees rows as they lie."""
    row = f"row({order})"
    falls = f"select 1 from (select {row} < lag({row}) over () as falls from {table}) where falls limit 1"
    return not connection.execute(falls).fetchall()


def _write_empty(connection: duckdb.DuckDBPyConnection, release: Path, table: str) -> None:
    (release / table).mkdir(exist_ok=True)
    columns = ", ".join(f"null::{type_} as {name}" for name, type_ in schemas.duckdb_schema(table))
    target = sql.quoted(str(release / table / "part-00000.zstd.parquet"))
    connection.execute(f"copy (select {columns} where false) to {target} (format parquet, compression zstd)")
