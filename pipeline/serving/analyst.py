"""What an analyst may ask a release in SQL, with the documentation of what there is to ask. DuckDB only, no Spark."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from pipeline import sql
from pipeline.config import PipelineError
from pipeline.release import database

SANDBOX = Path(__file__).with_name("sandbox.py")
MAX_STATEMENT = 20_000  # characters
MAX_ANSWER_BYTES = 5 * 2**20  # of an answer
GRACE = 3  # seconds that the process gets to start, and to end by itself when its time is up
SLOTS = threading.BoundedSemaphore(2)  # queries that run at once; the page's other visitors need the rest
DOCUMENTED = [
    "recommend", "ids", "similar", "search_movies", "steered", "eligible", "candidates", "ranked", "listed",
    "search_words", "search_key", "search_likeness",
]  # fmt: skip


class Bounds(NamedTuple):
    """What one query may take; conf/pipeline.yaml says what each field means."""

    seconds: int
    rows: int
    memory_mb: int


BOUNDS = Bounds(seconds=10, rows=1000, memory_mb=512)


class Answer(NamedTuple):
    """Columns and rows of a query: numbers, text, lists and dicts. cut: there are more rows. seconds: what it took."""

    columns: list[str]
    rows: list[tuple]
    cut: bool
    seconds: float


class Macro(NamedTuple):
    """A macro that a release has: how it is called, what question it answers, and the rest of its documentation."""

    call: str
    question: str
    text: str


class Example(NamedTuple):
    """A question that somebody might have, and the query that answers it."""

    question: str
    statement: str


def ask(folder: Path, statement: str, bounds: Bounds = BOUNDS) -> Answer:
    """Run one query on the release's serving.duckdb, in a process of its own that can do nothing else.

    pipeline/serving/sandbox.py says what a query cannot do. The process ends with the query, whatever becomes of it.
    Raises PipelineError, in one line, for what is refused, wrong, or takes more than its bounds.
    """
    if len(statement) > MAX_STATEMENT:
        raise PipelineError(f"sql: a query may have {MAX_STATEMENT:,} characters, not {len(statement):,}")
    request = {"database": database.DATABASE, "statement": statement, "bytes": MAX_ANSWER_BYTES, **bounds._asdict()}
    # A Python that lies in an unusual place may need to know where its libraries are; nothing else is passed on.
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    if not SLOTS.acquire(timeout=bounds.seconds):
        raise PipelineError("sql: other queries are running; try again in a moment")
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(SANDBOX)],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,  # the database's name is all the process knows of where it is
            env=environment,
            timeout=bounds.seconds + GRACE,
        )
    except subprocess.TimeoutExpired as error:
        raise PipelineError(f"sql: it took longer than {bounds.seconds} s and was stopped") from error
    finally:
        SLOTS.release()
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        message = f"sql: it ended DuckDB's process, most likely for want of memory ({bounds.memory_mb} MB)"
        raise PipelineError(message) from error
    if "error" in answer:
        raise PipelineError(f"sql: {answer['error']}".replace(f"{folder.resolve()}/", ""))
    return Answer(answer["columns"], [tuple(row) for row in answer["rows"]], answer["cut"], time.monotonic() - began)


def cut_in_words(answer: Answer) -> str:
    """Return a cut answer's length in words."""
    return f"only the first {len(answer.rows):,} rows; there are more"


def macros() -> list[Macro]:
    """Return the macros for analysts, documented by the comments above them in pipeline/sql."""
    found = []
    for name in DOCUMENTED:
        statement = sql.statement(name)
        call = re.search(r'create or replace macro "?(\w+)"?(\([^)]*\))( as table)?', statement)
        if call is None:
            raise ValueError(f"{name}.sql defines no macro")
        question, mark, text = sql.header(statement).partition("?")
        arguments = re.sub(r"\s+", " ", call[2]).replace("( ", "(").replace(" )", ")")
        found.append(Macro(f"{'from' if call[3] else 'select'} {call[1]}{arguments}", question + mark, text.strip()))
    return found


def examples() -> list[Example]:
    """Return the queries of pipeline/sql/examples, in the order of their numbers."""
    found = []
    for name in sorted(sql.names("examples"), key=lambda name: int(name.split("_")[0])):
        question, _, statement = sql.statement(f"examples/{name}").partition("\n")
        found.append(Example(question.removeprefix("-- "), statement.strip()))
    return found
