"""The warehouse for analysts: views and comments in serving.duckdb, the page that explains them, files to export."""

import csv
import importlib.util
import json
import multiprocessing
import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakeredis import TcpFakeServer

from pipeline import schemas
from pipeline.__main__ import main
from pipeline.config import PipelineError
from pipeline.release import database, export, store
from pipeline.serving import analyst
from tests.conftest import MOVIES, NEIGHBOURS, ROOT, publish

PAGE = (ROOT / "docs" / "warehouse.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(warehouse):
    return store.release_dir(warehouse)


@pytest.fixture(scope="module")
def connection(folder):
    with database.connect(folder) as connection:
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


def test_the_page_has_every_column_and_every_question():
    spec = importlib.util.spec_from_file_location("make_warehouse", ROOT / "docs" / "make_warehouse.py")
    make_warehouse = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_warehouse)
    mend = ".venv/bin/python docs/make_warehouse.py"
    assert make_warehouse.filled(PAGE, "tables", make_warehouse.tables()) == PAGE, f"{mend} --tables"
    asked = re.findall(r"### \d+\. ([^\n]*)\n\n```sql\n(.*?)\n```\n\n\|", PAGE, re.S)
    assert asked == [tuple(example) for example in analyst.examples()], mend


@pytest.fixture
def project(tmp_path, warehouse, monkeypatch):
    """A folder with what the page's snippets read, to run them in."""
    shutil.copytree(warehouse, tmp_path / "warehouse")  # a file that is open is not opened again in another way
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_snippets_in_python_give_the_answer_of_duckdb(project, connection, spark):
    statement = (ROOT / "pipeline" / "sql" / "examples" / "4_hubs.sql").read_text(encoding="utf-8")
    expected = connection.execute(statement).fetchall()
    assert len(expected) == 6 and expected[1] == ("The Matrix", 1999, 270, 2, 1)
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(snippets) == 4 and "spark.sql" in snippets[1] and "polars" in snippets[3]
    for snippet in snippets:
        namespace = {}
        # Java stays in the folder that it was started in.
        exec(snippet.replace('"warehouse/', f'"{project}/warehouse/'), namespace)
        hubs = namespace["hubs"]
        rows = hubs.rows() if "polars" in snippet else hubs.itertuples(index=False, name=None)
        assert [tuple(row) for row in rows] == expected


def test_an_older_shell_of_duckdb_gives_the_same_answer(project, connection):
    (snippet,) = re.findall(r"```sh\n(live=.*?)```", PAGE, re.S)
    (project / ".duckdbrc").write_text(".mode csv\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-ec", snippet], env={"PATH": path, "HOME": str(project)}, capture_output=True,
                          check=True, text=True)  # fmt: skip
    expected = connection.execute((ROOT / "pipeline/sql/examples/4_hubs.sql").read_text(encoding="utf-8")).fetchall()
    header, *rows = csv.reader(done.stdout.splitlines())
    assert header[0] == "title" and [tuple(row) for row in rows] == [tuple(map(str, row)) for row in expected]


def test_the_snippet_in_r_gives_the_answer_of_duckdb(project, connection, folder):
    if not shutil.which("Rscript"):
        pytest.skip("R is not installed")
    export.export(folder, project / "lists.csv")
    (snippet,) = re.findall(r"```r\n(.*?)```", PAGE, re.S)
    (project / "hubs.R").write_text(f'{snippet}\nwrite.csv(hubs, "hubs.csv", row.names = FALSE)\n', encoding="utf-8")
    subprocess.run(["Rscript", "hubs.R"], check=True, stdout=subprocess.DEVNULL)
    with open("hubs.csv", encoding="utf-8", newline="") as file:
        _, *lines = csv.reader(file)
    query = (
        "select movie_id, title, year, on_lists, at_the_top from hubs where on_lists > 0 order by on_lists desc, title"
    )
    assert [tuple(line) for line in lines] == [tuple(map(str, row)) for row in connection.execute(query).fetchall()]


# A title that JSON, CSV and Redis' protocol each have to take care of.
ODD = (2, 'A "B", \\ é\r\n$3 \u2028', *MOVIES[1][2:])
CLOSE = [(1, 2, 1, 1 / 3), (1, 6, 2, 0.1), (5, 1, 1, -0.7), (9, 2, 1, 1e-7)]  # 9 has no year


@pytest.fixture(params=[None, 1], ids=["all", "k=1"])
def exported(request, tmp_path, monkeypatch):
    """Export what a release with odd titles holds, two lists at a time; and the rows of neighbours by list."""
    monkeypatch.setattr(export, "LISTS_PER_BATCH", 2)
    k = request.param
    folder = publish(tmp_path / "warehouse", movies=[MOVIES[0], ODD, *MOVIES[2:]], neighbours=CLOSE)

    def exported(name):
        written = export.export(folder, tmp_path / name, k)
        assert written == (3, (tmp_path / name).stat().st_size)
        assert sorted(path.name for path in tmp_path.iterdir()) == [name, "warehouse"]
        return tmp_path / name

    with database.connect(folder) as connection:
        rows = connection.execute("from lists where rank <= ? order by movie_id, rank", [k or 9]).fetchall()
        floats = "select similarity::varchar::double from neighbours where rank <= ? order by movie_id, rank"
        short = [value for (value,) in connection.execute(floats, [k or 9]).fetchall()]
    assert len(rows) == (3 if k else 4)
    return exported, rows, short


item_ids = {row[0]: row[9] for row in (*MOVIES, ODD)}


def flat(documents, similarities):
    """Rows as in the view lists, of documents with nested neighbours; similarities with the digits of 32 bits."""
    names = ("movie_id", "title", "year", "similarity")
    return [
        (document["movie_id"], document["title"], document["year"], rank, *(one[name] for name in names[:3]), value)
        for document in documents
        for rank, one in enumerate(document["neighbours"], 1)
        for value in [next(similarities) if similarities else one["similarity"]]
    ]


def test_parquet_holds_a_list_per_row(exported):
    export_to, rows, _ = exported
    table = pq.read_table(export_to("lists.parquet"))
    assert table.column_names == ["movie_id", "item_id", "title", "year", "neighbours"]
    assert {one["item_id"] for one in table.to_pylist()[0]["neighbours"]} <= {row[9] for row in (*MOVIES, ODD)}
    assert flat(table.to_pylist(), None) == rows


def test_json_has_a_list_per_line(exported):
    export_to, rows, short = exported
    documents = [json.loads(line) for line in export_to("lists.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert flat(documents, None) == [(*row[:-1], value) for row, value in zip(rows, short, strict=True)]


def test_csv_has_a_neighbour_per_line(exported):
    export_to, rows, short = exported
    with open(export_to("lists.csv"), encoding="utf-8", newline="") as file:
        heads, *lines = csv.reader(file)
    assert heads == [*schemas.names("lists"), "item_id", "neighbour_item_id", "weight"]
    assert [tuple(line[:-4]) for line in lines] == [
        tuple("" if value is None else str(value) for value in row[:-1]) for row in rows
    ]
    assert [float(line[-4]) for line in lines] == short
    assert [line[-3:-1] for line in lines] == [[item_ids[row[0]], item_ids[row[4]]] for row in rows]
    assert [float(line[-1]) for line in lines] == short  # where a row has no weight of its own


def test_sqlite_has_a_list_per_row(exported):
    export_to, rows, short = exported
    connection = sqlite3.connect(export_to("lists.sqlite"))
    columns = ("movie_id", "item_id", "title", "year", "neighbours")
    documents = [dict(zip(columns, row, strict=True)) for row in connection.execute("select * from lists")]
    first = "select json_extract(neighbours, '$[0].title') from lists where movie_id = 1"
    assert connection.execute(first).fetchone() == (ODD[1],)
    connection.close()
    documents = [{**row, "neighbours": json.loads(row["neighbours"])} for row in documents]
    assert flat(documents, None) == [(*row[:-1], value) for row, value in zip(rows, short, strict=True)]


@pytest.fixture
def redis_port(tmp_path_factory):
    """A Redis that listens: a real one where it is installed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if shutil.which("redis-server") and shutil.which("redis-cli"):
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        server = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL)
        stop = server.terminate
    else:
        fake = TcpFakeServer(("127.0.0.1", port))
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        stop = fake.shutdown
    for _ in range(100):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    stop()


def test_redis_takes_the_file_and_gives_every_list(exported, redis_port):
    import redis

    export_to, rows, short = exported
    path = export_to("lists.resp")
    if shutil.which("redis-cli"):
        with open(path, "rb") as file:
            loaded = subprocess.run(["redis-cli", "-p", str(redis_port), "--pipe"], stdin=file, capture_output=True)
        assert b"errors: 0, replies: 3" in loaded.stdout
    else:
        with socket.create_connection(("127.0.0.1", redis_port), timeout=10) as link, link.makefile("rb") as replies:
            link.sendall(path.read_bytes())
            assert [replies.readline() for _ in range(3)] == [b"+OK\r\n"] * 3
    with redis.Redis(port=redis_port, socket_timeout=10) as client:
        assert sorted(client.keys()) == [b"neighbours:1", b"neighbours:5", b"neighbours:9"]
        documents = [json.loads(client.get(f"neighbours:{movie}")) for movie in (1, 5, 9)]
    assert flat(documents, None) == [(*row[:-1], value) for row, value in zip(rows, short, strict=True)]


def test_export_as_typed(tmp_path, capsys):
    old = publish(tmp_path)
    publish(tmp_path, neighbours=NEIGHBOURS[:4])
    out = tmp_path / "lists.jsonl"

    def run(*arguments):
        code = main(["export", *map(str, arguments), "--set", f"warehouse.dir={tmp_path}"])
        captured = capsys.readouterr()
        assert captured.err.count("\n") == code
        return captured.out + captured.err

    assert run("--to", out).startswith("wrote 1 lists of release 2") and out.read_text().count("\n") == 1
    assert run("--to", out, "--release", old.name, "-k", 2).startswith(f"wrote 3 lists of release {old.name} to {out}")
    assert [len(json.loads(line)["neighbours"]) for line in out.read_text().splitlines()] == [2, 2, 2]
    assert f"redis-cli --pipe <{tmp_path}/l.resp" in run("--to", tmp_path / "l.resp")
    before = out.read_bytes()
    assert "give one of .parquet, .jsonl, .csv, .sqlite, .resp" in run("--to", tmp_path / "lists.xml")
    assert "no such folder" in run("--to", tmp_path / "none" / "lists.csv")
    assert "this is a folder" in run("--to", (tmp_path / "a.csv").mkdir() or tmp_path / "a.csv")
    assert "at least one" in run("--to", out, "-k", 0)
    assert "no release 'x'" in run("--to", out, "--release", "x")
    assert out.read_bytes() == before


def export_with_little_room(folder, path, room, said):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        export.export(folder, path)
    except PipelineError as error:
        said.put(str(error))
    said.put("written")


@pytest.mark.parametrize("ending", export.FORMS)
def test_a_disk_that_is_full_leaves_the_file_from_before(tmp_path, folder, ending):
    path = tmp_path / f"lists{ending}"
    export.export(folder, path)
    before = path.read_bytes()
    for room in (0, len(before) - 1):
        said = multiprocessing.Queue()
        process = multiprocessing.Process(target=export_with_little_room, args=(folder, path, room, said))
        process.start()
        assert "not written, nothing was changed" in said.get(timeout=30)
        process.join()
        assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
