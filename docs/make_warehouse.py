"""Fill docs/warehouse.md: tables and columns from pipeline/schemas.py, questions from pipeline/sql/examples with the
answers of a release, the live one.

.venv/bin/python docs/make_warehouse.py --set warehouse.dir=DIR    or with --tables, which needs no release
"""

import argparse
import re
import sys
from pathlib import Path

from pipeline import config, schemas
from pipeline.release import database, store
from pipeline.release.manifest import read_manifest
from pipeline.serving import analyst

ROOT = Path(__file__).resolve().parent.parent

PAGE = ROOT / "docs" / "warehouse.md"
ROWS = 5  # of an answer


def main() -> None:
    """Fill the page's generated parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", action="store_true", help="leave the answers as they are")
    config.add_arguments(parser)
    options = parser.parse_args()
    try:
        text = filled(PAGE.read_text(encoding="utf-8"), "tables", tables())
        if not options.tables:
            warehouse = Path(config.load(options.conf, options.settings).warehouse.dir)
            text = filled(text, "answers", answers(store.release_dir(warehouse)))
    except config.PipelineError as error:
        sys.exit(f"error: {error}")
    PAGE.write_text(text, encoding="utf-8")


def filled(page: str, part: str, text: str) -> str:
    """Return the page with this text between the part's marks."""
    begin, end = f"<!-- {part}: made by docs/make_warehouse.py -->\n", f"<!-- end of {part} -->"
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.S)


def tables() -> str:
    """Return every table and view with its columns."""
    lines = []
    for name, columns in {**schemas.TABLES, **schemas.DERIVED}.items():
        kind = "view" if name in database.VIEWS else "table"
        only = "" if name in schemas.TABLES else ", in `serving.duckdb` alone"
        lines += [f"### `{name}`", "", f"One row per {schemas.ROWS[name]} ({kind}{only}).", ""]
        rows = [(f"`{c.name}`", c.type, schemas.UNITS.get(c.name, ""), c.meaning) for c in columns]
        lines += [*markdown(["column", "type", "unit", "meaning"], rows), ""]
    return "\n".join(lines)


def answers(folder: Path) -> str:
    """Return every question with its query and the first rows of the release's answer."""
    made_from = read_manifest(folder)["inputs"][0]["path"]
    lines = [f"Answered by release `{folder.name}`, made from `{Path(made_from).parent.name}`.", ""]
    for number, example in enumerate(analyst.examples(), 1):
        answer = analyst.ask(folder, example.statement)
        lines += [f"### {number}. {example.question}", "", "```sql", example.statement, "```", ""]
        lines += [*markdown(answer.columns, answer.rows[:ROWS]), ""]
        if len(answer.rows) > ROWS:
            lines += [f"... and {len(answer.rows) - ROWS} more.", ""]
    return "\n".join(lines)


def markdown(heads: list[str], rows: list[tuple]) -> list[str]:
    """Return the lines of a table; nothing for null."""
    return ["| " + " | ".join(map(cell, row)) + " |" for row in [heads, ["---"] * len(heads), *rows]]


def cell(value: object) -> str:
    """Return a value as it stands in a table's cell."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return re.sub(r"([|*\\<])", r"\\\1", text) if "`" not in text else text


if __name__ == "__main__":
    main()
