"""The commands that the pages tell a reader to type: how each is tested, and whether its program would take it."""

import argparse
import contextlib
import functools
import importlib.util
import io
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from pipeline import config as configuration
from tests.conftest import ROOT

# How a command of an sh block is tested. Any other text: it is not run, and this is why; that its program, options and
# settings exist is tested all the same.
RUN = "run"  # by every test run, in a copy of the project with a release
EXHAUSTIVE = "run with -m exhaustive"
SERVES = "started with -m exhaustive, until it answers"
CLUSTER = "needs a cluster of several machines; tests/jobs/test_cluster.py runs the same jobs on one of its own"
WITHOUT_SPARK = "tests/project/test_docs.py types these three, with -m exhaustive"
HOOKS = "needs a git repository, and pre-commit unpinned; its hooks are what run-tests.sh does first"
SHOP = "tests/jobs/test_your_data.py runs everything on this page, and compares what is printed"
UNITS = (
    "changes what systemd starts; tests/project/test_schedule.py has folders of its own, and runs what the units start"
)
SHELL = "tests/release/test_database.py runs the block, and compares what is printed"
NETWORK = "needs the network; tests/data/test_download.py runs it against a server of its own"

# Every command of an sh block, by page, as it begins. Commands of console blocks are run, and what they print is
# compared, unless they stand here.
HOW = {
    "CONTRIBUTING.md": {
        "./run-tests.sh": "runs this very test",
        "./checks.sh": "the first thing that run-tests.sh does",
        "python3 -m venv .venv-hooks": HOOKS,
        ".venv-hooks/bin/": HOOKS,
        "python3 -m venv .venv-docs": EXHAUSTIVE,
        ".venv-docs/bin/python": EXHAUSTIVE,
        "NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs": EXHAUSTIVE,
        ".venv/bin/python docs/presentation/make.py": EXHAUSTIVE,
    },
    "README.md": {
        "./run-tests.sh": "runs this very test",
        "./spark-submit.sh jobs/tune.py": EXHAUSTIVE,
        "./spark-submit.sh jobs/run_pipeline.py --conf best.yaml": EXHAUSTIVE,
        "./spark-submit.sh jobs/evaluate.py --conf best.yaml": EXHAUSTIVE,
        "./spark-submit.sh jobs/download_movielens.py 1m": NETWORK,
        "./spark-submit.sh jobs/run_pipeline.py --set data.dir=data/ml-1m": NETWORK,
        "./spark-submit.sh jobs/run_pipeline.py --set data.dir=DIR --set warehouse.dir=DIR": EXHAUSTIVE,
        "./spark-submit.sh --master spark://host:7077": CLUSTER,
    },
    "docs/choices.md": {
        "benchmarks/likes.sh": EXHAUSTIVE,
        "./spark-submit.sh jobs/evaluate.py --set evaluation.protocol=strangers": EXHAUSTIVE,
        "./spark-submit.sh jobs/tune.py --protocol strangers --budget 10": EXHAUSTIVE,
    },
    "docs/cluster.md": {
        "./spark-submit.sh --master spark://host:7077": CLUSTER,
        "PYSPARK_PYTHON=/opt/recommender/bin/python ./spark-submit.sh --master k8s": "needs Kubernetes, says the page",
        "./spark-submit.sh --packages org.apache.hadoop": "needs an object store, says the page",
        ".venv/bin/python benchmarks/cluster.py --workers 2": EXHAUSTIVE,
    },
    "docs/deploy.md": {
        ".venv/bin/python -m pipeline pack": RUN,
        ".venv/bin/python -m pipeline fetch": "needs a server with a release; tests/release/test_archive.py has one",
        "./hosting/install.sh .venv-page": WITHOUT_SPARK,
        ".venv-page/bin/python -m pipeline fetch": WITHOUT_SPARK,
        ".venv-page/bin/python -m streamlit run app/server.py": WITHOUT_SPARK,
        ".venv/bin/python -m streamlit run app/server.py": SERVES,
        ".venv/bin/python -m pipeline ready": "asks the server before it; tests/serving/test_readiness.py has one",
        "./audit.sh": "needs the network, and fails when a vulnerability becomes known",
    },
    "docs/how-it-works.md": {
        "./spark-submit.sh": EXHAUSTIVE,
        ".venv/bin/python docs/how_it_works.py": EXHAUSTIVE,
    },
    "docs/imdb.md": {
        "./spark-submit.sh jobs/enrich_imdb.py": "needs IMDb's files; tests/data/test_imdb.py makes some",
        "./spark-submit.sh jobs/evaluate.py": EXHAUSTIVE,
    },
    "docs/operations.md": {"./spark-submit.sh jobs/run_pipeline.py --conf my.yaml": EXHAUSTIVE},
    "docs/page.md": {".venv/bin/python -m streamlit run app/streamlit_app.py": SERVES},
    "docs/schedule.md": {
        "{ crontab": "changes the crontab; tests/project/test_schedule.py has one, and runs the line as cron does",
        "sed": UNITS,
        "sudo": UNITS,
        "docker compose": "needs docker; its parts are tested each for itself, tests/project/test_containers.py",
        "./spark-submit.sh --set 'data.more_ratings": "needs a reader's own files; tests/data/test_checks.py has some",
        ".venv/bin/python -m pipeline changes": "needs two releases; tests/release/test_changes.py has two",
    },
    "docs/sql-page.md": {".venv/bin/python -m streamlit run app/streamlit_app.py": SERVES},
    "docs/warehouse.md": {
        ".venv/bin/python -m pipeline export": RUN,
        "live=": SHELL,
        "tables=": SHELL,
        "duckdb -c": SHELL,
    },
    "docs/your-data.md": {
        ".venv/bin/python data/make_orders.py": SHOP,
        "head -2 data/shop": SHOP,
        "./spark-submit.sh jobs/run_pipeline.py --conf conf/shop.yaml": SHOP,
        ".venv/bin/python -m pipeline recommend --conf conf/shop.yaml": SHOP,
        ".venv/bin/python -m pipeline sql --conf conf/shop.yaml": SHOP,
    },
}
# Words in capitals that a reader replaces, where not everything goes.
PLACEHOLDERS = {"SIZE": "1m", "FILE.py": "jobs/run_pipeline.py"}
OURS = re.compile(r"([A-Z_]+=\S+ )*(docker compose |\./|\.venv(-page)?/bin/|python |benchmarks/\S+\.sh)")


class Command(NamedTuple):
    """A command of a page: text as typed, the block's language or 'inline', and the lines that are shown below it."""

    page: str
    text: str
    kind: str
    shown: list[str]

    @property
    def how(self) -> str | None:
        """How the command is tested, from HOW; None where nobody has said it."""
        ways = {begin: how for begin, how in HOW.get(self.page, {}).items() if self.text.startswith(begin)}
        return ways[max(ways, key=len)] if ways else RUN if self.kind == "console" else None


def pages() -> list[str]:
    """Return the pages of the project, as paths from its root."""
    found = [
        path for pattern in ("*.md", "*/*.md", "docs/*/*.md", "benchmarks/results/*.md") for path in ROOT.glob(pattern)
    ]
    return sorted(str(path.relative_to(ROOT)) for path in set(found) if path.parent.name not in ("logs", "pipeline"))


def blocks(page: str) -> list[tuple[str, str]]:
    """Return (language, text) of a page's fenced blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(found[2], found[3]) for found in re.finditer(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```", text, re.S | re.M)]


def commands(page: str) -> list[Command]:
    """Return the commands of a page's sh and console blocks, in their order, and then those in running text."""
    found = []
    for language, block in blocks(page):
        if language == "sh":
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [
                Command(page, line.strip(), "sh", []) for line in lines if line.strip(" #") and line.strip()[0] != "#"
            ]
        if language == "console":
            for session in re.split(r"^\$ ", block, flags=re.M)[1:]:
                text, *shown = session.strip("\n").split("\n")
                found.append(Command(page, text, "console", shown))
    text = re.sub(r"^( *)```.*?^\1```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    inline = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    return found + [Command(page, code, "inline", []) for code in inline if OURS.match(code)]


def refusal(text: str) -> str | None:
    """Return what a program of this project has against a command line: no such file, option or setting; None: nothing.

    Every program's own parser is asked, also where docker compose is to start it in a container; it then stops
    before it does anything. Commands that are not the project's (git, uv) pass.
    """
    text = re.sub(r"\d?>>?(&\d|\s*[^\s&|;]+)", "", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, "#" if " # " in text else ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not re.fullmatch("[;&|]+", word):
            words.append(PLACEHOLDERS.get(word, word))
        elif complaint := _refused(words):
            return complaint
        else:
            words = []
    return None


def _refused(words: list[str]) -> str | None:
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[:2] == ["docker", "compose"]:
        words = _in_a_container(words[2:])
    if not words:
        return None
    program, *arguments = words
    if program == "./spark-submit.sh":
        return _refused_by_front_door(arguments)
    if program == "./run-tests.sh":
        gone = [word for word in arguments if "/" in word and not (ROOT / word.split("::")[0]).exists()]
        return f"no such test: {gone[0]}" if gone else None
    if re.fullmatch(r"(\.venv(-page)?/bin/)?python", program) and arguments:
        if arguments[0] != "-m":
            return _refused_by_script(arguments[0], arguments[1:])
        if arguments[1] == "pipeline":
            return _refused_by_parser("pipeline", arguments[2:])
        if arguments[1] == "streamlit":
            _, _, script, *ours = arguments[1:]
            ours = [word for word in ours if word != "--"]
            return _wrong_settings(ours) if (ROOT / script).exists() else f"no such file: {script}"
        return None if importlib.util.find_spec(arguments[1]) else f"no such module: {arguments[1]}"
    if OURS.match(program) and not program.startswith(".venv") and not (ROOT / program).exists():
        return f"no such file: {program}"
    return None


def _in_a_container(words: list[str]) -> list[str]:
    """Return the command line that docker compose run or exec starts in a container; empty for its other commands."""
    if words[:1] not in (["run"], ["exec"]):
        return []
    starts = ["./spark-submit.sh"] if words.pop(0) == "run" else []
    while words[0].startswith("-"):
        if words.pop(0) == "--entrypoint":
            starts = [words.pop(0)]
    return [*starts, *words[1:]]


def _refused_by_front_door(arguments: list[str]) -> str | None:
    """Options before the job are spark-submit's, but for overlays and --set; those behind it the job's."""
    position = next((i for i, word in enumerate(arguments) if word.endswith(".py")), len(arguments))
    before, job = arguments[:position], arguments[position : position + 1]
    ours, position = [], 0
    while position < len(before):
        option, value = before[position], before[position + 1 : position + 2]
        if option in ("--help", "--verbose"):
            position += 1
            continue
        if not value or not option.startswith("--"):
            return f"not a job and not an option: {option}"
        if option == "--set" or (option == "--conf" and value[0].endswith((".yaml", ".yml"))):
            ours += [option, *value]
        elif option != "--conf" and option not in spark_options():
            return f"spark-submit has no option {option}"
        position += 2
    return _refused_by_script((job or ["jobs/run_pipeline.py"])[0], [*ours, *arguments[len(before) + 1 :]])


@functools.cache
def spark_options() -> set[str]:
    """Return the options that spark-submit's own help names."""
    told = subprocess.run([ROOT / ".venv" / "bin" / "spark-submit", "--help"], capture_output=True, text=True)
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", told.stdout + told.stderr, re.M))


def _refused_by_script(script: str, arguments: list[str]) -> str | None:
    if not (ROOT / script).is_file():
        return f"no such file: {script}"
    if not re.search(r"argparse|\bstart\(main", (ROOT / script).read_text(encoding="utf-8")):
        return f"{script} takes no options" if arguments else None
    return _refused_by_parser(script, arguments)


class _Parsed(Exception):
    pass


def _refused_by_parser(program: str, arguments: list[str]) -> str | None:
    """Start a script or module with its arguments, and stop it when its parser has read them."""
    original, depth = argparse.ArgumentParser.parse_known_args, 0

    def parse_known_args(self, args=None, namespace=None):
        nonlocal depth
        depth += 1
        try:
            answer = original(self, args, namespace)
        finally:
            depth -= 1
        if depth == 0:  # not a subcommand's parser
            raise _Parsed(*answer)
        return answer

    name = ROOT / program if program.endswith(".py") else program
    said = io.StringIO()
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args),
        mock.patch.object(sys, "argv", [str(name), *arguments]),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(said),
        warnings.catch_warnings(action="ignore", category=RuntimeWarning),  # that another test has imported it
    ):
        try:
            (runpy.run_path if isinstance(name, Path) else runpy.run_module)(str(name), run_name="__main__")
        except _Parsed as parsed:
            options, rest = parsed.args
        except SystemExit as left:
            return said.getvalue() if left.code else None
    if rest and program != "benchmarks/cluster.py":
        return f"{program} has no option {rest[0]}"
    if any(word.endswith(".py") for word in rest):
        return _refused_by_front_door(rest)
    return _wrong_settings([word for name in ("conf", "settings") for value in getattr(options, name, None) or []
                            for word in (f"--{name.removesuffix('tings')}", value)])  # fmt: skip


def _wrong_settings(arguments: list[str]) -> str | None:
    """Overlays of the reader's own (my.yaml) are not looked for, those in conf/ are."""
    parser = argparse.ArgumentParser()
    configuration.add_arguments(parser)
    options, _ = parser.parse_known_args(arguments)
    overlays = [name for name in options.conf if name.startswith("conf/") or (ROOT / name).exists()]
    try:
        configuration.load(overlays, [setting for setting in options.settings if setting != "..."])
    except configuration.PipelineError as error:
        return str(error)
    return None
