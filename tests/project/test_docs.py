"""Every command in a page's block is run, or tests/commands.py says why not; what a page shows is what is printed."""

import contextlib
import os
import re
import socket
import subprocess
import time
import urllib.request

import pytest

from pipeline import schemas
from pipeline.release import database, store
from pipeline.serving import analyst
from tests.commands import EXHAUSTIVE, HOW, RUN, SERVES, WITHOUT_SPARK, blocks, commands, pages, refusal
from tests.conftest import FEW_ROWS, QUICK, ROOT, change_settings

PAGES = pages()
README = (ROOT / "README.md").read_text(encoding="utf-8")


def in_kind(text):
    """What two runs have in common: words, with ids, numbers and the width of columns taken out."""
    text = re.sub(r"\d{8}T\d{6}Z-(run_pipeline-\d+|[0-9a-f]{6})", "ID", text)
    return re.sub(r"\s+", " ", re.sub(r"[\d.,]+", "#", text)).strip()


@pytest.fixture(scope="module")
def live(checkout):
    """The folder of a release in the checkout's warehouse, made here where the README's first command was not run."""
    if not (checkout / "warehouse" / "CURRENT").exists():
        assert typed("./spark-submit.sh --set evaluation.enabled=false", checkout, timeout=1800).returncode == 0
    return store.release_dir(checkout / "warehouse")


def environment(**more):
    """As in a terminal of the reader's, but for what makes short runs shorter."""
    ours = ("PIPELINE_LOG", "PYTHONPATH", "LOG4J_CONFIGURATION_FILE")
    short = {"SPARK_SUBMIT_OPTS": f"{QUICK} {FEW_ROWS}"}
    return {**{key: value for key, value in os.environ.items() if key not in ours}, **short, **more}


def typed(command, checkout, timeout=900):
    """Run a command as a reader would type it; stdout and stderr in one, as a terminal shows them."""
    return subprocess.run(
        ["bash", "-c", command], cwd=checkout, env=environment(PYTHONPATH=str(checkout)), text=True, timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def assert_prints_what_it_shows(checkout, sessions):
    for command in sessions:
        run = typed(command.text, checkout)
        assert run.returncode == 0, f"{command.page}: {command.text}\n{run.stdout}"
        assert run.stdout.strip() or command.kind == "sh"
        printed = [in_kind(line.replace(str(checkout) + "/", "")) for line in run.stdout.splitlines()]
        position = 0
        for line in command.shown:
            if line != "...":
                assert in_kind(line) in printed[position:], f"{command.text} did not print: {line}\n{run.stdout}"
                position = printed.index(in_kind(line), position) + 1


def told(way):
    """Return the pages that have commands to be tested in this way."""
    return [page for page in PAGES if any(command.how == way for command in commands(page))]


@pytest.fixture
def quick_checkout(checkout):
    """The checkout with less to learn and to measure: the pages show any figures alike. Whole again afterwards."""
    conf = checkout / "conf" / "pipeline.yaml"
    whole = conf.read_bytes()
    change_settings(
        checkout, rank=(64, 16), maxIter=(10, 2), k=(200, 50), titles=(2000, 100), protocol=("strangers", "histories"),
        max_compared_ratings=(2000000, 1),
    )  # fmt: skip
    yield checkout
    conf.write_bytes(whole)


def test_the_readme_shows_what_its_commands_print(quick_checkout):
    sessions = [command for command in commands("README.md") if command.how == RUN and command.kind != "inline"]
    assert sessions[0].text == "./spark-submit.sh" and len(sessions) >= 6
    assert_prints_what_it_shows(quick_checkout, sessions)


@pytest.mark.parametrize("page", [page for page in told(RUN) if page != "README.md"])
def test_other_pages_show_what_their_commands_print(checkout, live, page):
    shown = [command for command in commands(page) if command.how == RUN]
    assert_prints_what_it_shows(checkout, shown)


@pytest.mark.parametrize("example", analyst.examples(), ids=lambda example: example.question)
def test_every_question_has_an_answer_on_real_data(live, example):
    with database.connect(live) as connection:
        assert connection.execute(example.statement).fetchall()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_run_or_listed_and_would_be_taken(page):
    advice = "in sh and console blocks stand commands, one a line; name other blocks text, sql, yaml, or nothing"
    assert not {language for language, _ in blocks(page)} & {"bash", "shell", "zsh", "shell-session"}, advice
    for command in commands(page):
        where = f"{page}: {command.text}"
        advice = "is neither run nor listed: say in HOW in tests/commands.py how it is tested, or why it is not run"
        assert command.how or command.kind == "inline", f"{where}\n{advice}"
        assert typed(f"bash -n <<'THE_END'\n{command.text}\nTHE_END", ROOT).returncode == 0, f"{where}\nis not shell"
        refused = refusal(command.text)
        # In running text a command stands for all that it can do.
        named = command.kind == "inline" and "arguments are required" in (refused or "")
        assert refused is None or named, f"{where}\nwould be refused: {refused}"


def test_the_list_of_commands_holds_nothing_that_is_gone():
    for page, listed in HOW.items():
        texts = [command.text for command in commands(page)]
        for begin in listed:
            assert any(text.startswith(begin) for text in texts), f"tests/commands.py: {page} has no command {begin}"


@pytest.mark.parametrize(("command", "complaint"), [
    ("./spark-submit.sh jobs/gone.py", "no such file"),
    ("./spark-submit.sh jobs/evaluate.py --rapport docs", "no option --rapport"),
    ("./spark-submit.sh jobs/tune.py --protocol nobody --budget 1 --out a.yaml", "invalid choice"),
    ("./spark-submit.sh --masterly local jobs/train_als.py", "no option --masterly"),
    ("cd x && ./spark-submit.sh --set als.rnak=64 >log 2>&1 || echo no", "als.rnak"),
    ("./spark-submit.sh --conf conf/gone.yaml", "conf/gone.yaml"),
    (".venv/bin/python -m pipeline recomend Heat", "invalid choice"),
    (".venv-page/bin/python -m pipeline fetsh release.zip", "invalid choice"),
    ("X=1 .venv/bin/python -m streamlit run app/streamlit_app.py -- --set page.sequel=true", "page.sequel"),
    (".venv/bin/python benchmarks/cluster.py --workers 2 jobs/run_pipeline.py --set als.rank=no", "als.rank"),
    ("./run-tests.sh tests/test_gone.py", "no such test"),
    ("docker compose run --rm -T batch --set als.rnak=64", "als.rnak"),
    ("docker compose run --rm --entrypoint .venv/bin/python files data/gone.py", "no such file"),
    ("docker compose exec -T page .venv/bin/python -m pipeline fedback && docker compose up", "invalid choice"),
])  # fmt: skip
def test_a_command_that_would_be_refused_is_found(command, complaint):
    assert complaint in refusal(command)


@pytest.fixture(scope="module")
def reader(checkout, live):
    """The checkout with what a reader puts in place of the pages' names: DIR, my.yaml, train.txt, test.txt."""
    (checkout / "DIR").mkdir()
    for path in (ROOT / "data" / "ml-latest-small").glob("*.csv"):
        (checkout / "DIR" / path.name).symlink_to(path)
    (checkout / "my.yaml").write_text("als:\n  maxIter: 5\n")
    likes = {"train.txt": [], "test.txt": []}
    for number, line in enumerate((ROOT / "data" / "ml-latest-small" / "ratings.csv").read_text().splitlines()[1:]):
        user, movie, stars, _ = line.split(",")
        if float(stars) >= 4:
            likes["test.txt" if number % 5 == 0 else "train.txt"].append(f"{user}\t{movie}\n")
    for name, lines in likes.items():
        (checkout / name).write_text("".join(lines))
    return checkout


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", told(EXHAUSTIVE))
def test_long_commands_run(reader, page):
    for command in commands(page):
        if command.how == EXHAUSTIVE and command.kind != "inline":
            text = re.sub(r"--budget \d+", "--budget 0.1", command.text)  # minutes
            run = typed(text, reader, timeout=1800)
            assert run.returncode == 0 and "exit code" not in run.stdout, f"{page}: {text}\n{run.stdout}"


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", told(SERVES))
def test_servers_answer(reader, page):
    for command in commands(page):
        if command.how == SERVES and command.kind != "inline":
            assert_answers(command.text, reader)


def assert_answers(command, checkout):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
    more = {"STREAMLIT_SERVER_PORT": port, "STREAMLIT_SERVER_HEADLESS": "true", "STREAMLIT_SERVER_ADDRESS": "127.0.0.1"}
    server = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=checkout, env=environment(PYTHONPATH=str(checkout), **more)
    )
    try:
        for _ in range(60):
            with contextlib.suppress(OSError):
                assert urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).read() == b"ok"
                return
            assert server.poll() is None, f"{command}: ended with exit code {server.returncode}"
            time.sleep(0.5)
        raise AssertionError(f"{command}: does not answer")
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.exhaustive
def test_the_page_is_installed_small_and_served_without_spark(reader):
    assert typed(".venv/bin/python -m pipeline pack --out release.zip", reader).returncode == 0
    install, fetch, serve = (command.text for command in commands("docs/deploy.md") if command.how == WITHOUT_SPARK
                             and command.kind == "sh")  # fmt: skip
    run = typed(install, reader)
    assert run.returncode == 0, run.stdout
    files = [path for path in (reader / ".venv-page").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 400 * 2**20
    assert not any(path.match("site-packages/pyspark/*") for path in files)
    assert typed(fetch, reader).stdout.startswith("live is now ")
    assert_answers(serve, reader)
    assert "is there already" in typed(install, reader).stdout


def test_the_readme_lists_every_table_with_its_columns():
    for table in schemas.TABLES:
        row = next(line for line in README.splitlines() if line.startswith(f"| `{table}` |"))
        columns = re.sub(r"\(.*?\)", "", row.split("|")[3])
        assert [name.strip() for name in columns.split(",")] == schemas.names(table)


def test_every_page_has_a_place_in_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r": (\S+\.md)$", navigation, re.M)
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(named), "name the page under nav: in mkdocs.yml"


def gone(text):
    """Return the paths of code that a text names and the project does not have. A * stands for any name."""
    named = re.findall(r"(?<![\w./-])(?:app|benchmarks|conf|hosting|jobs|pipeline|tests)/[\w./*-]*[\w*]", text)
    return [path for path in named if not any(ROOT.glob(path))]


@pytest.mark.parametrize("page", PAGES)
def test_the_paths_of_code_that_a_page_names_exist(page):
    assert gone((ROOT / page).read_text(encoding="utf-8")) == []


def test_a_path_that_is_gone_is_found():
    text = (
        "`pipeline/als.py` is now pipeline/model/als.py. `tests/test_als.py`, `/x/jobs/a.py`, conf/*.yaml, conf/*.gone"
    )
    assert gone(text) == ["pipeline/als.py", "tests/test_als.py", "conf/*.gone"]


def anchors(page):
    """Return the names of a page's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.*)", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M), re.M
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r"^( *)```.*?^\1```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        found = (ROOT / page).parent / target if target else ROOT / page
        assert found.exists(), f"{page}: {target} is not there"
        assert not anchor or anchor in anchors(found), f"{page}: {target} has no heading #{anchor}"


def unfounded(page, text):
    """Return the figures of a text that stand on none of the pages that it links to."""
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if target.endswith(".md")]
    sources = "".join(((ROOT / page).parent / target).read_text(encoding="utf-8") for target in targets)
    prose = re.sub(r"\]\([^)]+\)|@\d+|`[^`]*`", "", text)
    figures = re.findall(r"\d[\d,.]*\d%?|\d%?", prose)
    return [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d|[.,]\d)", sources)]


def test_figures_that_decided_stand_on_the_pages_that_are_linked_beside_them():
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    decided = re.findall(r"^Decided by: (.*?)(?=^\n|\Z)", text, re.S | re.M)
    assert len(decided) >= 5
    assert [unfounded("docs/decisions.md", paragraph) for paragraph in decided] == [[]] * len(decided)
    assert unfounded("docs/decisions.md", "nDCG 0.4749 ([evaluation.md](evaluation.md))") == ["0.4749"]


def test_figures_of_the_talk_stand_on_the_pages_that_its_slides_name():
    page = "docs/presentation/talk.md"
    for slide in (ROOT / page).read_text(encoding="utf-8").split("\n---\n"):
        figures = re.findall(r"\*\*([\d.,%]+)\*\*", slide)
        if figures:
            assert unfounded(page, " ".join(figures + re.findall(r"\]\([^)]+\)", slide))) == []
