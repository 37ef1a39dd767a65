"""jobs/download_movielens.py against a server on loopback; nothing here leaves the machine."""

import hashlib
import io
import random
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from jobs import download_movielens as job
from pipeline.data import download

RATINGS = "userId,movieId,rating\n1,1,4.0\n1,3,4.0\n2,6,3.0\n"
PADDING = random.Random(7).randbytes(200_000)  # makes a download long enough to cut, and does not compress
CUT = 70_000  # bytes; the job writes 65,536 at a time


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) with ETags and ranges; the other attributes make it misbehave."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.seen: list[tuple[str, dict, int]] = []  # path, request headers, answered status
        self.errors: list[int] = []  # statuses answered first
        self.cuts: list[int] = []  # bytes after which the next archives break off
        self.ignores, self.most = "", 10**9  # "Range" or "If-Range"; bytes in one 206 answer
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def server_close(self):
        self.shutdown()
        super().server_close()

    def publish(self, size: str, archive: bytes, md5: str | None = "{digest}  {name}\n") -> None:
        name, digest = f"ml-{size}.zip", hashlib.md5(archive).hexdigest()
        self.files = {f"/{name}": archive}
        if md5 is not None:
            self.files[f"/{name}.md5"] = md5.format(digest=digest, name=name).encode()

    def zips(self) -> list[tuple[str | None, int]]:
        """(Range header, status) of every request for an archive."""
        return [(sent.get("Range"), status) for path, sent, status in self.seen if path.endswith(".zip")]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site: Server = self.server
        path = "/" + self.path.rpartition("/")[2]  # a request to a proxy has the whole address here
        body, total = site.files.get(path), len(site.files.get(path, b""))
        etag = f'"{hashlib.md5(body or b"").hexdigest()}"'
        status, headers, wanted = 200, {"ETag": etag}, self.headers.get("Range")
        same = site.ignores == "If-Range" or self.headers.get("If-Range", etag) == etag
        if site.errors or body is None:
            status, body, headers = (site.errors or [404]).pop(0), b"", {}
        elif wanted and same and site.ignores != "Range":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status, body = (206, body[start : start + site.most]) if start < total else (416, b"")
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}" if body else f"bytes */{total}"
        site.seen.append((path, dict(self.headers), status))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: site.cuts.pop(0)] if body and site.cuts and path.endswith(".zip") else body)

    def log_message(self, *args):
        pass


def make_zip(members: dict[str | zipfile.ZipInfo, bytes | str], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def movielens_zip(top: str = "ml-1m", ratings: str = "ratings.csv", text: str = RATINGS) -> bytes:
    return make_zip({f"{top}/": "", f"{top}/{ratings}": text, f"{top}/README.txt": "terms", f"{top}/x": PADDING})


@pytest.fixture(autouse=True)
def quiet_world(monkeypatch):
    """No proxy of this machine, no waiting between retries."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF", 0)


@pytest.fixture
def server():
    with Server() as server:
        server.publish("1m", movielens_zip())
        yield server


@pytest.fixture
def run(server, tmp_path, capsys):
    """run("1m", ...) -> exit code, stdout, stderr; fetches from `server` into tmp_path."""
    defaults = ["--to", str(tmp_path), "--url", server.url]
    return lambda *argv: (job.main([*defaults, *argv]), *capsys.readouterr())


@pytest.fixture
def fail(run, tmp_path):
    """fail("1m", ...) -> the one line in which that ends, besides the notes of retries; nothing is in place."""

    def fail(*argv: str) -> str:
        code, out, err = run(*argv)
        *notes, last = err.splitlines()
        assert (code, out) == (1, "") and last.startswith("error: ")
        assert all("trying again" in note for note in notes) and not (tmp_path / "ml-1m" / "x").exists()
        return last

    return fail


@pytest.fixture
def part(server, fail, tmp_path, monkeypatch):
    """What a run leaves that got the beginning of the archive and gave up."""
    server.cuts = [CUT]
    with monkeypatch.context() as patch:
        patch.setattr(download, "TRIES", 1)
        assert "the same command resumes" in fail("1m")
    server.seen.clear()
    assert names(tmp_path) == ["ml-1m.zip.part", "ml-1m.zip.part.json"]
    return tmp_path / "ml-1m.zip.part"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_ready(run, folder: Path, text: str = RATINGS) -> None:
    """The next run succeeds: ml-1m is whole, and nothing else lies beside it."""
    assert run("1m")[0] == 0 and names(folder) == ["ml-1m"]
    assert (folder / "ml-1m" / "ratings.csv").read_text() == text
    assert (folder / "ml-1m" / "x").read_bytes() == PADDING


@pytest.mark.parametrize(
    ("size", "top", "ratings", "md5", "proof"),
    [
        ("1m", "ml-1m", "ratings.dat", "MD5 ({name}) = {digest}\n", "MD5 checked"),
        ("10m", "ml-10M100K", "ratings.dat", "{digest}  {name}\n", "MD5 checked"),
        ("100k", "ml-100k", "u.data", "{digest}  {name}\n", "MD5 checked"),
        ("latest", "ml-latest", "ratings.csv", None, "no MD5 published, length and CRCs checked"),
    ],
)
def test_a_size_lands_in_its_folder_with_its_proof_and_only_once(run, server, tmp_path, size, top, ratings, md5, proof):
    server.publish(size, movielens_zip(top, ratings), md5)
    code, out, err = run(size)
    assert (code, err, names(tmp_path)) == (0, "", [f"ml-{size}"])
    assert (tmp_path / f"ml-{size}" / ratings).read_text() == RATINGS
    conditions, ready = out.splitlines()
    assert f"ml-{size}/README.txt" in conditions and f"ml-{size} is ready ({proof}); next: ./spark-submit.sh" in ready
    server.seen.clear()
    code, out, err = run(size)
    assert (code, err, server.seen) == (0, "", []) and "is already there" in out


def test_a_folder_of_something_else_is_not_overwritten(fail, server, tmp_path):
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "thesis.txt").write_text("mine")
    assert "move it away" in fail("1m")
    assert names(tmp_path / "ml-1m") == ["thesis.txt"] and server.seen == []


def test_the_next_run_asks_for_the_missing_bytes_only(part, run, server, tmp_path):
    assert part.stat().st_size == 65_536
    assert_ready(run, tmp_path)
    assert server.zips() == [("bytes=65536-", 206)] and server.seen[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("note", "ignored", "statuses"), [
    (None, "", [200]), (None, "Range", [200]), (None, "If-Range", [206, 200]),
    ("", "If-Range", [200]), ('{"http://elsewhere/ml-1m.zip": "x"}', "If-Range", [200]),
])  # fmt: skip
def test_a_part_of_another_or_an_unknown_file_starts_over(part, run, server, tmp_path, note, ignored, statuses):
    newer = RATINGS.replace("4.0", "5.0")
    server.publish("1m", movielens_zip(text=newer), md5=None)  # no checksum that would notice a mixture
    server.ignores = ignored
    if note is not None:
        part.with_name("ml-1m.zip.part.json").write_text(note)
    assert_ready(run, tmp_path, newer)
    assert [status for _, status in server.zips()] == statuses


@pytest.mark.parametrize(("extra", "statuses"), [(b"", [416]), (b"too long", [416, 200])])
def test_a_part_that_needs_no_more_bytes(part, run, server, tmp_path, extra, statuses):
    part.write_bytes(server.files["/ml-1m.zip"] + extra)
    assert_ready(run, tmp_path)
    assert [status for _, status in server.zips()] == statuses


def test_killed_in_mid_download_leaves_no_target_and_the_next_run_completes(run, server, tmp_path):
    server.cuts = [CUT] + [0] * 99
    part, patience = tmp_path / "ml-1m.zip.part", time.monotonic() + 30
    command = [sys.executable, job.__file__, "1m", "--to", str(tmp_path), "--url", server.url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path) as process:
        while not (part.exists() and part.stat().st_size) and time.monotonic() < patience:
            time.sleep(0.01)
        process.kill()
    have = part.stat().st_size
    assert have and not (tmp_path / "ml-1m").exists()
    server.cuts.clear()
    assert_ready(run, tmp_path)
    assert server.zips()[-1] == (f"bytes={have}-", 206)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_ctrl_c_before_the_rename_is_one_line_and_keeps_the_part(run, server, tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        patch.setattr(download.os, step, Mock(side_effect=KeyboardInterrupt))
        assert run("1m") == (130, "", "stopped; the same command resumes\n")
    assert names(tmp_path) == ["ml-1m.zip.part", "ml-1m.zip.part.json"]
    (tmp_path / ".ml-1m.unpacking-x" / "ml-1m").mkdir(parents=True)  # as a SIGKILL would have left it
    assert_ready(run, tmp_path)
    assert [status for _, status in server.zips()] == [200, 416]


@pytest.mark.parametrize("passing", [500, 503, 429, 408])
def test_retries_go_on_as_long_as_bytes_arrive(run, server, tmp_path, monkeypatch, passing):
    monkeypatch.setattr(download, "TRIES", 2)
    server.errors, server.cuts, server.most = [passing], [CUT], CUT
    assert_ready(run, tmp_path)
    assert [status for _, status in server.zips()] == [passing, 200, 206, 206]


def test_retries_back_off_and_end_in_one_clear_line(fail, server, tmp_path, monkeypatch):
    server.errors, waits = [503] * 99, []
    monkeypatch.setattr(download, "BACKOFF", 1)
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    assert "answered 503 Service Unavailable; the same command resumes" in fail("1m")
    assert (waits, names(tmp_path)) == ([1, 2, 4, 8], [])


def test_an_archive_that_is_not_there_is_not_asked_for_twice(fail, server, tmp_path):
    server.files.clear()
    assert f"404 Client Error: Not Found for url: {server.url}/ml-1m.zip; check --url" in fail("1m")
    assert (server.zips(), names(tmp_path)) == ([(None, 404)], [])


def test_nobody_listening_is_one_clear_line_and_verbose_shows_the_trace(fail, run):
    with Server() as closed:
        url = closed.url
    assert "ml-1m.zip: Connection refused;" in fail("1m", "--url", url)
    assert "Traceback" in run("1m", "--verbose", "--url", url)[2]


@pytest.mark.parametrize(("option", "value"), [("--url", "nonsense"), ("--url", "ftp://x"), ("--to", __file__)])
def test_an_option_that_cannot_work_is_named_in_one_line(fail, tmp_path, option, value):
    line = fail("1m", option, value)
    assert option in line and value in line and names(tmp_path) == []


def test_a_proxy_is_used_and_no_proxy_is_honoured(run, fail, server, tmp_path, monkeypatch):
    with Server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert_ready(run, tmp_path)  # from 127.0.0.1, which is in NO_PROXY
        assert proxy.seen == []
        proxy.publish("20m", movielens_zip("ml-20m"))
        assert run("20m", "--url", "http://files.movielens.invalid")[0] == 0  # a name only the proxy answers for
        assert [headers["Host"] for _, headers, _ in proxy.seen] == ["files.movielens.invalid"] * 2
    assert "at the proxy: Connection refused" in run("25m", "--url", "http://files.movielens.invalid")[2]


@pytest.mark.parametrize(("md5", "complaint"), [("0" * 32, "published is 000"), ("<html>log in</html>", "holds 0")])
def test_what_does_not_have_the_published_checksum_is_not_unpacked(fail, server, tmp_path, md5, complaint):
    server.publish("1m", movielens_zip(), md5)
    assert complaint in fail("1m")
    assert [name for name in names(tmp_path) if "part" not in name] == []


FILES = {"ml-1m/ratings.csv": RATINGS}
DEFLATED, STORED = make_zip(FILES, zipfile.ZIP_DEFLATED), make_zip(FILES)
BOMB = make_zip({"ml-1m/ratings.csv": bytes(200_000)}, zipfile.ZIP_DEFLATED)
LINK = zipfile.ZipInfo("ml-1m/link")
LINK.external_attr = 0o120777 << 16


def declare(archive: bytes, size: int, lie: int) -> bytes:
    """`archive` with `size` replaced by `lie` in the headers."""
    return archive.replace(size.to_bytes(4, "little"), lie.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("archive", "complaint"),
    [
        (movielens_zip()[:-1000], "not a zip file"),
        (movielens_zip()[1000:], ""),
        (movielens_zip().replace(PADDING[:9], b"corrupted"), "Bad CRC-32"),
        (DEFLATED[:47] + b"\7" + DEFLATED[48:], "invalid"),
        (declare(BOMB, 200_000, 10), "Bad CRC-32"),
        (declare(STORED, len(RATINGS), 10**9), "would unpack to 1,000.0 MB"),
        (make_zip(FILES | {"ml-1m/a": "", "ml-1m/a/b": ""}), ""),
        (b"", "not a zip file"),
        (make_zip({}), "0 members"),
        (make_zip(FILES | {f"ml-1m/{i}": "" for i in range(200)}), "201 members"),
        (make_zip(FILES | {"ml-1m/../../evil": "x"}), "would leave the folder"),
        (make_zip({"../": "", "../ratings.csv": RATINGS}), "would leave the folder"),
        (make_zip(FILES | {"ml-1m/..": "x"}), "would leave the folder"),
        (make_zip(FILES | {"/tmp/movielens-evil": "x"}), "would leave the folder"),
        (make_zip(FILES | {"ml-1m/..\\evil": "x"}), "would leave the folder"),
        (make_zip(FILES | {LINK: "/etc/passwd"}), "is a link or a device"),
        (make_zip(FILES, zipfile.ZIP_BZIP2), "is packed in an odd way"),
        (make_zip(FILES | {"other/evil": "x"}), "is not below ml-1m/"),
        (make_zip({"ml-1m/notes.txt": "x"}), "it has none of ratings.csv"),
    ],
)
def test_a_damaged_or_unsafe_archive_is_deleted_even_without_an_md5(fail, server, tmp_path, archive, complaint):
    server.publish("1m", archive, md5=None)
    line = fail("1m")
    assert "damaged or unsafe" in line and complaint in line and "the same command fetches it again" in line
    assert names(tmp_path) == [] and not Path("/tmp/movielens-evil").exists()


def test_bytes_are_counted_whatever_was_declared(fail, server, tmp_path, monkeypatch):
    monkeypatch.setitem(download.UNPACKED_MB, "1m", 0.04)  # 160 kB allowed
    assert "more than 0.2 MB, too much to be true" in fail("1m")  # 200 kB on the way
    server.publish("1m", BOMB)
    monkeypatch.setattr(download, "check_members", lambda members, limit: ("ml-1m", members))
    assert "unpacks to more than 0.2 MB" in fail("1m") and names(tmp_path) == []


@pytest.mark.parametrize(("argv", "complaint"), [(["5m"], "'5m'"), ([], "SIZE"), (["1m", "--fast"], "--fast")])
def test_a_wrong_command_line_is_one_line(capsys, argv, complaint):
    with pytest.raises(SystemExit) as stop:
        job.main(argv)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and len(err.splitlines()) == 1 and err.startswith("error: ") and complaint in err
    assert " ".join(download.UNPACKED_MB) == "latest-small 100k 1m 10m 20m 25m 32m latest"


def test_progress_is_a_bar_on_a_terminal_and_calm_lines_elsewhere(run, server, monkeypatch):
    monkeypatch.setattr(download, "CALM_SECONDS", 0)
    assert "fetching ml-1m.zip: 0.2 MB of 0.2 MB\n" in run("1m")[2]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    server.publish("100k", movielens_zip("ml-100k"))
    err = run("100k")[2]
    assert "fetching ml-100k.zip" in err and "0.2 MB of 0.2 MB" not in err and "━" in err
