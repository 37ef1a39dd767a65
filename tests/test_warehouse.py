"""The warehouse for analysts: views and comments in serving.duckdb, the page that explains them, files to export."""

import pytest

from pipeline import release, schemas, serving


@pytest.fixture(scope="module")
def folder(warehouse):
    return release.release_dir(warehouse)


@pytest.fixture(scope="module")
def connection(folder):
    with serving.connect(folder) as connection:
        yield connection


def test_views_show_titles_and_what_lists_have_in_common(connection):
    def rows(query):
        return connection.execute(query).fetchall()

    assert rows("from lists where movie_id = 1 and rank < 3 order by rank") == [
        (1, "Toy Story", 1995, 1, 2, "Toy Story 2", 1999, 0.75),
        (1, "Toy Story", 1995, 2, 6, "Amélie (Le Fabuleux destin)", 2001, 0.25),
    ]
    assert rows("select count(*), count(distinct (movie_id, rank)) from lists") == [(9, 9)]
    hubs = "select movie_id, on_lists, at_the_top, list_length from hubs order by on_lists desc, movie_id"
    assert rows(hubs)[:4] == [(1, 2, 0, 4), (5, 2, 1, 2), (6, 2, 0, 0), (2, 1, 1, 0)] and len(rows(hubs)) == 10
    pairs = "select movie_id, neighbour_id, rank, rank_back, similarity from mutual_pairs order by all"
    assert rows(pairs) == [(1, 5, 3, 2, 0.125), (3, 5, 1, 1, 0.375)]
    assert rows("from popular where genre = 'Comedy' order by rank") == [
        ("Comedy", 1, 1, "Toy Story", 1995, 0.75),
        ("Comedy", 2, 6, "Amélie (Le Fabuleux destin)", 2001, 0.5),
    ]
    assert rows("select genre, mean(n_ratings) from film_genres where movie_id in (1, 10) group by all order by 1") == [
        ("Animation", 200.0),
        ("Comedy", 200.0),
    ]


def test_everything_in_the_database_says_what_it_is(connection):
    for what in ("tables", "views", "columns", "functions"):
        found = connection.execute(f"select * from duckdb_{what}() where not internal")
        columns = [column[0] for column in found.description]
        rows = [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
        assert rows and not [row for row in rows if not row["comment"]]
    comment = "select comment from duckdb_columns() where table_name = 'movies' and column_name = 'mean_rating'"
    assert connection.execute(comment).fetchall()[0][0].endswith("null without any [stars]")


def test_tables_and_views_are_those_that_are_described(connection):
    found = connection.execute("select table_name from duckdb_tables() union all "
                               "select view_name from duckdb_views() where not internal").fetchall()  # fmt: skip
    described = {**schemas.TABLES, **schemas.DERIVED}
    assert sorted(name for (name,) in found) == sorted(described) == sorted(schemas.ROWS)
    for table in described:
        types = [row[:2] for row in connection.execute(f"describe {table}").fetchall()]
        assert types == schemas.duckdb_schema(table)
    assert {column.name for columns in described.values() for column in columns} >= set(schemas.UNITS)
