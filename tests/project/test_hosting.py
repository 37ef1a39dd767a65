"""What hosts are given: images, compose file, the packages that serve, and what is pushed to a Space."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
WORKFLOWS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(".github/workflows/*.yml"))


@pytest.mark.parametrize("command", [
    ["hadolint", "Dockerfile"],
    ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
    ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
    ["check-jsonschema", "--builtin-schema", "vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"],
    ["check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml",
     ".github/ISSUE_TEMPLATE/idea.yml"],
])  # fmt: skip
def test_linters_find_nothing(command):
    run = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_workflows_run_the_commands_that_the_pages_name_and_may_only_read():
    read = {Path(path).stem: yaml.safe_load((ROOT / path).read_text(encoding="utf-8")) for path in WORKFLOWS}
    jobs = {name: next(iter(workflow["jobs"].values())) for name, workflow in read.items()}
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    python = "PYTHON=$(command -v python) "
    assert runs == {
        "audit": ["./audit.sh"],
        "exhaustive": [f"{python}./run-tests.sh ${{{{ matrix.options }}}}"],
        "tests": [f"{python}.ci/run"],
    }
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("CONTRIBUTING.md", "docs/operations.md"))
    for options in jobs["exhaustive"]["strategy"]["matrix"]["options"]:
        assert f"`./run-tests.sh {options}`" in pages
    for name, workflow in read.items():
        assert len(workflow["jobs"]) == 1 and workflow["permissions"] == {}
        assert jobs[name]["permissions"] == {"contents": "read"}
        used = [step["uses"] for step in jobs[name]["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in used)


def pinned(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.M)), text.count("--hash=sha256:")


def test_what_serves_is_a_part_of_what_computes():
    serving, hashes = pinned("requirements-serving.txt")
    everything, _ = pinned("requirements.txt")
    assert serving.items() <= everything.items() and hashes >= len(serving)
    assert not {"pyspark", "faiss-cpu", "scipy", "scikit-learn", "matplotlib", "optuna", "implicit"} & serving.keys()


def imported(module, seen):
    """Collect the packages that a module and those of the project that it imports, anywhere in them, import."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    if module in seen or not path.exists():
        return set()
    seen.add(module)
    packages = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in ("app", "pipeline"):
                packages |= imported(name, seen)
            else:
                packages.add(name.split(".")[0])
    return packages


def test_the_page_and_the_terminal_import_nothing_beyond_it():
    seen = set()
    needed = set.union(*(imported(f"app.{path.stem}", seen) for path in (ROOT / "app").glob("*.py")))
    needed |= imported("pipeline.__main__", seen) | imported("pipeline.serving.sandbox", seen)
    assert {"pipeline.serving.recommender", "pipeline.release.archive", "pipeline.serving.sessions"} <= seen
    names = {"yaml": "pyyaml"}
    third_party = {names.get(name, name) for name in needed - sys.stdlib_module_names}
    assert {"streamlit", "duckdb"} <= third_party <= pinned("requirements-serving.txt")[0].keys()


def test_images_run_as_nobody_special_on_a_pinned_base_and_hold_no_secret():
    assert re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.M) == ["python:3.11.13-slim-bookworm"]
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[2:]
    assert all("USER 1000" in stage for stage in stages if "ENTRYPOINT" in stage)
    assert not re.search(r"^(ARG|ENV) .*(KEY|TOKEN|SECRET|PASSWORD)", DOCKERFILE, re.M)
    # Nothing is sent to the builder but what is named.
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert next(line for line in ignore if line and not line.startswith("#")) == "*"
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
        for name in source.split():
            kept = [line[1:] for line in ignore if line.startswith("!")]
            assert (ROOT / name).exists() and any(line == name or line.startswith(f"{name}/") for line in kept), name


@pytest.mark.parametrize("path", [
    ".env", ".streamlit/secrets.toml", "release.zip", "data/mine/ratings.csv", "data/ml-1m/ratings.dat",
    "data/imdb/title.basics.tsv.gz", "data/ml-latest-small/title.ratings.tsv.gz", "data/ml-latest-small/imdb.parquet",
    "data/ml-latest-small/imdb.rejected.parquet", "data/mine/.imdb.parquet.77",
])  # fmt: skip
def test_neither_git_nor_an_image_takes_secrets_releases_or_other_peoples_data(tmp_path, path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    assert subprocess.run(["git", "check-ignore", "--quiet", path], cwd=tmp_path).returncode == 0
    assert not sent_to_the_builder(path)


def test_the_builder_gets_the_data_that_images_hold():
    assert sent_to_the_builder("data/ml-latest-small/ratings.csv") and sent_to_the_builder(".streamlit/config.toml")


def sent_to_the_builder(path):
    """Whether .dockerignore lets a path through: the last line counts that it or a folder of it matches."""
    sent, places = True, [path, *map(str, Path(path).parents)][:-1]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split():
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, place) for place in places):
            sent = line.startswith("!")
    return sent


def test_containers_may_write_to_their_volumes_only():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"] and service["tmpfs"] == ["/tmp"], name
        assert service["build"]["target"] in re.findall(r" AS (\w+)$", DOCKERFILE, re.M)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    volumes = {name: set(service["volumes"]) for name, service in compose["services"].items()}
    page = {"warehouse:/app/warehouse:ro", "sessions:/app/sessions", "incoming:/app/incoming", "./conf:/app/conf:ro"}
    assert page == volumes["page"]
    # The batch learns from thumbs that the page has written out, and sees nobody's session.
    assert {"incoming:/app/incoming:ro", "./data:/app/data:ro"} < volumes["batch"]
    assert [name for name, mounted in volumes.items() if "./data:/app/data" in mounted] == ["files"]
    named = {volume.split(":")[0] for mounted in volumes.values() for volume in mounted if volume[0] != "."}
    assert named == compose["volumes"].keys()
    owned = re.search(r"chown app:app (.*)$", DOCKERFILE, re.M)[1].split()
    assert named == set(owned), "a volume belongs to whom the folder in the image belongs to"
    assert compose["services"]["worker"]["deploy"]["replicas"] == 2
    render = yaml.safe_load((ROOT / "render.yaml").read_text(encoding="utf-8"))["services"][0]
    assert render["healthCheckPath"] == "/ready"


def test_a_space_gets_one_commit_with_its_settings_and_without_pictures_and_pdfs(tmp_path):
    def git(*words, cwd):
        return subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True, text=True).stdout

    work, space = tmp_path / "work", tmp_path / "space"
    (work / "hosting").mkdir(parents=True)
    for name in ("hosting/huggingface.sh", "hosting/huggingface.yaml"):
        (work / name).write_bytes((ROOT / name).read_bytes())
        (work / name).chmod(0o755)
    (work / "README.md").write_text("# Ten films\n")
    (work / "docs").mkdir()
    (work / "a picture.png").write_bytes(b"\x89PNG")
    (work / "docs" / "talk.pdf").write_bytes(b"%PDF")
    git("init", "-q", "-b", "main", ".", cwd=work)
    git("init", "-q", "--bare", str(space), cwd=work)
    git("add", "-A", cwd=work)
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    git(*who, "commit", "-qm", "Films", cwd=work)
    git("config", "user.name", "Test", cwd=work)
    git("config", "user.email", "test@example.org", cwd=work)
    for _ in range(2):  # a second push replaces the first
        subprocess.run([work / "hosting/huggingface.sh", str(space)], check=True, capture_output=True)
    assert git("rev-list", "--count", "main", cwd=space) == "1\n"
    names = {"README.md", "hosting/huggingface.sh", "hosting/huggingface.yaml"}
    assert set(git("ls-tree", "-r", "--name-only", "main", cwd=space).splitlines()) == names
    settings, readme = git("show", "main:README.md", cwd=space).removeprefix("---\n").split("---\n")
    assert yaml.safe_load(settings)["sdk"] == "docker" and readme == "# Ten films\n"
    assert yaml.safe_load(settings)["app_port"] == int(re.search(r"ENV PORT=(\d+)", DOCKERFILE)[1])
    assert git("status", "--porcelain", cwd=work) == ""
