"""The SQL of the project: one statement per file, read and defined here.

Questions, gates, views and examples belong here; never text that is put together from values.
"""

import importlib.resources
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

FOLDER = importlib.resources.files("pipeline.sql")
# Statements run in this order on a database that holds the tables.
RANKING = ["listed", "candidates", "ranked", "eligible", "steered", "recommend"]
MACROS = [*RANKING, "ids", "similar", "search_words", "search_key", "search_names", "search_likeness", "search_movies"]


def statement(name: str) -> str:
    """Return the statement of pipeline/sql/<name>.sql."""
    return FOLDER.joinpath(f"{name}.sql").read_text(encoding="utf-8")


def names(folder: str) -> list[str]:
    """Return the names of the statements in a folder of pipeline/sql, sorted."""
    files = (path.name for path in FOLDER.joinpath(folder).iterdir())
    return sorted(name.removesuffix(".sql") for name in files if name.endswith(".sql"))


def header(statement: str) -> str:
    """Return the comments above a statement."""
    lines = itertools.takewhile(lambda line: line.startswith("--"), statement.splitlines())
    return "\n".join(line[2:].removeprefix(" ") for line in lines)


def define_macros(connection: "duckdb.DuckDBPyConnection", names: list[str], popularity_weight: float) -> None:
    """Define the macros of pipeline/sql on a database that holds the tables."""
    connection.execute(f"create or replace macro popularity_weight() as {float(popularity_weight)!r}::double")
    for name in names:
        connection.execute(statement(name))


def quoted(text: str) -> str:
    """Return text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
