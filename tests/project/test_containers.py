"""The images, built and run as they stand: nobody special, a read-only root, the page answering.

    ./run-tests.sh tests/project/test_containers.py -m exhaustive

Needs root, buildah and podman, no daemon (Debian: apt install buildah podman runc debootstrap). Where the base image
cannot be had, Debian's bookworm with its own Python 3.11, made by debootstrap, stands in for it. Takes a quarter of an
hour, most of it Spark making the site's release.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

from benchmarks.page import launched
from pipeline.__main__ import main
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(
        os.geteuid() != 0 or not (shutil.which("buildah") and shutil.which("podman")),
        reason="needs root, buildah and podman",
    ),
]
BASE = re.search(r"^FROM (\S+) AS base$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)[1]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CONFINED = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"]
CONFINED += ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]  # podman's own may be more than it may give
USER = 1000


def run(*command, check=True, **options):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)
    assert done.returncode == 0 or not check, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The base image under its name: the real one, or what stands in for it."""
    if run("podman", "image", "exists", BASE, check=False).returncode == 0:
        return
    if run("podman", "pull", "-q", f"docker.io/library/{BASE}", check=False).returncode == 0:
        return
    folder = tmp_path_factory.mktemp("debian")
    packages = "ca-certificates,python3,python3-venv"
    run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", folder)
    (folder / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    if CERTIFICATES.exists():  # this machine may reach its registries through a proxy of its own
        shutil.copy(CERTIFICATES, folder / str(CERTIFICATES).lstrip("/"))
        (folder / "etc/pip.conf").write_text(f"[global]\ncert={CERTIFICATES}\n")
    container = run("buildah", "from", "scratch").stdout.strip()
    mounted = run("buildah", "mount", container).stdout.strip()
    run("cp", "-a", f"{folder}/.", mounted)
    run("buildah", "umount", container)
    run("buildah", "commit", "-q", container, f"docker.io/library/{BASE}")
    run("buildah", "rm", container)


def built(target, *options):
    command = ["buildah", "build", "--isolation", "chroot", "--pull=never", "--layers", "--target", target, *options]
    run(*command, "-t", f"ten-films-{target}", ".")
    return f"localhost/ten-films-{target}"


SAMPLE = ["data.dir=data/sample", "evaluation.enabled=false", "als.rank=8", "neighbours.k=12"]
SAMPLE = [word for option in SAMPLE for word in ("--set", option)]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """What the batch may write to: folders of user 1000, as options of podman, and the warehouse."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("warehouse", "logs")}
    for folder in folders.values():
        os.chown(folder, USER, USER)
    return [word for name, folder in folders.items() for word in ("-v", f"{folder}:/app/{name}")], folders["warehouse"]


@pytest.fixture(scope="module")
def warehouse(base, volumes):
    """A release of the sample, made in the batch image."""
    mounts, folder = volumes
    done = run("podman", "run", "--rm", "--network", "host", *CONFINED, *mounts, built("batch"), *SAMPLE)
    assert "is live in" in done.stdout
    return folder


@pytest.fixture
def start():
    """Start an image with the page in it, confined; return its container and its address, once it is ready."""
    started = []

    def start(image, *mounts):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        where = ["--network", "host", "-e", f"PORT={port}", "--memory", "512m", "--memory-swap", "512m"]
        container = run("podman", "run", "-d", *where, *CONFINED, *mounts, image).stdout.strip()
        started.append(container)
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while main(["ready", address]) != 0:
            assert time.monotonic() < deadline, run("podman", "logs", container).stderr
            time.sleep(1)
        return container, address

    yield start
    for container in started:
        run("podman", "rm", "-f", container)


def assert_confined(container):
    """Nobody special, nothing to write to, nothing of the batch; the image's own health check passes."""
    inside = ("podman", "exec", container)
    assert run(*inside, "id", "-u").stdout == f"{USER}\n"
    assert "Read-only file system" in run(*inside, "touch", "/app/app/new", check=False).stderr
    assert "Read-only file system" in run(*inside, "touch", "/home/app/new", check=False).stderr
    run(*inside, "touch", "/app/sessions/new")
    assert re.search(r"^CapEff:\s+0+$", run(*inside, "cat", "/proc/1/status").stdout, re.M)
    assert run(*inside, "sh", "-c", "command -v java", check=False).stdout == ""
    assert run(*inside, ".venv/bin/python", "-c", "import pyspark", check=False).returncode == 1
    check = ["sh", "-c", "exec .venv/bin/python -m pipeline ready http://127.0.0.1:$PORT"]
    assert f"CMD {str(check).replace(chr(39), chr(34))}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert run(*inside, *check).stdout.startswith("ready: release ")


def test_the_batch_image_makes_a_release_and_the_page_image_serves_it(warehouse, start, capsys):
    container, _ = start(built("page"), "-v", f"{warehouse}:/app/warehouse:ro")
    assert_confined(container)
    assert (warehouse / "CURRENT").read_text().strip() in capsys.readouterr().out


def test_the_site_image_answers_as_it_comes(base, start):
    container, _ = start(built("site"))
    assert_confined(container)
    search = run("podman", "exec", container, ".venv/bin/python", "-m", "pipeline", "search", "toy story").stdout
    assert "Toy Story 2" in search


def test_the_site_image_fetches_a_release_where_it_is_told_of_one(warehouse, start, tmp_path):
    assert main(["pack", "--out", str(tmp_path / "release.zip"), "--set", f"warehouse.dir={warehouse}"]) == 0
    given, options = "RELEASE_URL=/given/release.zip", "PAGE_OPTIONS=--set page.items=talkies"
    image = built("site", "--build-arg", given)
    look = ["--entrypoint", "sh", image, "-c", "stat -c %u warehouse && ls warehouse"]
    looked = run("podman", "run", "--rm", "--network", "host", *CONFINED, *look).stdout
    assert looked == f"{USER}\n"  # no release was made, and where the root is not read-only one can be fetched
    tmp_path.chmod(0o755)
    (tmp_path / "fetched").mkdir()
    os.chown(tmp_path / "fetched", USER, USER)
    mounts = ("-v", f"{tmp_path}:/given:ro", "-v", f"{tmp_path}/fetched:/app/warehouse")
    container, address = start(image, *mounts, "-e", given, "-e", options)
    served = run("podman", "exec", container, "cat", "/app/warehouse/CURRENT").stdout
    assert served == (warehouse / "CURRENT").read_text()
    with sync_playwright() as playwright:
        browser = launched(playwright)
        page = browser.new_page()
        page.goto(address)
        page.get_by_text("Ten talkies for you").first.wait_for()
        browser.close()


def test_the_compose_file_s_cluster_makes_a_release(base, volumes):
    """Its services one by one, as podman alone has no compose: one network, this machine's, on a port of its own."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    live = volumes[1] / "CURRENT"
    before = live.read_text() if live.exists() else ""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    network = ["--network", "host", "--add-host", "master:127.0.0.1", "--add-host", f"{socket.gethostname()}:127.0.0.1"]

    def command(name, *options):
        entrypoint = services[name].get("entrypoint")
        entry = ["--entrypoint", json.dumps(entrypoint)] if entrypoint else []
        words = [word.replace("7077", port) for word in services[name]["command"]]
        return ["podman", "run", *options, *network, *CONFINED, *volumes[0], *entry, built("batch"), *words]

    started = [run(*command("master", "-d")).stdout.strip()]
    try:
        started += [
            run(*command("worker", "-d")).stdout.strip() for _ in range(services["worker"]["deploy"]["replicas"])
        ]
        deadline = time.monotonic() + 120
        while (logs := run("podman", "logs", started[0])).stderr.count("Registering worker") < len(started) - 1:
            assert time.monotonic() < deadline, logs.stderr
            time.sleep(1)
        kind, *check = services["master"]["healthcheck"]["test"]
        assert kind == "CMD" and services["worker"]["healthcheck"]["test"] == [kind, *check]
        run("podman", "exec", started[0], *check)
        # Workers of one address would read each other's files off the disk, and these have none in common.
        services["cluster"]["command"][:0] = ["--conf", "spark.shuffle.readHostLocalDisk=false"]
        done = run(*command("cluster", "--rm"), *SAMPLE)
        assert "is live in" in done.stdout and live.read_text() != before
        assert "Registering app" in run("podman", "logs", started[0]).stderr
    finally:
        run("podman", "rm", "-f", *started)
