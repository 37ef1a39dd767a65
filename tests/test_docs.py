"""Every command that the README or a page of docs/ shows with its output is run, and prints the same kind of output."""

import os
import re
import subprocess

import pytest

from pipeline import analyst, release, schemas, serving
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def console_sessions(text):
    """Yield (command, lines of output) of a page's console blocks in their order."""
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for session in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *output = session.strip("\n").split("\n")
            yield command, output


def in_kind(text):
    """What two runs have in common: words, with ids, numbers and the width of columns taken out."""
    text = re.sub(r"\d{8}T\d{6}Z-(run_pipeline-\d+|[0-9a-f]{6})", "ID", text)
    return re.sub(r"\s+", " ", re.sub(r"[\d.,]+", "#", text)).strip()


def assert_prints_what_it_shows(checkout, sessions):
    environment = {key: value for key, value in os.environ.items() if key not in ("PIPELINE_LOG", "PYTHONPATH")}
    environment.pop("LOG4J_CONFIGURATION_FILE", None)
    for command, shown in sessions:
        run = subprocess.run(
            command, shell=True, cwd=checkout, env=environment, text=True, timeout=400,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert run.returncode == 0, f"{command}\n{run.stdout}"
        assert run.stdout.strip()
        printed = [in_kind(line.replace(str(checkout) + "/", "")) for line in run.stdout.splitlines()]
        position = 0
        for line in shown:
            if line != "...":
                assert in_kind(line) in printed[position:], f"{command} did not print: {line}\n{run.stdout}"
                position = printed.index(in_kind(line), position) + 1


def test_the_readme_shows_what_its_commands_print(checkout):
    sessions = list(console_sessions(README))
    assert sessions[0][0] == "./spark-submit.sh" and len(sessions) >= 6
    assert_prints_what_it_shows(checkout, sessions)


def live_release(checkout):
    if not (checkout / "warehouse" / "CURRENT").exists():
        assert_prints_what_it_shows(checkout, list(console_sessions(README))[:1])
    return release.release_dir(checkout / "warehouse")


@pytest.mark.parametrize("example", analyst.examples(), ids=lambda example: example.question)
def test_every_question_has_an_answer_on_real_data(checkout, example):
    with serving.connect(live_release(checkout)) as connection:
        assert connection.execute(example.statement).fetchall()


@pytest.mark.parametrize(("page", "commands"), [("privacy.md", 3), ("operations.md", 1), ("warehouse.md", 1)])
def test_other_pages_show_what_their_commands_print(checkout, page, commands):
    live_release(checkout)
    sessions = list(console_sessions((ROOT / "docs" / page).read_text(encoding="utf-8")))
    assert len(sessions) == commands
    assert_prints_what_it_shows(checkout, sessions)


def test_the_readme_lists_every_table_with_its_columns():
    for table in schemas.TABLES:
        row = next(line for line in README.splitlines() if line.startswith(f"| `{table}` |"))
        columns = re.sub(r"\(.*?\)", "", row.split("|")[3])
        assert [name.strip() for name in columns.split(",")] == schemas.names(table)


@pytest.mark.parametrize("page", ["README.md", *sorted(f"{path.parent.name}/{path.name}" for folder in
                                  ("docs", "benchmarks") for path in (ROOT / folder).glob("*.md"))])  # fmt: skip
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert (folder / target).exists(), target
