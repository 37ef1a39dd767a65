"""Compare the lists of two releases. DuckDB only, no Spark."""

import tempfile
from pathlib import Path
from typing import Any

import duckdb

from pipeline import sql
from pipeline.config import PipelineError
from pipeline.release import database

NAMED = 5  # titles of each kind that changes() names


def changes(before: Path, after: Path) -> dict[str, Any]:
    """Return what changed in the lists from one release's folder to another's, ready for a manifest.

    since: the name of the first folder. n_lists: titles with a list in both. overlap: the mean share of a list's first
    ten that stayed, None without lists. n_new, n_gone: titles that came and went. Of each kind NAMED titles at most are
    named: movers (n_before, n_after: lists with the title in the first ten; the greatest rise first), lists (overlap;
    the greatest change first), titles (what: 'new' or 'gone').
    Takes database.BUILDER's memory. Raises PipelineError if a release cannot be read.
    """
    with (
        tempfile.TemporaryDirectory() as spill,
        duckdb.connect(config={**database.BUILDER, "temp_directory": spill}) as connection,
    ):
        connection.execute("set enable_progress_bar = false")
        for name, folder in (("before", before), ("after", after)):
            try:
                path = sql.quoted(str(folder / database.DATABASE))
                connection.execute(f"attach {path} as {name} (read_only)")
            except duckdb.Error as error:
                raise PipelineError(
                    f"{folder}: cannot be compared ({str(error).splitlines()[0]}); "
                    "choose whole releases, which python -m pipeline releases --verify shows"
                ) from error

        def rows(name: str, **values: int) -> list[dict[str, Any]]:
            answer = connection.execute(sql.statement(f"changes/{name}"), values)
            columns = [column[0] for column in answer.description]
            return [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]

        connection.execute(sql.statement("changes/kept"))
        named_rows = {name: rows(name, n=NAMED) for name in ("movers", "lists", "titles")}
        return {"since": before.name, **rows("summary")[0], **named_rows}


def changes_in_words(found: dict[str, Any]) -> str:
    """Return the figures of changes() in a line."""
    kept = "no lists in both" if found["overlap"] is None else f"{10 * found['overlap']:.1f} of 10 stay on a list"
    return f"{kept}, {found['n_new']:,} new titles, {found['n_gone']:,} gone, since {found['since']}"
