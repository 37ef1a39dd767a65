"""jobs/download_movielens.py against a server on loopback; nothing here leaves the machine."""

import contextlib
import gzip
import hashlib
import importlib.util
import io
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "jobs" / "download_movielens.py"
spec = importlib.util.spec_from_file_location("download_movielens", SCRIPT)
job = importlib.util.module_from_spec(spec)
spec.loader.exec_module(job)

RATINGS = "userId,movieId,rating\n1,1,4.0\n1,3,4.0\n2,6,3.0\n"
PADDING = random.Random(7).randbytes(200_000)  # makes a download long enough to cut, and does not compress
HALF = 100_000


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) with ETags and ranges; the other attributes make it misbehave."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.seen: list[tuple[str, dict, int]] = []  # path, request headers, answered status
        self.errors: list[int] = []  # statuses answered first
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.ignores = set()  # "Range", "If-Range", "Accept-Encoding"
        self.most = 10**9  # bytes in one 206 answer
        self.stall: threading.Event | None = None  # if set, the answer stops at HALF until the event
        self.url = f"http://127.0.0.1:{self.server_port}"

    def publish(self, size: str, archive: bytes, md5: str | None = "gnu") -> None:
        digest, name = hashlib.md5(archive).hexdigest(), f"ml-{size}.zip"
        lines = {"gnu": f"{digest}  {name}\n", "bsd": f"MD5 ({name}) = {digest}\n", "wrong": "0" * 32}
        self.files = {f"/{name}": archive}
        if md5:
            self.files[f"/{name}.md5"] = lines[md5].encode()

    def zips(self) -> list[tuple[str | None, int]]:
        """(Range header, status) of every request for an archive."""
        return [(sent.get("Range"), status) for path, sent, status in self.seen if path.endswith(".zip")]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site: Server = self.server
        path = "/" + self.path.rpartition("/")[2]  # a request to a proxy has the whole address here
        body, total = site.files.get(path), len(site.files.get(path, b""))
        etag = f'"{hashlib.md5(body or b"").hexdigest()}"'
        status, start, headers = 200, 0, {"ETag": etag}
        wanted = self.headers.get("Range")
        same = "If-Range" in site.ignores or self.headers.get("If-Range", etag) == etag
        if site.errors:
            status, body, headers = site.errors.pop(0), b"", {}
        elif body is None:
            status, body, headers = 404, b"not here", {}
        elif wanted and same and "Range" not in site.ignores:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status, body = (206, body[start : start + site.most]) if start < total else (416, b"")
            stop = start + len(body)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}" if body else f"bytes */{total}"
        if status == 200 and "Accept-Encoding" in site.ignores:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        site.seen.append((path, dict(self.headers), status))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, value)
        self.end_headers()
        if path.endswith(".zip") and site.cuts:
            body = body[: site.cuts.pop(0)]
        with contextlib.suppress(ConnectionError):  # the client may have been killed
            if site.stall and len(body) > HALF:
                self.wfile.write(body[:HALF])
                site.stall.wait(timeout=30)
                body = body[HALF:]
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def make_zip(members: dict[str, bytes | str], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def movielens_zip(top: str = "ml-1m", ratings: str = "ratings.csv", text: str = RATINGS) -> bytes:
    files = {ratings: text, "README.txt": "terms", "x": PADDING}
    return make_zip({f"{top}/": "", **{f"{top}/{name}": content for name, content in files.items()}})


@pytest.fixture(autouse=True)
def quiet_world(monkeypatch):
    """No proxy of this machine, no waiting between retries."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(job, "BACKOFF", 0)


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.publish("1m", movielens_zip())
        yield server
        server.shutdown()


@pytest.fixture
def run(server, tmp_path, capsys):
    """run("1m", ...) -> exit code, stdout, stderr; fetches from `server` into tmp_path."""

    def run(*argv: str, url: str | None = None) -> tuple[int, str, str]:
        code = job.main([*argv, "--to", str(tmp_path), "--url", url or server.url])
        return code, *capsys.readouterr()

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_ready(folder: Path, text: str = RATINGS) -> None:
    """ml-1m is whole, and nothing else lies beside it."""
    assert names(folder) == ["ml-1m"]
    assert (folder / "ml-1m" / "ratings.csv").read_text() == text
    assert (folder / "ml-1m" / "x").read_bytes() == PADDING


def leave_part(server: Server, run, monkeypatch) -> None:
    """A first run that got half of the archive and gave up."""
    server.cuts = [HALF]
    with monkeypatch.context() as patch:
        patch.setattr(job, "TRIES", 1)
        code, _, err = run("1m")
    assert code == 1 and "to resume run: python jobs/download_movielens.py 1m" in err
    server.seen.clear()


@pytest.mark.parametrize(
    ("size", "top", "ratings", "text", "md5"),
    [
        ("1m", "ml-1m", "ratings.dat", "1::1193::5::978300760\n" * 3, "bsd"),
        ("10m", "ml-10M100K", "ratings.dat", "1::122::5::838985046\n" * 3, "bsd"),
        ("32m", "ml-32m", "ratings.csv", RATINGS, "gnu"),
        ("100k", "ml-100k", "u.data", "196\t242\t3\t881250949\n" * 3, "gnu"),
    ],
)
def test_a_size_lands_in_its_predictable_folder(run, server, tmp_path, size, top, ratings, text, md5):
    server.publish(size, movielens_zip(top, ratings, text), md5)
    code, out, err = run(size)
    assert (code, err) == (0, "")
    assert names(tmp_path) == [f"ml-{size}"]
    assert (tmp_path / f"ml-{size}" / ratings).read_text() == text
    citation, ready = out.splitlines()
    assert f"ml-{size}/README.txt" in citation
    assert f"ml-{size} is ready: 3 ratings (MD5 checked)" in ready
    assert ready.endswith(f"next: ./spark-submit.sh jobs/run_pipeline.py --set data.dir={tmp_path}/ml-{size}")


def test_without_a_published_md5_the_closing_line_says_so(run, server, tmp_path):
    server.publish("1m", movielens_zip(), md5=None)
    code, out, _ = run("1m")
    assert code == 0 and "(no MD5 published, length and CRCs checked)" in out
    assert_ready(tmp_path)


def test_what_is_there_is_not_fetched_again_unless_forced(run, server, tmp_path):
    run("1m")
    server.seen.clear()
    code, out, err = run("1m")
    assert (code, err, server.seen) == (0, "", [])
    assert len(out.splitlines()) == 1 and "is already there" in out
    newer = RATINGS + "3,1,5.0,964982703\n"
    server.publish("1m", movielens_zip(text=newer))
    assert run("1m", "--force")[0] == 0
    assert_ready(tmp_path, newer)


def test_resume_asks_for_the_missing_bytes_only(run, server, tmp_path, monkeypatch):
    leave_part(server, run, monkeypatch)
    assert names(tmp_path) == ["ml-1m.zip.part", "ml-1m.zip.part.json"]
    have = (tmp_path / "ml-1m.zip.part").stat().st_size
    assert 0 < have <= HALF
    assert run("1m")[0] == 0
    assert server.zips() == [(f"bytes={have}-", 206)]
    assert_ready(tmp_path)


def test_compression_on_the_way_is_declined_and_where_it_comes_anyway_undone(run, server, tmp_path):
    run("1m")
    assert server.seen[0][1]["Accept-Encoding"] == "identity"
    server.publish("1m", movielens_zip(), md5=None)
    server.ignores = {"Accept-Encoding"}  # then Content-Length says nothing about the archive
    code, out, _ = run("1m", "--force")
    assert code == 0 and "(no MD5 published, CRCs checked)" in out
    assert_ready(tmp_path)


def test_a_server_that_sends_ranges_in_pieces_is_asked_for_each(run, server, tmp_path):
    server.cuts, server.most = [HALF], 15_000
    assert run("1m")[0] == 0
    statuses = [status for _, status in server.zips()]
    assert statuses == [200] + [206] * (len(statuses) - 1)
    assert len(statuses) > job.TRIES  # each brought new bytes, none counts as a failure
    assert_ready(tmp_path)


def test_a_cut_connection_is_resumed_within_the_run(run, server, tmp_path):
    server.cuts = [HALF, HALF // 2]
    code, _, err = run("1m")
    assert code == 0 and err.count("trying again") == 2
    assert [status for _, status in server.zips()] == [200, 206, 206]
    assert_ready(tmp_path)


@pytest.mark.parametrize(("ignored", "statuses"), [("", [200]), ("Range", [200]), ("If-Range", [206, 200])])
def test_a_changed_file_starts_over(run, server, tmp_path, monkeypatch, ignored, statuses):
    leave_part(server, run, monkeypatch)
    newer = RATINGS.replace("4.0", "5.0")
    server.publish("1m", movielens_zip(text=newer), md5=None)  # no checksum that would notice a mixture
    server.ignores = {ignored}
    assert run("1m")[0] == 0
    assert [status for _, status in server.zips()] == statuses
    assert_ready(tmp_path, newer)


@pytest.mark.parametrize("notes", ["", "{}", '{"url": "http://elsewhere/ml-1m.zip", "validator": "x"}'])
def test_a_part_of_unknown_origin_starts_over(run, server, tmp_path, monkeypatch, notes):
    leave_part(server, run, monkeypatch)
    (tmp_path / "ml-1m.zip.part.json").write_text(notes)
    assert run("1m")[0] == 0
    assert server.zips() == [(None, 200)]
    assert_ready(tmp_path)


@pytest.mark.parametrize(("extra", "statuses"), [(b"", [416]), (b"too long", [416, 200])])
def test_a_part_that_needs_no_more_bytes(run, server, tmp_path, monkeypatch, extra, statuses):
    leave_part(server, run, monkeypatch)
    (tmp_path / "ml-1m.zip.part").write_bytes(server.files["/ml-1m.zip"] + extra)
    assert run("1m")[0] == 0
    assert [status for _, status in server.zips()] == statuses
    assert_ready(tmp_path)


def test_killed_in_mid_download_leaves_no_target_and_the_next_run_completes(run, server, tmp_path):
    server.stall = threading.Event()
    command = [sys.executable, str(SCRIPT), "1m", "--to", str(tmp_path), "--url", server.url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part, patience = tmp_path / "ml-1m.zip.part", time.monotonic() + 30
    try:
        while not (part.exists() and part.stat().st_size) and time.monotonic() < patience:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
        server.stall.set()
    have = part.stat().st_size
    assert have and not (tmp_path / "ml-1m").exists()
    server.seen.clear()
    assert run("1m")[0] == 0
    assert server.zips() == [(f"bytes={have}-", 206)]
    assert_ready(tmp_path)


def test_ctrl_c_while_unpacking_is_one_line_and_keeps_the_part(run, server, tmp_path, monkeypatch):
    def interrupt(source, budget):
        yield b"user"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "read_bounded", interrupt)
        code, out, err = run("1m")
    assert (code, out, len(err.splitlines())) == (130, "", 1)
    assert names(tmp_path) == ["ml-1m.zip.part", "ml-1m.zip.part.json"]
    (tmp_path / ".ml-1m.unpacking" / "ml-1m").mkdir(parents=True)  # as a SIGKILL would have left it
    (tmp_path / ".ml-1m.unpacking" / "ml-1m" / "ratings.csv").write_text("half")
    assert run("1m")[0] == 0
    assert_ready(tmp_path)


def test_killed_between_the_renames_of_force_the_old_folder_comes_back(run, server, tmp_path):
    run("1m")
    os.rename(tmp_path / "ml-1m", tmp_path / ".ml-1m.old")
    server.seen.clear()
    assert run("1m")[0] == 0
    assert server.seen == []
    assert_ready(tmp_path)


def test_a_second_download_of_the_same_part_is_refused(run, tmp_path):
    part = tmp_path / "ml-1m.zip.part"
    with part.open("ab") as file:
        job.lock(file, part)
        code, _, err = run("1m")
    assert code == 1 and "another download is writing" in err


def test_passing_server_errors_are_waited_out(run, server, tmp_path):
    server.errors = [500, 503, 429]
    code, _, err = run("1m")
    assert code == 0 and err.count("trying again") == 3
    assert_ready(tmp_path)


def test_lasting_server_errors_end_in_one_clear_line(run, server, tmp_path):
    server.errors = [503] * 99
    code, _, err = run("1m")
    assert code == 1 and len(server.zips()) == job.TRIES
    last = err.splitlines()[-1]
    assert "answered 503" in last and "to resume run: python jobs/download_movielens.py 1m --to" in last
    assert not (tmp_path / "ml-1m").exists()


def test_an_archive_that_is_not_there_is_not_asked_for_twice(run, server, tmp_path):
    server.files.clear()
    code, _, err = run("1m")
    assert (code, len(err.splitlines()), server.zips()) == (1, 1, [(None, 404)])
    assert "answered 404 Not Found: check --url" in err
    assert names(tmp_path) == []


def test_nobody_listening_is_one_clear_line_and_verbose_shows_the_trace(run, server):
    with Server() as closed:
        url = closed.url
    code, _, err = run("1m", url=url)
    assert code == 1 and "ml-1m.zip: Connection refused; what" in err.splitlines()[-1] and "Trace" not in err
    assert "Traceback" in run("1m", "--verbose", url=url)[2]


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://x", "http://[x", "http://127.0.0.1:99999"])
def test_an_address_that_cannot_work_is_one_line(run, tmp_path, url):
    code, _, err = run("1m", url=url)
    assert code == 1 and len(err.splitlines()) == 1 and "check --url" in err
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_used_is_one_line(server, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert job.main(["1m", "--url", server.url, "--to", str(tmp_path / "file")]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and f"{tmp_path}/file" in err and "--to DIR" in err


def test_a_proxy_is_used_and_no_proxy_is_honoured(run, server, tmp_path, monkeypatch):
    with Server() as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        proxy.files = dict(server.files)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert run("1m", url="http://files.movielens.invalid")[0] == 0  # a name only the proxy answers for
        assert {headers["Host"] for _, headers, _ in proxy.seen} == {"files.movielens.invalid"}
        assert len(proxy.seen) == 2 and server.seen == []
        assert_ready(tmp_path)
        assert run("1m", "--force")[0] == 0  # 127.0.0.1 is in NO_PROXY
        assert len(proxy.seen) == 2 and len(server.seen) == 2
        proxy.shutdown()
    code, _, err = run("1m", "--force", url="http://files.movielens.invalid")
    assert code == 1 and "at the proxy: Connection refused" in err


def test_too_little_disk_space_is_said_before_the_download(run, server, tmp_path, monkeypatch):
    full = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(job.shutil, "disk_usage", lambda path: full)
    code, _, err = run("1m")
    assert code == 1 and len(err.splitlines()) == 1 and "1.0 MB free, 25.2 MB needed" in err
    assert names(tmp_path) == []


def test_a_wrong_checksum_leaves_nothing(run, server, tmp_path):
    server.publish("1m", movielens_zip(), md5="wrong")
    code, out, err = run("1m")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "MD5" in err and "deleted" in err and "python jobs/download_movielens.py 1m" in err
    assert names(tmp_path) == []


def test_a_corrupt_archive_leaves_the_good_folder_in_place(run, server, tmp_path):
    run("1m")
    server.publish("1m", movielens_zip(text="newer"), md5="wrong")
    assert run("1m", "--force")[0] == 1
    assert_ready(tmp_path)


def test_a_checksum_page_without_a_checksum_is_no_pass(run, server, tmp_path):
    server.files["/ml-1m.zip.md5"] = b"<html>please log in</html>"
    code, _, err = run("1m")
    assert code == 1 and "should hold one checksum and holds 0" in err
    assert not (tmp_path / "ml-1m").exists()


DEFLATED = make_zip({"ml-1m/ratings.csv": RATINGS}, zipfile.ZIP_DEFLATED)
STORED = make_zip({"ml-1m/ratings.csv": RATINGS})
SIZES = STORED.index(b"PK\1\2") + 20  # where the directory holds the packed and unpacked size


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(movielens_zip()[:-1000], id="truncated"),
        pytest.param(movielens_zip()[1000:], id="beginning lost"),
        pytest.param(flip(movielens_zip(), HALF), id="bad CRC"),
        pytest.param(DEFLATED[:47] + b"\7" + DEFLATED[48:], id="bad deflate"),
        pytest.param(STORED[:SIZES] + b"\xff\1\0\0\xff\1\0\0" + STORED[SIZES + 8 :], id="ends early"),
        pytest.param(make_zip({"ml-1m/\xe9": ""}).replace(b"\xc3\xa9", b"\xc3\xc3"), id="name is not UTF-8"),
        pytest.param(DEFLATED.replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff"), id="future version"),
        pytest.param(make_zip({"ml-1m/a": "", "ml-1m/a/ratings.csv": RATINGS}), id="file and folder"),
        pytest.param(make_zip({"ml-1m/a": "", "ml-1m/a/b/ratings.csv": RATINGS}), id="file and path"),
        pytest.param(make_zip({"ml-1m/u.data": "", "ml-1m/U.data": ""}).replace(b"U", b"u"), id="twice"),
        pytest.param(make_zip({"ml-1m/ratings.csv": RATINGS, f"ml-1m/{'a' * 300}": ""}), id="long name"),
        pytest.param(b"<html>please log in</html>", id="no zip at all"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_damaged_archive_is_deleted_even_without_an_md5(run, server, tmp_path, damaged):
    server.publish("1m", damaged, md5=None)
    code, _, err = run("1m")
    assert code == 1 and len(err.splitlines()) == 1 and "damaged or unsafe" in err
    assert names(tmp_path) == []


def link_zip() -> bytes:
    link = zipfile.ZipInfo("ml-1m/link")
    link.external_attr = 0o120777 << 16
    return make_zip({"ml-1m/ratings.csv": RATINGS, link: "/etc/passwd"})


def encrypted_zip() -> bytes:
    """Flag bit 0 set in both headers."""
    archive = DEFLATED.replace(b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1")
    return archive.replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1")


def lying_zip() -> bytes:
    """Ten million zero bytes that both headers declare as ten."""
    archive = make_zip({"ml-1m/ratings.csv": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    return archive.replace((10**7).to_bytes(4, "little"), (10).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("archive", "complaint"),
    [
        (make_zip({"ml-1m/ratings.csv": RATINGS, "ml-1m/../../evil": "x"}), "would leave the folder"),
        (make_zip({"ml-1m/ratings.csv": RATINGS, "../evil": "x"}), "would leave the folder"),
        (make_zip({"../": "", "../ratings.csv": RATINGS}), "would leave the folder"),
        (make_zip({"ml-1m/ratings.csv": RATINGS, "ml-1m/..": "x"}), "would leave the folder"),
        (make_zip({"ml-1m/ratings.csv": RATINGS, "/tmp/movielens-evil": "x"}), "would leave the folder"),
        (make_zip({"ml-1m/ratings.csv": RATINGS, "C:/evil": "x"}), "would leave the folder"),
        (make_zip({"ml-1m/ratings.csv": RATINGS, "ml-1m/..\\evil": "x"}), "would leave the folder"),
        (link_zip(), "is a link or a device"),
        (make_zip({"ml-1m/ratings.csv": RATINGS}, zipfile.ZIP_BZIP2), "is packed in an odd way"),
        (encrypted_zip(), "is encrypted"),
        (make_zip({"ml-1m/ratings.csv": RATINGS, "other/evil": "x"}), "is not below ml-1m/"),
        (make_zip({"ratings.csv": RATINGS}), "is not below ratings.csv/"),
        (make_zip({"ml-1m/ratings.csv": RATINGS, **{f"ml-1m/{i}": "" for i in range(200)}}), "201 members"),
        (make_zip({"ml-1m/ratings.csv": bytes(10**7)}, zipfile.ZIP_DEFLATED), "would unpack to 10.0 MB"),
        (lying_zip(), "Bad CRC-32"),
        (make_zip({"ml-1m/notes.txt": "x"}), "is not MovieLens"),
    ],
)
def test_an_unsafe_archive_is_refused_whatever_its_checksum_says(run, server, tmp_path, archive, complaint):
    server.publish("1m", archive)
    code, _, err = run("1m")
    assert code == 1 and len(err.splitlines()) == 1 and complaint in err
    assert names(tmp_path) == []
    assert not Path("/tmp/movielens-evil").exists()


def test_bytes_are_bounded_by_the_size_named_on_the_command_line(run, server, tmp_path, monkeypatch):
    monkeypatch.setitem(job.UNPACKED_MB, "1m", 0.04)  # 160 kB allowed: the archive of 200 kB is too long
    assert "sends more than 0.2 MB" in run("1m")[2]
    assert names(tmp_path) == []
    server.publish("1m", make_zip({"ml-1m/ratings.csv": "1,1,4.0\n" * 25_000}, zipfile.ZIP_DEFLATED))
    monkeypatch.setattr(job, "MAX_RATIO", 10**6)
    assert "would unpack to 0.2 MB" in run("1m")[2]
    assert names(tmp_path) == []


def test_unpacked_bytes_are_counted_not_believed():
    assert b"".join(job.read_bounded(io.BytesIO(b"12345"), 5)) == b"12345"
    with pytest.raises(zipfile.BadZipFile):
        list(job.read_bounded(io.BytesIO(b"123456"), 5))


@pytest.mark.parametrize("argv", [["5m"], []])
def test_a_wrong_size_is_one_line_naming_the_sizes(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        job.main(argv)
    out, err = capsys.readouterr()
    assert (stop.value.code, out, len(err.splitlines())) == (2, "", 1)
    assert "latest-small 100k 1m 10m 20m 25m 32m latest" in err


def test_a_folder_of_something_else_is_not_overwritten(run, server, tmp_path):
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "thesis.txt").write_text("mine")
    code, _, err = run("1m")
    assert code == 1 and "move it away" in err
    assert (tmp_path / "ml-1m" / "thesis.txt").read_text() == "mine" and server.seen == []


def test_progress_is_a_bar_on_a_terminal_and_calm_lines_elsewhere(run, server, monkeypatch):
    monkeypatch.setattr(job, "CALM_SECONDS", 0)
    assert "fetching ml-1m.zip: 0.2 MB of 0.2 MB\n" in run("1m")[2]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    err = run("1m", "--force")[2]
    assert "fetching ml-1m.zip" in err and "0.2 MB of 0.2 MB" not in err and "━" in err
