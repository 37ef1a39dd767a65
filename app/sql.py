"""The page for analysts: a query, its answer, and what there is to ask. Off unless page.sql is set."""

import re

import pyarrow as pa
import streamlit as st

from app.shared import live_release, plain, settings
from pipeline import schemas
from pipeline.config import PipelineError
from pipeline.serving import analyst


def page() -> None:
    """Draw the page."""
    bounds = analyst.Bounds(**vars(settings().sql))
    recommender = live_release()
    examples = analyst.examples()
    st.title("Ask in SQL")
    st.caption(
        f"DuckDB's SQL on release {recommender.release_id}, for reading only. "
        f"A query may take {bounds.seconds} s and {bounds.memory_mb:,} MB, and shows {bounds.rows:,} rows."
    )
    with st.container(horizontal=True, gap="xsmall"):
        for number, example in enumerate(examples):
            st.button(example.question, key=f"example-{number}", on_click=fill_in, args=(example.statement,), wrap=True)
    asked, answer = st.session_state.get("sql_answer", (examples[0].statement, None))
    st.session_state.setdefault("sql", asked)
    st.html("<style>.st-key-sql textarea {font-family: monospace; font-size: 0.875rem}</style>")
    with st.form("query", border=False):
        st.text_area("Query", key="sql", height=200, max_chars=analyst.MAX_STATEMENT)
        run = st.form_submit_button("Run", type="primary", icon=":material/play_arrow:")
    if run or st.session_state.pop("sql_taken", False):
        with st.spinner("Asking", show_time=True):
            answer = asked_live(st.session_state.sql, bounds)
        st.session_state.sql_answer = (st.session_state.sql, answer)
    show(answer)
    explain()


def fill_in(statement: str) -> None:
    """Put an example into the field, to be run."""
    st.session_state.sql, st.session_state.sql_taken = statement, True


def asked_live(statement: str, bounds: analyst.Bounds) -> analyst.Answer | str:
    """Return the live release's answer, or what is wrong with the query."""
    try:
        return analyst.ask(live_release().folder, statement, bounds)
    except PipelineError as error:
        return str(error).removeprefix("sql: ")


def show(answer: analyst.Answer | str | None) -> None:
    """Draw an answer, or what is wrong with the query."""
    if answer is None:
        return
    if isinstance(answer, str):
        st.error(plain(answer), icon=":material/block:")
        return
    st.dataframe(as_table(answer), hide_index=True)
    rows = "1 row" if len(answer.rows) == 1 else f"{len(answer.rows):,} rows"
    st.caption(f"{analyst.cut_in_words(answer).capitalize() if answer.cut else rows} · {answer.seconds:.1f} s")


def as_table(answer: analyst.Answer) -> pa.Table:
    """Return the answer's columns, each under a name of its own; values of no common type as text."""
    names, columns = [], []
    for position, name in enumerate(answer.columns):
        values = [row[position] for row in answer.rows]
        names.append(f"{name} ({answer.columns[:position].count(name) + 1})" if name in names else name)
        try:
            columns.append(pa.array(values))
        except (pa.ArrowException, OverflowError):
            columns.append(pa.array([None if value is None else str(value) for value in values]))
    return pa.table(columns, names=names)


def explain() -> None:
    """Draw the documentation of macros and tables."""
    st.subheader("Macros")
    for macro in analyst.macros():
        with st.expander(f"`{macro.call}`  \n{plain(macro.question)}"):
            st.markdown(as_markdown(macro.text))
    st.subheader("Tables and views")
    for table, columns in {**schemas.TABLES, **schemas.DERIVED}.items():
        with st.expander(f"`{table}`  \n{plain(', '.join(schemas.names(table)))}"):
            st.table([{"column": f"`{c.name}`", "type": plain(c.type), "meaning": plain(c.meaning)} for c in columns])


def as_markdown(text: str) -> str:
    """Return a macro's documentation for lines of any length: sentences, and a list of what is indented."""
    parts = []
    for line in text.splitlines():
        if item := re.match(r"  (\S.*?)(?:\s{2,}(.*))?$", line):
            parts.append(f"- `{item[1]}` {plain(item[2] or '')}")
        elif parts and (line.startswith("   ") or not parts[-1].endswith((".", ":"))):
            parts[-1] += f" {plain(line.strip())}"
        else:
            parts.append(f"\n{plain(line)}")
    return "\n".join(parts)
