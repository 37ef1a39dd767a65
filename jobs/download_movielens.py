"""Fetch, verify and unpack one MovieLens data set; no Spark.

    python jobs/download_movielens.py SIZE [--to DIR] [--url BASE] [--force] [--verbose]

SIZE: latest-small 100k 1m 10m 20m 25m 32m latest. The result is the folder DIR/ml-SIZE (DIR: `data` in the
project), put in place by one rename after every check, so what has that name is whole. Until then the bytes
are in DIR/ml-SIZE.zip.part, and the same command resumes from them; `.part.json` holds the server's ETag or
Last-Modified, so that a file which changed in between is fetched from the start. Proxies: HTTP_PROXY,
HTTPS_PROXY, NO_PROXY. Exit codes: 0 ready, 1 failed, 2 wrong command line, 130 interrupted.
"""

import argparse
import errno
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import sys
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import requests
import rich.progress
from rich.console import Console

try:
    import fcntl
except ImportError:  # Windows: keeping two downloads of one size apart is left to the user
    fcntl = None

BASE_URL = "https://files.grouplens.org/datasets/movielens"
DATA_DIR = Path(__file__).resolve().parents[1] / "data"
CITATION = "Harper & Konstan 2015, https://doi.org/10.1145/2827872"

# Unpacked megabytes, rounded up from public listings; `latest` grows.
UNPACKED_MB = {
    "latest-small": 4, "100k": 16, "1m": 25, "10m": 270, "20m": 890, "25m": 1160, "32m": 960, "latest": 1600,
}  # fmt: skip
MAX_GROWTH = 4  # an archive may unpack to this many times the size above
MAX_RATIO = 50  # and to this many times its own size; MovieLens text shrinks 4 to 5 times
MAX_MEMBERS = 200  # ml-100k, the one with most, has about 25
RATINGS_FILES = ("ratings.csv", "ratings.dat", "u.data")
# Rules out `..`, absolute paths, drive letters and backslashes; MovieLens names are all like this.
MEMBER_NAME = re.compile(r"(?!\.{1,2}/)[\w.-]+(/(?!\.{1,2}(/|$))[\w.-]+)*/?", re.ASCII)
# What zipfile raises for broken archives, found by cutting and flipping bytes at random. EINVAL: a seek to
# before the beginning, when the first bytes are lost. The others: a name twice, as file and folder, too long.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)
DAMAGE_ERRNO = (errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG)

TRIES = 5  # failures in a row that brought no new byte
BACKOFF = 1.0  # seconds before the first retry; doubles
TIMEOUT = (10, 60)  # seconds to connect, seconds of silence
CHUNK = 1 << 16
CALM_SECONDS = 5.0  # between progress lines where there is no terminal
Show = Callable[..., None]  # show(done, total, restart=False), see progress()
TRANSIENT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    again = f"python jobs/download_movielens.py {shlex.join(argv)}"
    try:
        print(download(args.size, args.to, args.url, force=args.force))
        return 0
    except KeyboardInterrupt:
        return complain(f"interrupted; to resume, run: {again}", code=130)
    except zipfile.BadZipFile as error:
        return complain(f"{error}; the archive was deleted, to fetch it again run: {again}", args.verbose)
    except ConnectionError as error:
        return complain(f"{error}; what has arrived is kept, to resume run: {again}", args.verbose)
    except requests.RequestException as error:
        return complain(f"{error}; check --url and the proxy variables", args.verbose)
    except OSError as error:
        advice = "; name another folder with --to DIR" if error.errno else ""  # else the text is ours
        return complain(f"{error}{advice}", args.verbose)


def parse_args(argv: list[str]) -> argparse.Namespace:
    """The command line; a mistake in it is one line naming the sizes, and exit code 2."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str):
            command = "python jobs/download_movielens.py SIZE [--to DIR] [--url BASE] [--force] [--verbose]"
            self.exit(complain(f"{message}; {command}, SIZE one of: {' '.join(UNPACKED_MB)}", code=2))

    def size(text: str) -> str:
        name = text.lower().removeprefix("ml-")
        if name not in UNPACKED_MB:
            raise argparse.ArgumentTypeError(f"there is no size {text!r}")
        return name

    parser = Parser(prog="download_movielens.py", description="Fetch, check and unpack a MovieLens data set.")
    parser.add_argument("size", metavar="SIZE", type=size, help=" ".join(UNPACKED_MB))
    parser.add_argument("--to", metavar="DIR", type=Path, default=DATA_DIR, help="folder that gets ml-SIZE")
    parser.add_argument("--url", metavar="BASE", default=BASE_URL, help="has ml-SIZE.zip; else %(default)s")
    parser.add_argument("--force", action="store_true", help="fetch again and replace the folder in place")
    parser.add_argument("--verbose", action="store_true", help="show the stack trace of an error")
    return parser.parse_args(argv)


def complain(message: str, verbose: bool = False, *, code: int = 1) -> int:
    """One line on stderr, after the stack trace if asked for; returns `code`."""
    if verbose:
        traceback.print_exc()
    print("download_movielens:", " ".join(message.split()), file=sys.stderr)
    return code


def download(size: str, directory: Path, base_url: str, *, force: bool = False) -> str:
    """Bring DIR/ml-SIZE into place if it is not there; what to tell the user.

    Raises BadZipFile (damaged or unsafe archive, deleted), ConnectionError (gave up, resumable), OSError.
    """
    target, part = directory / f"ml-{size}", directory / f"ml-{size}.zip.part"
    url = f"{base_url.rstrip('/')}/{target.name}.zip"
    limit = UNPACKED_MB[size] * 10**6 * MAX_GROWTH
    setting = shlex.quote(f"data.dir={shown(target)}")
    next_command = f"next: ./spark-submit.sh jobs/run_pipeline.py --set {setting}"
    directory.mkdir(parents=True, exist_ok=True)
    restore_old(target)
    if find_ratings(target) and not force:
        return f"{shown(target)} is already there, nothing fetched (--force would); {next_command}"
    if target.exists() and any(target.iterdir()) and not force:
        raise FileExistsError(f"{target} holds no ratings file: move it away, or add --force to replace it")

    with part.open("ab") as file, requests.Session() as session:
        lock(file, part)
        try:
            length = fetch(session, url, file, limit=limit)
            md5 = fetch_md5(session, f"{url}.md5")
            verify(part, url, md5)
            with unpacked_folder(part, target, limit=limit) as folder:
                install(folder, target)
        except BaseException as error:
            if isinstance(error, zipfile.BadZipFile) or not part.stat().st_size:
                forget(part)
            raise
    forget(part)
    proof = "MD5 checked" if md5 else f"no MD5 published, {'length and ' if length else ''}CRCs checked"
    readme = next(iter(sorted(target.glob("README*"))), target)
    print(f"conditions of use and citation: {shown(readme)} ({CITATION})")
    return f"{shown(target)} is ready: {count_ratings(target):,} ratings ({proof}); {next_command}"


def shown(path: Path) -> str:
    """`path` as the user would type it: relative where it lies below the working folder."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def find_ratings(folder: Path) -> Path | None:
    """The ratings file that marks a MovieLens folder, None if it has none."""
    return next((folder / name for name in RATINGS_FILES if (folder / name).is_file()), None)


def count_ratings(folder: Path) -> int:
    """Lines of the ratings file, without the header of a CSV."""
    path = find_ratings(folder)
    with path.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return lines - (path.suffix == ".csv")


def lock(file: BinaryIO, part: Path) -> None:
    """Keep a second download off `part`. The lock ends with the process, however that ends."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(f"another download is writing {part}: wait for it, then run this again") from error


def forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    notes_file(part).unlink(missing_ok=True)


def fetch(session: requests.Session, url: str, file: BinaryIO, *, limit: int) -> int | None:
    """Append to `file`, a part opened in mode "ab", what it lacks of `url`; the announced length if any."""
    with progress(f"fetching {Path(url).name}") as show:
        rest = partial(fetch_rest, session, url, file, show, limit=limit)
        return retry(rest, url, lambda: os.fstat(file.fileno()).st_size)


def fetch_rest(session: requests.Session, url: str, file: BinaryIO, show: Show, *, limit: int) -> int | None:
    """One request for the bytes `file` lacks, or for all of them if the server has another file by now."""
    part, have = Path(file.name), os.fstat(file.fileno()).st_size
    known = read_notes(part, url)
    if not known:
        have = file.truncate(0)
    # Accept-Encoding: a compressed answer could be neither resumed nor held against its length.
    resume = {"Range": f"bytes={have}-", "If-Range": known} if have else {}
    headers = {"Accept-Encoding": "identity", **resume}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status = response.status_code
        start, total, validator = read_offer(response)
        if resume and status == 416 and total == have:
            return total
        fits = start == have and validator in (None, known)
        if (resume and status == 416) or (status == 206 and not fits):
            file.truncate(0)
            raise requests.ConnectionError("the file on the server is another one now, starting over")
        check_status(response, url)
        if status == 200:
            have = file.truncate(0)
            notes_file(part).write_text(json.dumps({"url": url, "validator": validator}))
        check_space(part.parent, (total or 0) - have + limit // MAX_GROWTH)
        show(have, total, restart=True)
        try:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                have += len(chunk)
                show(have, total)
                if have > limit:
                    raise zipfile.BadZipFile(f"{url} sends more than {megabytes(limit)}, too much to be true")
        finally:
            file.flush()
    if total is not None and have != total:
        raise requests.ConnectionError(f"the connection closed at {megabytes(have)} of {megabytes(total)}")
    return total


def retry(action: Callable, url: str, gained: Callable[[], int] = lambda: 0):
    """What `action` returns. Network failures are retried, up to TRIES in a row without a new byte."""
    best, failures = gained(), 0
    while True:
        try:
            return action()
        except requests.exceptions.SSLError as error:
            advice = "if your proxy has its own CA, name its file in REQUESTS_CA_BUNDLE"
            raise OSError(f"no trust in {url}: {reason(error)}; {advice}") from error
        except TRANSIENT as error:
            failures = 1 if gained() > best else failures + 1
            best = max(best, gained())
            if failures >= TRIES:
                raise ConnectionError(f"cannot fetch {url}: {reason(error)}") from error
            wait = BACKOFF * 2 ** (failures - 1)
            print(f"{reason(error)}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)


def reason(error: BaseException) -> str:
    """The innermost of the causes that requests and urllib3 wrap into each other; a proxy's is marked."""
    causes = [getattr(error, "reason", None), *error.args, error.__cause__]
    inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
    text = reason(inner) if inner else getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"at the proxy: {text}" if isinstance(error, requests.exceptions.ProxyError) else text


def check_status(response: requests.Response, url: str) -> None:
    """An answer that may pass (5xx, 408, 429) is a requests.ConnectionError, any other failure final."""
    said = f"{response.status_code} {response.reason}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise requests.ConnectionError(f"the server answered {said}")
    if response.status_code not in (200, 206):
        raise FileNotFoundError(f"{url} answered {said}: check --url (default {BASE_URL})")


def read_offer(response: requests.Response) -> tuple[int | None, int | None, str | None]:
    """First byte and total length sent, and what If-Range takes (RFC 9110, 13.1.5); None where not said."""
    headers = response.headers
    if "Content-Encoding" in headers:
        return None, None, None
    etag = headers.get("ETag", "")
    validator = etag if etag.startswith('"') else headers.get("Last-Modified")  # a weak ETag will not do
    if match := re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", headers.get("Content-Range", "")):
        return match[1] and int(match[1]), int(match[2]), validator
    length = headers.get("Content-Length", "") if response.status_code == 200 else ""
    return None, int(length) if length.isdigit() else None, validator


def notes_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def read_notes(part: Path, url: str) -> str | None:
    """The validator of the file that `part` begins; None if unknown or from another address."""
    try:
        notes = json.loads(notes_file(part).read_text())
        return notes["validator"] if notes["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        have = f"{megabytes(free)} free, {megabytes(needed)} needed"
        raise OSError(f"{directory} has {have}: free some, or name another disk with --to DIR")


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


@contextmanager
def progress(label: str) -> Iterator[Show]:
    """Yields show(done, total): a bar on a terminal, otherwise a line every CALM_SECONDS at most."""
    last = time.monotonic()

    def write_line(done: int, total: int | None, *, restart: bool = False) -> None:
        nonlocal last
        if time.monotonic() - last >= CALM_SECONDS:
            last = time.monotonic()
            print(f"{label}: {megabytes(done)}{f' of {megabytes(total)}' if total else ''}", file=sys.stderr)

    def move_bar(done: int, total: int | None, *, restart: bool = False) -> None:
        (bar.reset if restart else bar.update)(task, completed=done, total=total)  # reset: speed starts anew

    if not sys.stderr.isatty():
        yield write_line
        return
    columns = "{task.description}", rich.progress.BarColumn(), rich.progress.DownloadColumn()
    speed = rich.progress.TransferSpeedColumn(), rich.progress.TimeRemainingColumn()
    with rich.progress.Progress(*columns, *speed, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        yield move_bar


def fetch_md5(session: requests.Session, url: str) -> str | None:
    """The published checksum, None if the server has none.

    GroupLens writes `MD5 (ml-1m.zip) = c4d9...` beside the older archives, `6b51...  ml-25m.zip` since 25m.
    """

    def get() -> str:
        response = session.get(url, timeout=TIMEOUT)
        if response.status_code in (404, 410):
            return ""
        check_status(response, url)
        return response.text or "empty"

    text = retry(get, url)
    digests = set(re.findall(r"\b[0-9a-f]{32}\b", text.lower()))
    if text and len(digests) != 1:
        raise ConnectionError(f"{url} should hold one checksum and holds {len(digests)}")
    return digests.pop() if digests else None


def verify(part: Path, url: str, md5: str | None) -> None:
    """Raise BadZipFile unless `part` has the published checksum. Without one, unpacking checks the CRCs."""
    with part.open("rb") as file:
        found = md5 and hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise zipfile.BadZipFile(f"{url} arrived with MD5 {found}, published is {md5}")


@contextmanager
def unpacked_folder(part: Path, target: Path, *, limit: int) -> Iterator[Path]:
    """Yields the archive's top folder, unpacked next to `target`; what the caller leaves there is deleted."""
    work = target.with_name(f".{target.name}.unpacking")
    remove(work)
    work.mkdir()
    try:
        yield unpack(part, work, limit=min(limit, MAX_RATIO * part.stat().st_size))
    finally:
        remove(work)


def unpack(part: Path, work: Path, *, limit: int) -> Path:
    """Unpack the archive into the empty folder `work`, at most `limit` bytes; its one top folder.

    Raises BadZipFile if it is damaged, unsafe, or without a ratings file. Names and declared sizes are judged
    before the first byte is written; then bytes are counted as they come, and zipfile checks their CRCs.
    """
    name = part.name.removesuffix(".part")
    try:
        with zipfile.ZipFile(part) as archive, progress(f"unpacking {name}") as show:
            members = check_members(archive.infolist(), limit)
            written, total = 0, sum(member.file_size for member in members)
            for member in members:
                path = work / member.filename
                (path if member.is_dir() else path.parent).mkdir(parents=True, exist_ok=True)
                if member.is_dir():
                    continue
                with archive.open(member) as source, path.open("xb") as sink:
                    for chunk in read_bounded(source, limit - written):
                        sink.write(chunk)
                        written += len(chunk)
                        show(written, total)
                    sink.flush()
                    os.fsync(sink.fileno())  # else a power cut could leave empty files under the final name
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in DAMAGE_ERRNO:
            raise  # a full disk, say, is not the archive's fault
        raise zipfile.BadZipFile(f"{name} is damaged or unsafe: {reason(error)}") from error
    folder = work / members[0].filename.split("/")[0]
    if not find_ratings(folder):
        raise zipfile.BadZipFile(f"{name} is not MovieLens: it has none of {', '.join(RATINGS_FILES)}")
    return folder


def check_members(members: list[zipfile.ZipInfo], limit: int) -> list[zipfile.ZipInfo]:
    """`members`, if they are plain files and folders below one top folder, few enough and small enough."""
    if not 0 < len(members) <= MAX_MEMBERS:
        raise zipfile.BadZipFile(f"it has {len(members)} members, 1 to {MAX_MEMBERS} are allowed")
    if (total := sum(member.file_size for member in members)) > limit:
        raise zipfile.BadZipFile(f"it would unpack to {megabytes(total)}, {megabytes(limit)} are allowed")
    top = members[0].filename.split("/")[0]
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        checks = {
            "would leave the folder": MEMBER_NAME.fullmatch(member.filename),
            "is a link or a device": kind in (0, stat.S_IFREG, stat.S_IFDIR),
            f"is not below {top}/": member.filename.startswith(f"{top}/"),
            # zipfile hands out the others in chunks of any size, which would get past read_bounded
            "is packed in an odd way": member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
        }
        if failed := [what for what, passed in checks.items() if not passed]:
            raise zipfile.BadZipFile(f"its member {member.filename!r} {failed[0]}")
    return members


def read_bounded(source: BinaryIO, budget: int) -> Iterator[bytes]:
    """The bytes of `source` in chunks; BadZipFile once they are more than `budget`, whatever was declared."""
    while chunk := source.read(1 << 20):
        budget -= len(chunk)
        if budget < 0:
            raise zipfile.BadZipFile("it unpacks to more than it may")
        yield chunk


def install(folder: Path, target: Path) -> None:
    """Put `folder` in place by one rename. A folder there makes room first, and comes back if that fails."""
    if target.exists():
        os.replace(target, old_folder(target))
    try:
        os.replace(folder, target)
    finally:
        restore_old(target)


def old_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def restore_old(target: Path) -> None:
    """Undo an `install` that ended between its two renames, clear up after one that ended past them."""
    old = old_folder(target)
    if target.exists():
        remove(old)
    elif old.exists():
        os.replace(old, target)


def remove(path: Path) -> None:
    """Delete a folder; of a link to one, only the link."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


if __name__ == "__main__":
    sys.exit(main())
