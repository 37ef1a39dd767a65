"""Many requests at once, asked of tables in memory by the ranking that is served: what the evaluation measures."""

import itertools

import duckdb
import numpy as np
import pyarrow as pa

from pipeline import sql

BULK = 500  # requests ranked in one query


def in_memory(tables: dict[str, pa.Table], *, popularity_weight: float) -> duckdb.DuckDBPyConnection:
    """Return a database in memory with the tables movies, neighbours and popularity, and the ranking."""
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register("arriving", table)
        connection.execute(f"create table {name} as from arriving")
        connection.unregister("arriving")
    sql.define_macros(connection, sql.RANKING, popularity_weight)
    return connection


def ranked(
    connection: duckdb.DuckDBPyConnection, favourites: list[np.ndarray], k: int, seen: list[np.ndarray] | None = None
) -> list[np.ndarray]:
    """Return what the ranked macro answers to each request: movie ids int32, best first, at most k.

    seen: movies per request to pass over, as if they were favourites that speak for nothing.
    """
    lists = []
    for begin in range(0, len(favourites), BULK):
        part = [ids.tolist() for ids in favourites[begin : begin + BULK]]
        known = seen[begin : begin + BULK] if seen else [np.empty(0, np.int32)] * len(part)
        query = (
            "select request, movie_id from ranked(?::int[][], k := ?::int) order by request, tier, score desc, movie_id"
        )
        answer = connection.execute(query, [part, k + max(map(len, known))]).fetchnumpy()
        begins = np.searchsorted(answer["request"], np.arange(1, len(part) + 2))
        for (a, b), passed in zip(itertools.pairwise(begins), known, strict=True):
            ids = answer["movie_id"][a:b]
            lists.append(ids[~np.isin(ids, passed)][:k] if len(passed) else ids[:k])
    return lists
