"""A release as one file: packed, fetched, and refused whenever it is not whole."""

import hashlib
import http.server
import json
import os
import shutil
import socket
import tempfile
import threading
import zipfile
from pathlib import Path

import duckdb
import pytest

from app import shared
from pipeline.__main__ import main
from pipeline.release import store
from tests.conftest import publish


@pytest.fixture(scope="module")
def packed(warehouse, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    assert main(["pack", "--out", str(folder), "--set", f"warehouse.dir={warehouse}"]) == 0
    return folder / "release.zip"


@pytest.fixture(scope="module")
def site(packed):
    """The packed release on a web server of its own: its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=packed.parent)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(source, warehouse, *options):
    return main(["fetch", str(source), *options, "--set", f"warehouse.dir={warehouse}"])


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_packed_release_is_fetched_whole_and_goes_live(warehouse, packed, site, tmp_path, capsys):
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    assert fetch(f"{site}/release.zip#sha256={digest}", tmp_path) == 0
    assert "live is now" in capsys.readouterr().out
    there, here = store.release_dir(warehouse), store.release_dir(tmp_path)
    assert here.name == there.name and store.verify(tmp_path, here.name) == []
    assert main(["recommend", "id:1", "--set", f"warehouse.dir={tmp_path}"]) == 0
    assert left_in(tmp_path) == ["CURRENT", "releases"]
    publish(tmp_path)
    assert store.current_id(tmp_path) != here.name
    assert fetch(packed, tmp_path) == 0 and store.current_id(tmp_path) == here.name  # it was here already
    publish(tmp_path)
    assert fetch(packed, tmp_path, "--set", "warehouse.keep=1") == 0 and len(store.published_ids(tmp_path)) == 2


def rewritten(packed, target, change):
    """Copy the archive with its members, name to bytes, changed; the manifest stands under 'manifest.json'."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    top = next(iter(members)).split("/")[0]
    manifest = json.loads(members.pop(f"{top}/manifest.json"))
    change(top, manifest, members)
    top = next(iter(members)).split("/")[0]
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(f"{top}/manifest.json", json.dumps(manifest))
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def outside(path):
    def change(top, manifest, members):
        manifest["files"][path] = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
        members[f"{top}/{path}"] = b"x"

    return change


def a_link(top, manifest, members):
    link = zipfile.ZipInfo(f"{top}/link")
    link.external_attr = 0o120777 << 16
    members[link] = b"/etc/hostname"
    manifest["files"]["link"] = {"bytes": 13, "sha256": hashlib.sha256(b"/etc/hostname").hexdigest()}


def packed_oddly(top, manifest, members):
    odd = zipfile.ZipInfo(f"{top}/odd")
    odd.compress_type = zipfile.ZIP_LZMA
    members[odd] = b"x"
    manifest["files"]["odd"] = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}


def altered(top, manifest, members):
    members[f"{top}/serving.duckdb"] = bytes(len(members[f"{top}/serving.duckdb"]))


def longer(top, manifest, members):
    members[f"{top}/serving.duckdb"] += b"x"


def missing(top, manifest, members):
    del members[f"{top}/serving.duckdb"]


def unknown(top, manifest, members):
    members[f"{top}/more.txt"] = b"x"


def renamed(top, manifest, members):
    manifest["release_id"] = "../../etc"


def huge(top, manifest, members):
    manifest["files"]["serving.duckdb"]["bytes"] = 2**33


def smaller_than_nothing(top, manifest, members):
    manifest["files"]["serving.duckdb"]["bytes"] = -10


def another_statement(top, manifest, members):
    evil = os.environ["EVIL"]
    manifest["tables"][f"movies as t; copy (select 'x') to '{evil}' --"] = {"rows": 0}


def without_tables(top, manifest, members):
    manifest["tables"] = {}


def of_another_kind(top, manifest, members):
    """The tables are as they should be; the macros that answer from them are gone."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "serving.duckdb"
        file.write_bytes(members[f"{top}/serving.duckdb"])
        with duckdb.connect(str(file)) as connection:
            connection.execute("drop macro table recommend; drop macro table listed")
        content = file.read_bytes()
    members[f"{top}/serving.duckdb"] = content
    manifest["files"]["serving.duckdb"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def from_a_time(when):
    def change(top, manifest, members):
        manifest["release_id"] = f"{when}-abcdef"
        for name in list(members):
            members[f"{when}-abcdef/{name.split('/', 1)[1]}"] = members.pop(name)

    return change


@pytest.mark.parametrize(("change", "words"), [
    (without_tables, "has no table"), (of_another_kind, "cannot answer"),
    (smaller_than_nothing, "a size that is no number of bytes"), (another_statement, "is no table of a release"),
    (from_a_time("20990101T000000Z"), "in the future"), (from_a_time("99999999T999999Z"), "does not match format"),
    (outside("../../evil"), "would leave the folder"), (outside("/tmp/evil"), "would leave the folder"),
    (outside("a\\..\\evil"), "would leave the folder"), (altered, "not as it was published"),
    (longer, "unpacks to more than"), (missing, "not those that its manifest names"),
    (unknown, "not those that its manifest names"), (renamed, "not named for the release"),
    (huge, "--max-mib allows more"), (a_link, "is a link or a device"), (packed_oddly, "is packed in an odd way"),
])  # fmt: skip
def test_an_archive_that_is_not_what_it_says_changes_nothing(packed, tmp_path, capsys, monkeypatch, change, words):
    monkeypatch.setenv("EVIL", str(tmp_path / "evil.txt"))
    source = rewritten(packed, tmp_path / "wrong.zip", change)
    assert fetch(source, tmp_path / "warehouse") == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and "python -m pipeline pack" in error
    assert left_in(tmp_path / "warehouse") == [] and left_in(tmp_path) == ["warehouse", "wrong.zip"]


def test_what_cannot_be_fetched_is_told_in_one_line(packed, site, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/release.zip?key=secret"
        sources = {
            f"{site}/nothing.zip": "404", nobody: "ConnectionError", tmp_path / "none.zip": "No such file",
            f"{site}/release.zip#sha256={'0' * 64}": "its sha256 is", __file__: "not a zip file",
        }  # fmt: skip
        for source, words in sources.items():
            assert fetch(source, tmp_path / "warehouse") == 1
            error = capsys.readouterr().err
            assert words in error and error.count("\n") == 1 and "secret" not in error
    assert fetch(packed, tmp_path / "warehouse", "--max-mib", "0") == 1
    assert "--max-mib" in capsys.readouterr().err
    assert left_in(tmp_path / "warehouse") == []


def test_a_damaged_release_is_neither_packed_nor_made_live_again(warehouse, packed, tmp_path, capsys):
    shutil.copytree(warehouse, tmp_path / "copy")
    database = store.release_dir(tmp_path / "copy") / "serving.duckdb"
    database.write_bytes(b"x")
    for command in (["pack", "--out", str(tmp_path)], ["fetch", str(packed)]):
        assert main([*command, "--set", f"warehouse.dir={tmp_path}/copy"]) == 1
        assert "serving.duckdb: not as it was published" in capsys.readouterr().err
    assert left_in(tmp_path) == ["copy"]


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the page anew, and return how it says which release is live."""
    monkeypatch.setattr("sys.argv", ["streamlit_app.py", "--set", f"warehouse.dir={tmp_path}/page"])
    kept = (shared.settings, shared.open_release, shared.as_the_page_starts, shared.fetched)

    def start():
        for cached in kept:
            cached.clear()
        return lambda: shared.live_release().release_id

    yield start
    start()


def test_the_page_fetches_a_release_as_it_starts_and_then_no_more(packed, site, start, tmp_path, monkeypatch):
    monkeypatch.setenv("RELEASE_URL", f"{site}/release.zip")
    live = start()
    first = live()
    assert first == store.current_id(tmp_path / "page")
    publish(tmp_path / "page")
    assert live() == store.current_id(tmp_path / "page") != first
    assert start()() == first


def test_a_page_that_has_a_release_stays_with_it_where_none_can_be_fetched(site, start, tmp_path, monkeypatch, caplog):
    publish(tmp_path / "page")
    monkeypatch.setenv("RELEASE_URL", f"{site}/nothing.zip")
    live = start()
    assert [live(), live()] == [store.current_id(tmp_path / "page")] * 2
    assert caplog.text.count("404") == 1
