"""The page for analysts: what a query cannot do, what it may take, and what the page makes of the answer."""

import contextlib
import hashlib
import math
import re
import shutil
import sys
import time

import pytest
from streamlit.testing.v1 import AppTest

from pipeline import sql
from pipeline.config import PipelineError
from pipeline.release import database, store
from pipeline.serving import analyst, sandbox
from pipeline.serving.analyst import Bounds, ask
from tests.conftest import ROOT, publish

SMALL = Bounds(seconds=10, rows=5, memory_mb=64)


@pytest.fixture(scope="module")
def folder(warehouse):
    return store.release_dir(warehouse)


@pytest.fixture(scope="module", autouse=True)
def untouched(warehouse):
    """Whatever the tests ask, the warehouse stays as it was, to the byte."""
    before = contents(warehouse)
    yield
    assert contents(warehouse) == before


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refusal(folder, statement, bounds=SMALL):
    """Return the one line that refuses the statement."""
    with pytest.raises(PipelineError, match=r"^sql: ") as error:
        ask(folder, statement, bounds)
    message = str(error.value)
    assert "\n" not in message and str(folder) not in message and "Traceback" not in message
    return message


NOT_QUERIES = """
    copy movies to '{out}'
    copy (select 1) to '{out}' (format parquet)
    copy movies from '/etc/passwd'
    export database '{out}'
    import database '{out}'
    attach '{out}'
    attach ':memory:' as other
    detach serving
    use memory
    install httpfs
    load httpfs
    set memory_limit = '100GB'
    set enable_external_access = true
    reset lock_configuration
    set variable x = 1
    pragma database_list
    pragma enable_profiling = 'json'
    call pragma_version()
    call enable_logging()
    checkpoint
    force checkpoint
    vacuum
    begin
    create table stolen as from movies
    create temp table t as select 1
    create macro f() as 1
    create secret (type s3)
    insert into movies (movie_id) values (99)
    update movies set title = 'x'
    delete from movies
    truncate movies
    drop table movies
    alter table movies rename to films
    comment on table movies is 'x'
    prepare q as select 1
    execute q
    explain analyze insert into movies (movie_id) values (99)
    -- select 1 (newline) drop table movies
    /* select 1; */ drop table movies
    pivot popularity on genre using max(score)
    with gone as (delete from movies returning *) from gone
"""


@pytest.fixture(scope="module")
def judge(folder, tmp_path_factory):
    """What the sandbox says to a statement before it would run, or None: without the time that a process takes."""
    copy = shutil.copy(folder / database.DATABASE, tmp_path_factory.mktemp("judge"))

    def judge(statement):
        try:
            sandbox.require_query(connection, statement)
        except sandbox.NotAllowedError as error:
            return str(error)

    with contextlib.closing(sandbox.open_database(copy, 10, 64)) as connection:
        yield judge


@pytest.mark.parametrize("statement", [line.strip() for line in NOT_QUERIES.strip().splitlines()])
def test_what_is_not_a_query_is_not_run(judge, statement):
    assert "only queries run here" in judge(statement.replace("(newline)", "\n"))


def test_the_sandbox_keeps_everything_in(folder, tmp_path):
    for statement, reason in [
        (f"copy movies to '{tmp_path / 'out'}'", "not copy"),
        (f"attach '{tmp_path / 'out'}'", "not attach"),
        (f"export database '{tmp_path / 'out'}'", "not export"),
        ("install httpfs", "not load"),
        ("pragma database_list", "not pragma"),
        ("set memory_limit = '100GB'", "not set"),
        ("force checkpoint", "not call"),
        ("insert into movies (movie_id) values (99)", "not insert"),
        (
            "from read_csv('/etc/passwd')",
            "read_csv() cannot be read from here; there are candidates, eligible, listed, ranked",
        ),
        ("from '/etc/passwd'", "no table /etc/passwd here; there are catalogue_map, film_genres, hubs"),
        ("select getenv('PATH')", "getenv() cannot be called here"),
        ("from duckdb_databases()", "duckdb_databases() cannot be read from here"),
    ]:
        assert reason in refusal(folder, statement)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select 1; select 2", "one statement at a time; this is 2"),
        ("select 1; drop table movies", "one statement at a time; this is 2"),
        ("select 1 /* ; -- */; copy movies to '/tmp/stolen.csv' -- ;", "one statement at a time; this is 2"),
        ("", "one statement at a time; this is none"),
        ("-- only a remark", "one statement at a time; this is none"),
        ("selec 1", "syntax error"),
        ("select titel from movies", 'Candidate bindings: "title"'),
        ("select ?", "parameter"),
        ("select " + "(" * 9000 + "1" + ")" * 9000, ""),
        ("select '" + "x" * 20_000 + "'", "a query may have 20,000 characters"),
    ],
)
def test_there_is_one_statement_and_it_is_understood(folder, statement, reason):
    assert reason in refusal(folder, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "from '/etc/passwd'",
        "from 'movies/*.parquet'",
        "from 'http://127.0.0.1/x.csv'",
        "from 's3://bucket/x.parquet'",
        "describe '/etc/passwd'",
        "show '/etc/passwd'",
        "from read_csv('/etc/passwd')",
        "from read_text('/etc/passwd')",
        "from read_blob('/proc/self/environ')",
        "from read_json('manifest.json')",
        "from read_parquet('movies/*.parquet')",
        "from read_duckdb('serving.duckdb', table_name := 'movies')",
        "from parquet_metadata('movies/part-0.parquet')",
        "from sniff_csv('/etc/passwd')",
        "from glob('/*')",
        # the process's environment, settings and paths
        "select getenv('PATH')",
        "select current_setting('secret_directory')",
        "select 'threads'.\"Current_Setting\"()",
        "select combine_aggr('x'::blob) over ()",
        "from duckdb_settings()",
        "from system.main.duckdb_settings()",
        "from duckdb_secrets()",
        "from which_secret('s3://x', 's3')",
        "from main.rejected",
        "describe serving.Rejected",
        "from serving.main.rejected",
        "from duckdb_databases()",
        "from duckdb_databases",
        "describe duckdb_databases",
        "from pragma_database_list",
        "from pg_settings",
        "from information_schema.schemata",
        "from movies where title = (select max(path) from duckdb_databases())",
        "from recommend((select list(oid::int) from duckdb_databases()))",
        "select * from (with duckdb_databases as (select 1) from duckdb_databases), duckdb_databases",
        # SQL inside a text, and functions that take a name or a pointer
        "from query('from duckdb_databases()')",
        "from query_table('duckdb_databases')",
        "from histogram_values(duckdb_databases, path)",
        "from json_execute_serialized_sql(json_serialize_sql('from duckdb_settings()'))",
        "from pandas_scan(1, 2, 3)",
        "from arrow_scan(1::pointer, 2::pointer, 3::pointer)",
        "select finalize('x'::blob)",
        # variables of the process that runs the statement
        "from request",
        "from connection",
        "from statements",
        "from sys",
    ],
)
def test_a_query_names_nothing_but_the_release(judge, statement):
    assert re.search(r"no table .* here|cannot be (read|called)", judge(statement))


def test_rejected_rows_name_their_file_but_not_its_folder(tmp_path):
    row = ("file:///srv/secret/ratings.csv", 7, "no rating", "1,2,,3")
    answer = ask(publish(tmp_path, rejected=[row]), "from rejected", SMALL)
    assert answer.rows == [("ratings.csv", *row[1:])]


def test_a_query_may_describe_the_release_but_not_where_it_lies(folder, warehouse):
    wide = Bounds(seconds=10, rows=5000, memory_mb=256)
    for statement in (
        "show tables",
        "show all tables",
        "show databases",
        "describe movies",
        "summarize movies",
        "from duckdb_columns()",
        "from duckdb_functions()",
        "from information_schema.tables",
    ):
        answer = ask(folder, statement, wide)
        assert answer.rows and str(warehouse) not in str(answer.rows) and str(ROOT) not in str(answer.rows)


WITHOUT_CHECK = "sandbox.require_query = lambda *_: None"
WITHOUT_DUCKDB = "connect = sandbox.duckdb.connect; sandbox.duckdb.connect = lambda name, **_: connect(name)"


@pytest.fixture
def weakened(tmp_path, monkeypatch):
    """A sandbox from which some of its walls were taken, to see that the others stand alone."""

    def weaken(*changes):
        script = tmp_path / "weakened.py"
        lines = [f"import sys; sys.path.insert(0, {str(ROOT / 'pipeline' / 'serving')!r}); import sandbox", *changes]
        script.write_text("\n".join([*lines, "sandbox.main()"]))
        monkeypatch.setattr(analyst, "SANDBOX", script)

    return weaken


@pytest.mark.parametrize(
    "statement",
    [
        "copy movies to '{out}'",
        "attach '{out}'",
        "from read_text('/etc/passwd')",
        "from 'movies/*.parquet'",
        "install httpfs",
        "set enable_external_access = true",
        "insert into movies (movie_id) values (99)",
        "from request",
    ],
)
def test_duckdb_refuses_by_itself_what_the_parser_would_let_through(folder, tmp_path, weakened, statement):
    weakened(WITHOUT_CHECK)
    assert ask(folder, "select 1").rows == [(1,)]
    assert re.search(
        r"disabled|locked|read-only|Permission|does not exist", refusal(folder, statement.format(out=tmp_path / "o"))
    )
    assert not (tmp_path / "o").exists()


def test_the_process_is_told_nothing_of_the_servers_environment(folder, weakened, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    weakened("import os; sandbox.run = lambda _: {'columns': sorted(os.environ), 'rows': [], 'cut': False}")
    assert not {"TOKEN", "PATH", "HOME"}.intersection(ask(folder, "select 1").columns)


def test_the_process_cannot_open_a_file_even_if_duckdb_would(folder, tmp_path, weakened):
    weakened(WITHOUT_CHECK, WITHOUT_DUCKDB)
    assert ask(folder, "select 1").rows == [(1,)]
    for statement in (
        "from read_text('/etc/hostname')",
        f"copy (select 1) to '{tmp_path / 'out.csv'}'",
        "insert into movies (movie_id) values (99)",
    ):
        assert re.search("Too many open files|File too large|IO Error|Cannot open", refusal(folder, statement))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("statement", "grace"),
    [
        ("with recursive n as (select 1 as x union all select x + 1 from n) select count(*) from n", 60),
        ("select count(*) from range(1000000000000) where range % 7 = 9", 60),
        # one call of a function, in which DuckDB does not look at its clock: the process is ended
        ("select levenshtein(repeat('a', 400000), repeat('b', 400000))", 2),
    ],
)
def test_a_query_stops_when_its_time_is_up(folder, statement, grace, monkeypatch):
    monkeypatch.setattr(analyst, "GRACE", grace)
    began = time.monotonic()
    assert "took longer than 1 s and was stopped" in refusal(folder, statement, SMALL._replace(seconds=1))
    assert time.monotonic() - began < 20  # unbounded, each takes minutes


@pytest.mark.parametrize(
    "statement",
    [
        "select repeat('x', 2000000000)",
        "select length(repeat('x', 1000000000))",
        "select len(range(100000000))",
        "select list_transform(range(10000000), lambda x: x::varchar || 'and a long text behind it')",
        "select len(list(range)) from range(100000000)",
        "select length(string_agg(repeat('x', 1000), '')) from range(10000000)",
        "from range(100000000) order by random()",
        "select repeat('x', 400000) from range(2000)",
    ],
)
def test_a_query_that_takes_too_much_memory_ends_alone(folder, statement):
    assert "memory" in refusal(folder, statement)
    assert ask(folder, "select 1", SMALL).rows == [(1,)]


def test_duckdb_bounds_its_memory_where_the_system_does_not(folder, weakened):
    weakened("sandbox.shut = lambda *_: None")
    assert "memory" in refusal(folder, "from range(20000000) order by random()")


def test_more_rows_than_shown_are_cut_and_never_made(folder):
    answer = ask(folder, "from range(1000000000000)", SMALL)
    assert (answer.rows, answer.cut) == ([(0,), (1,), (2,), (3,), (4,)], True)
    assert analyst.cut_in_words(answer) == "only the first 5 rows; there are more"
    assert not ask(folder, "from range(5)", SMALL).cut
    assert ask(folder, "select * from movies where false", SMALL).rows == []


def test_an_answer_is_bounded_in_bytes(folder, monkeypatch):
    monkeypatch.setattr(analyst, "MAX_ANSWER_BYTES", 2**20)
    answer = ask(folder, "select repeat('x', 400000) from range(4)", SMALL)
    assert (len(answer.rows), answer.cut) == (2, True)
    assert "its first row takes more than 1 MB" in refusal(folder, "select repeat('x', 2000000)")


def test_few_queries_run_at_once(folder):
    with analyst.SLOTS, analyst.SLOTS:
        assert "other queries are running" in refusal(folder, "select 1", SMALL._replace(seconds=1))
    assert ask(folder, "select 1", SMALL).rows == [(1,)]


def test_values_arrive_as_numbers_text_and_lists(folder):
    statement = """
        select 1.5, 0.1::float, [0.1::float, 16777216], {'a': date '2020-01-02'}, map {1: 'x'}, 'ab'::blob, null,
            170141183460469231731687303715884105727, timestamp '2020-01-02 03:04:05', 'nan'::double, true,
            '9f8c3f9e-5d1c-4e0a-9a53-1f6b0a4a5d11'::uuid, interval 2 days, sum(n_ratings), 'é' || chr(0)
        from movies
    """
    *values, text = ask(folder, statement, SMALL).rows[0]
    assert math.isnan(values.pop(9))
    assert values == [
        1.5, 0.1, [0.1, 16777216.0], {"a": "2020-01-02"}, {"1": "x"}, "6162", None, 2**127 - 1, "2020-01-02 03:04:05",
        True, "9f8c3f9e-5d1c-4e0a-9a53-1f6b0a4a5d11", "2 days, 0:00:00", 817,
    ]  # fmt: skip
    assert text == "é\0"


@pytest.mark.parametrize("example", analyst.examples(), ids=lambda example: example.question)
def test_examples_ask_a_question_and_run(folder, example):
    assert example.question.endswith("?")
    answer = ask(folder, example.statement)
    assert answer.columns and not answer.cut


def test_every_macro_of_a_release_is_documented(folder):
    documented = {re.match(r"(?:from|select) (\w+)\(", macro.call)[1] for macro in analyst.macros()}
    own = "select function_name from duckdb_functions() where not internal"
    assert documented == {name for (name,) in ask(folder, own).rows} - set(database.SETTINGS)
    assert documented == set(sql.MACROS) - {"search_names"}  # that one is a table
    for macro in analyst.macros():
        assert macro.question.endswith("?") and macro.text
    call = analyst.macros()[0].call
    assert call.startswith("from recommend(favourites, k := 10, dislikes := [], ") and call.endswith("surprise := 0)")


def settle(warehouse, monkeypatch, *settings):
    import streamlit as st

    st.cache_resource.clear()
    options = [option for setting in (f"warehouse.dir={warehouse}", *settings) for option in ("--set", setting)]
    monkeypatch.setattr(sys, "argv", ["streamlit_app.py", *options])


@pytest.fixture
def page(warehouse, monkeypatch):
    def script():
        from app import sql

        sql.page()

    settle(warehouse, monkeypatch, "sql.rows=5", "sql.seconds=5")
    return AppTest.from_function(script, default_timeout=120).run()


def run(page, statement):
    page.text_area[0].set_value(statement)
    next(button for button in page.button if button.label == "Run").click().run()
    assert not page.exception
    return page


def test_the_page_is_off_unless_it_is_switched_on(warehouse, monkeypatch):
    import streamlit as st

    offered, navigation = [], st.navigation
    monkeypatch.setattr(st, "navigation", lambda pages, **kw: offered.append(pages) or navigation(pages, **kw))
    for settings in ((), ("page.sql=true",)):
        settle(warehouse, monkeypatch, *settings)
        assert not AppTest.from_file(str(ROOT / "app" / "streamlit_app.py"), default_timeout=120).run().exception
    off, on = ([page.title for page in pages] for pages in offered)
    assert "SQL" not in off and on == [*off, "SQL"]


def test_an_example_answers_at_a_click(page):
    assert page.text_area[0].value == analyst.examples()[0].statement and not page.dataframe
    question = analyst.examples()[2].question
    next(button for button in page.button if button.label == question).click().run()
    assert page.text_area[0].value == analyst.examples()[2].statement
    assert list(page.dataframe[0].value["title"])[:2] == ["Toy Story", "Toy Story 2"]
    assert any(re.fullmatch(r"\d rows · \d+\.\d s", caption.value) for caption in page.caption)


def test_the_page_says_where_it_cut(page):
    run(page, "from movies")
    assert len(page.dataframe[0].value) == 5
    assert any(caption.value.startswith("Only the first 5 rows; there are more") for caption in page.caption)


def test_a_mistake_is_one_line_and_data_is_never_markup(page):
    run(page, 'from "<b>*x* [link](http://x) $y$"')
    assert not page.dataframe
    shown = page.error[0].value
    assert "no table" in shown and not re.search(r"(?<!\\)[<>*\[\]$]", shown)
    run(page, "select 1 as a, 2 as a, '<b>' as \"<b>*x*\", 170141183460469231731687303715884105727 as huge, [1] as a")
    assert not page.error
    assert list(page.dataframe[0].value.columns) == ["a", "a (2)", "<b>*x*", "huge", "a (3)"]


def test_the_page_explains_macros_and_tables(page):
    labels = [expander.label for expander in page.expander]
    assert labels[0].startswith("`from recommend(favourites, k := 10, ")
    assert labels[0].endswith(":= 0)`  \nWhich movies go with these favourites, and why?")
    assert any(label.startswith("`neighbours`") for label in labels)
    text = next(markdown.value for markdown in page.markdown if "shares sum to 1" in markdown.value)
    assert "\n- `score` see candidates\\.sql; comparable within one source\n- `because` favourites that" in text
