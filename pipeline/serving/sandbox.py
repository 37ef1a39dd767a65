"""The process in which an analyst's statement runs: pipeline/serving/analyst.py starts it, asks once, and ends it.

A script of its own that imports nothing of the pipeline, so that it starts fast and holds nothing worth taking. It
reads one request from its input, {database, statement, rows, bytes, seconds, memory_mb}, and writes one answer, either
{columns, rows, cut} or {error}. What keeps a statement inside, from the outside in:

1. the process: no environment, no file, socket or pipe beyond those open before the statement came, no writing to
   files, bounds on address space and on processor time; the parent ends it when the time is up
2. DuckDB: the file opened for reading only, no access to other files, no extensions, its settings locked
3. the statement: exactly one, a query, that names no tables and table functions but the release's and a few of
   DuckDB's; what would show settings or paths is refused
"""

import contextlib
import ctypes
import datetime
import decimal
import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

import duckdb

# Table functions of DuckDB that a query may name. All others stay out: those that read files, those that run SQL in a
# text (query, query_table and what is built on them), those that take a pointer (arrow_scan, pandas_scan), and those
# that show settings and paths.
TABLE_FUNCTIONS = {
    "unnest", "range", "generate_series", "repeat", "json_each", "json_tree",
    "duckdb_columns", "duckdb_functions", "duckdb_tables", "pragma_table_info",
}  # fmt: skip
# Views of DuckDB that a query may name: information_schema.columns and tables, and what describes the release.
OPEN_VIEWS = {"columns", "tables", "duckdb_columns", "duckdb_tables"}
# Functions in an expression that show settings, write, or read raw bytes as the state of an aggregate.
REFUSED_FUNCTIONS = {
    "getenv", "current_setting", "getvariable", "write_log", "nextval", "currval", "setval", "setseed",
    "finalize", "combine", "combine_aggr", "to_aggregate_state",
}  # fmt: skip
QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
# Stands in front of the table of that name, whose files are where the server keeps them; require_query() guards it.
REJECTED = "create temp view rejected as select * replace (parse_filename(file) as file) from serving.main.rejected"
# What Python loads when a value of the kind is first fetched: afterwards no file can be opened.
KINDS = """
    select now(), current_date, localtime, localtimestamp, uuid(), 1.5, interval 1 day, 'x'::blob, {'a': [1]},
    map {1: 2}, '12:00:00+01'::timetz, '101'::bit, 'nan'::double, 1::hugeint
"""


class NotAllowedError(Exception):
    """A statement that does not run; the message says why, in one line."""


def main() -> None:
    """Answer the one request on standard input."""
    request = json.load(sys.stdin)
    try:
        answer = run(request)
    except NotAllowedError as error:
        answer = {"error": str(error)}
    except (MemoryError, duckdb.OutOfMemoryException):
        answer = {"error": f"it needs more than the {request['memory_mb']} MB of memory that a query may use"}
    except duckdb.InterruptException:
        answer = {"error": f"it took longer than {request['seconds']} s and was stopped"}
    except duckdb.Error as error:
        answer = {"error": message_alone(str(error))}
    except (ValueError, OverflowError, RecursionError):
        answer = {"error": "it holds a value that is too large or too deep"}
    json.dump(answer, sys.stdout)


def run(request: dict) -> dict:
    """Open the database, close everything else, and run the statement. Raises NotAllowedError and duckdb.Error."""
    connection = open_database(request["database"], request["seconds"], request["memory_mb"])
    connection.execute(KINDS).fetchall()
    shut(request["seconds"], request["memory_mb"])
    require_query(connection, request["statement"])
    cursor = connection.execute(request["statement"])
    columns = [column[0] for column in cursor.description]
    single = [str(column[1]).startswith("FLOAT") for column in cursor.description]
    rows: list[list] = []
    size = 0
    while part := cursor.fetchmany(100):
        for row in part:
            values = [as_json(value, short) for value, short in zip(row, single, strict=True)]
            size += len(json.dumps(values))
            if len(rows) == request["rows"] or size > request["bytes"]:
                if not rows:
                    raise NotAllowedError(f"its first row takes more than {request['bytes'] // 2**20} MB")
                return {"columns": columns, "rows": rows, "cut": True}
            rows.append(values)
    return {"columns": columns, "rows": rows, "cut": False}


def open_database(database: str, seconds: int, memory_mb: int) -> duckdb.DuckDBPyConnection:
    """Open the database so that a statement can read it, and do nothing else."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": False,
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,  # a table's name is never a variable of this script
        "temp_directory": "",  # what does not fit in memory fails; it does not go to disk
        "memory_limit": f"{memory_mb}MB",
        "threads": 1,
        "max_execution_time": seconds * 1000,
        "lock_configuration": True,
    }
    connection = duckdb.connect(database, read_only=True, config=config)
    connection.execute(REJECTED)
    return connection


def shut(seconds: int, memory_mb: int) -> None:
    """Bound what the process may still take. The open files stay open; none can be opened from here on."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds + 5, seconds + 5))
    with contextlib.suppress(OSError):  # only Linux says how much is in use, and only there the bound has an effect
        with open("/proc/self/statm") as file:
            in_use = int(file.read().split()[0]) * resource.getpagesize()
        # DuckDB counts its buffers only: strings and lists on their way through a function come on top.
        limit = in_use + 2 * memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def require_query(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Refuse what is not one query over the release's own tables and macros, judging by DuckDB's own parser."""
    statements = connection.extract_statements(statement)
    if len(statements) != 1:
        raise NotAllowedError(f"one statement at a time; this is {len(statements) or 'none'}")
    kind = statements[0].type.name.lower()
    if kind != "select":
        hint = "; pivot needs its columns named: on x in (...)" if kind == "multi" else ""
        raise NotAllowedError(
            f"only queries run here (select, from, with, values, describe, summarize), not {kind}{hint}"
        )
    tree = json.loads(connection.execute("select json_serialize_sql(?::varchar)", [statement]).fetchall()[0][0])
    if tree["error"]:
        raise NotAllowedError(message_alone(tree["error_message"]))

    own = "from {}() where database_name = current_database() and not internal"
    tables = lower_names(connection, f"select table_name {own.format('duckdb_tables')}")
    tables |= lower_names(connection, f"select view_name {own.format('duckdb_views')}")
    functions = own.format("duckdb_functions") + " and function_type = 'table_macro'"
    macros = lower_names(connection, f"select function_name {functions}")
    hidden = lower_names(connection, "select view_name from duckdb_views() where internal") - OPEN_VIEWS
    nodes = list(walk(tree))
    known = (
        tables
        | OPEN_VIEWS
        | {entry["key"].lower() for node in nodes for entry in node.get("map", ()) if "key" in entry}
    )
    for node in nodes:
        if is_table(node) and (last_name(node) not in known or last_name(node) in hidden):
            raise NotAllowedError(f"no table {last_name(node)} here; there are {', '.join(sorted(tables))}")
        if is_table(node) and last_name(node) == "rejected" and len(node["qualified_name"]["path"]) > 1:
            raise NotAllowedError("rejected cannot be read under a longer name")
        if node.get("type") == "TABLE_FUNCTION" and last_name(node["function"]) not in macros | TABLE_FUNCTIONS:
            name = last_name(node["function"])
            raise NotAllowedError(f"{name}() cannot be read from here; there are {', '.join(sorted(macros))}")
        if str(node.get("type")).endswith("_NODE") and node["type"] not in QUERY_NODES:
            raise NotAllowedError("only queries run here, without a part that changes anything")
        if node.get("class") in ("FUNCTION", "WINDOW") and last_name(node) in REFUSED_FUNCTIONS:
            raise NotAllowedError(f"{last_name(node)}() cannot be called here")


def is_table(node: dict) -> bool:
    """Return whether the node of a parsed statement names a table, as `describe x` and `show x` also do."""
    if node.get("type") == "SHOW_REF":
        return node["show_type"] != "SHOW_SPECIAL" and not node["query"]  # SHOW_SPECIAL: show tables, show databases
    return node.get("type") == "BASE_TABLE"


def last_name(node: dict) -> str:
    """Return the name that a node refers to, without database and schema, in lower case."""
    return node["qualified_name"]["path"][-1].lower()


def lower_names(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    """Return the names that the query finds, in lower case."""
    return {name.lower() for (name,) in connection.execute(query).fetchall()}


def walk(node: Any) -> Iterator[dict]:
    """Yield every dict in a tree of dicts and lists."""
    if isinstance(node, dict):
        yield node
        node = node.values()
    if not isinstance(node, str):
        with contextlib.suppress(TypeError):  # a number, true or null
            for child in node:
                yield from walk(child)


def as_json(value: object, single: bool = False) -> object:
    """Return the value in JSON's types: decimals as numbers, dates and what else is no number or list as text.

    single: floats have 32 bits, and get the fewest digits that say which.
    """
    if single and isinstance(value, float):
        wanted = ctypes.c_float(value).value
        return next(
            (short for n in (6, 7, 8) if ctypes.c_float(short := float(f"{value:.{n}g}")).value == wanted), value
        )
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(as_json(key)): as_json(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(child, single) for child in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    return value.hex() if isinstance(value, bytes) else str(value)


def message_alone(message: str) -> str:
    """Return DuckDB's message without the quoted statement and the advice on settings below it."""
    lines = []
    for line in message.splitlines():
        if line.startswith("LINE ") or not line.strip():
            break
        lines.append(line.strip())
    return " ".join(lines)


if __name__ == "__main__":
    main()
