"""Fetch, verify and unpack one MovieLens data set; no Spark.

    ./spark-submit.sh jobs/download_movielens.py SIZE [--to DIR] [--url BASE] [--verbose]

The result is the folder DIR/ml-SIZE (DIR: the project's `data`), put in place by one rename after every check, so
what has that name is whole. Until then the bytes are in DIR/ml-SIZE.zip.part, and the same command resumes from
them; `.part.json` holds the server's ETag or Last-Modified, so that a file which changed in between is fetched from
the start. Proxies: HTTP_PROXY, HTTPS_PROXY, NO_PROXY. Exit codes: 0 ready, 1 failed, 2 wrong command line, 130 stopped.

spark-submit.sh runs this file as plain python, where the package `pipeline` is not on the path.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import requests
import rich.progress
from rich.console import Console

COMMAND = "./spark-submit.sh jobs/download_movielens.py"
BASE_URL = "https://files.grouplens.org/datasets/movielens"
DATA_DIR = Path(__file__).resolve().parents[1] / "data"
CITATION = "Harper & Konstan 2015, https://doi.org/10.1145/2827872"

# Unpacked megabytes, rounded up from public listings; `latest` grows.
UNPACKED_MB = {
    "latest-small": 4, "100k": 16, "1m": 25, "10m": 270, "20m": 890, "25m": 1160, "32m": 960, "latest": 1600,
}  # fmt: skip
MAX_GROWTH = 4  # an archive may unpack to this many times the size above
MAX_MEMBERS = 200  # ml-100k, the one with most, has about 25
RATINGS_FILES = ("ratings.csv", "ratings.dat", "u.data")
# Rules out `.`, `..`, absolute paths, drive letters and backslashes; MovieLens names are all like this.
MEMBER_NAME = re.compile(r"((?!\.\.?(/|$))[\w.-]+(/|$))+", re.ASCII)

TRIES = 5  # failures in a row that brought no new byte
BACKOFF = 1.0  # seconds before the first retry; doubles
TIMEOUT = (10, 60)  # seconds to connect, seconds of silence
CALM_SECONDS = 5.0  # between progress lines where there is no terminal
Show = Callable[[int, int | None], None]  # show(bytes done, bytes in total if known), see progress()
TRANSIENT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; a failure is one line that says what to do about it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse_options(arguments)
    again = f"{COMMAND} {shlex.join(arguments)}"
    try:
        print(download(options.size, options.to, options.url))
        return 0
    except KeyboardInterrupt:
        print(f"stopped; to resume, run {again}", file=sys.stderr)
        return 130
    except (OSError, zipfile.BadZipFile) as error:
        if options.verbose:
            traceback.print_exc()
        print("error:", " ".join(f"{error}{remedy(error, again)}".split()), file=sys.stderr)
        return 1


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """Return size, to, url, verbose; a mistake is one line that names the sizes, and exit code 2."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str):
            self.exit(2, f"error: {message}; run {COMMAND} SIZE, one of {' '.join(UNPACKED_MB)}\n")

    parser = Parser(prog=COMMAND, description="Fetch, verify and unpack one MovieLens data set.")
    parser.add_argument("size", metavar="SIZE", choices=UNPACKED_MB, help=" ".join(UNPACKED_MB))
    parser.add_argument("--to", metavar="DIR", type=Path, default=DATA_DIR, help="folder that gets ml-SIZE")
    parser.add_argument("--url", metavar="BASE", default=BASE_URL, help="where ml-SIZE.zip is (%(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show the stack trace of an error")
    return parser.parse_args(arguments)


def remedy(error: Exception, again: str) -> str:
    """Return what to do about an error, '' where its own text says so; `again` is the command to repeat."""
    if isinstance(error, zipfile.BadZipFile):
        return f"; the archive was deleted, to fetch it again run {again}"
    if isinstance(error, ConnectionError):
        return f"; what has arrived is kept, to resume run {again}"
    if isinstance(error, requests.RequestException):
        return "; check --url and the proxy variables"
    return "; name another folder with --to DIR" if error.errno else ""


def download(size: str, directory: Path, base_url: str) -> str:
    """Bring DIR/ml-SIZE into place if it is not there, and return what to tell the user.

    Raises BadZipFile (damaged or unsafe archive, deleted), ConnectionError (gave up, resumable) and OSError.
    """
    target, part = directory / f"ml-{size}", directory / f"ml-{size}.zip.part"
    url, limit = f"{base_url.rstrip('/')}/ml-{size}.zip", int(UNPACKED_MB[size] * 10**6 * MAX_GROWTH)
    next_command = f"next: ./spark-submit.sh jobs/run_pipeline.py --set {shlex.quote(f'data.dir={target}')}"
    if has_ratings(target):
        return f"{target} is already there (delete it to fetch it again); {next_command}"
    if target.exists():
        raise FileExistsError(f"{target} holds no ratings file: move it away, then run this again")

    directory.mkdir(parents=True, exist_ok=True)
    try:
        with requests.Session() as session, part.open("ab") as file:
            length = fetch(session, url, file, limit=limit)
            md5 = fetch_md5(session, f"{url}.md5")
        check_md5(part, url, md5)
        install(part, target, limit=limit)
    except BaseException as error:
        if isinstance(error, zipfile.BadZipFile) or (part.is_file() and not part.stat().st_size):
            forget(part)
        raise
    forget(part)
    readme = next(iter(sorted(target.glob("README*"))), target)
    print(f"conditions of use and citation: {readme} ({CITATION})")
    proof = "MD5 checked" if md5 else f"no MD5 published, {'length and ' if length else ''}CRCs checked"
    return f"{target} is ready ({proof}); {next_command}"


def has_ratings(folder: Path) -> bool:
    """Whether `folder` is a MovieLens folder; one that `install` put there is then complete."""
    return any((folder / name).is_file() for name in RATINGS_FILES)


def fetch(session: requests.Session, url: str, file: BinaryIO, *, limit: int) -> int | None:
    """Append to `file`, a part opened in mode "ab", what it lacks of `url`; return the announced length if any."""
    with progress(f"fetching {Path(url).name}") as show:
        return retry(
            lambda: fetch_rest(session, url, file, show, limit=limit), url, lambda: os.fstat(file.fileno()).st_size
        )


def fetch_rest(session: requests.Session, url: str, file: BinaryIO, show: Show, *, limit: int) -> int | None:
    """Make one request for the bytes `file` lacks, or for all of them if the server has another file by now.

    Bytes are appended only if they continue those here: the server confirms the validator sent in If-Range, and
    Content-Range begins where the part ends. At most `limit` bytes are taken, whatever length was announced.
    """
    part, have = Path(file.name), os.fstat(file.fileno()).st_size
    known = read_validator(part, url)
    if not known:
        have = file.truncate(0)
    # Accept-Encoding: a compressed answer could be neither resumed nor held against its length.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-", "If-Range": known} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        start, total, validator = read_offer(response)
        if have and response.status_code == 416 and total == have:
            return total
        if (have and response.status_code == 416) or (
            response.status_code == 206 and (start != have or validator not in (None, known))
        ):
            file.truncate(0)
            raise requests.ConnectionError("the file on the server is another one now, starting over")
        check_status(response, url)
        if response.status_code == 200:
            have = file.truncate(0)
            validator_file(part).write_text(json.dumps({url: validator}))
        for chunk in response.iter_content(1 << 16):
            file.write(chunk)
            have += len(chunk)
            show(have, total)
            if have > limit:
                raise zipfile.BadZipFile(f"{url} sends more than {megabytes(limit)}, too much to be true")
    file.flush()
    if total is not None and os.fstat(file.fileno()).st_size != total:
        raise requests.ConnectionError(f"the connection closed at {megabytes(have)} of {megabytes(total)}")
    return total


def read_offer(response: requests.Response) -> tuple[int | None, int | None, str | None]:
    """Return first byte and total length sent, and what If-Range takes (RFC 9110, 13.1.5); None where not said."""
    headers = response.headers
    etag = headers.get("ETag", "")
    validator = etag if etag.startswith('"') else headers.get("Last-Modified")  # a weak ETag will not do
    if match := re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", headers.get("Content-Range", "")):
        return match[1] and int(match[1]), int(match[2]), validator
    length = headers.get("Content-Length", "") if response.status_code == 200 else ""
    return None, int(length) if length.isdigit() else None, validator


def validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def read_validator(part: Path, url: str) -> str | None:
    """Return the validator of the file at `url` that `part` begins; None if unknown or from another address."""
    try:
        return json.loads(validator_file(part).read_text()).get(url)
    except (OSError, ValueError):
        return None


def forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    validator_file(part).unlink(missing_ok=True)


def check_status(response: requests.Response, url: str) -> None:
    """Raise requests.ConnectionError for an answer that may pass (5xx, 408, 429), FileNotFoundError for others."""
    said = f"{response.status_code} {response.reason}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise requests.ConnectionError(f"the server answered {said}")
    if response.status_code not in (200, 206):
        raise FileNotFoundError(f"{url} answered {said}: check --url (default {BASE_URL})")


def retry(action: Callable, url: str, gained: Callable[[], int] = lambda: 0):
    """Return what `action` returns; network failures are retried, up to TRIES in a row without a new byte."""
    best, failures = gained(), 0
    while True:
        try:
            return action()
        except TRANSIENT as error:
            failures = 1 if gained() > best else failures + 1
            best = max(best, gained())
            if failures >= TRIES:
                raise ConnectionError(f"cannot fetch {url}: {reason(error)}") from error
            wait = BACKOFF * 2 ** (failures - 1)
            print(f"{reason(error)}; trying again in {wait:.0f} s", file=sys.stderr)
        time.sleep(wait)


def reason(error: BaseException) -> str:
    """Return the innermost of the causes that requests and urllib3 wrap into each other; a proxy's is marked."""
    causes = [getattr(error, "reason", None), *error.args, error.__cause__]
    inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
    text = reason(inner) if inner else getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"at the proxy: {text}" if isinstance(error, requests.exceptions.ProxyError) else text


def fetch_md5(session: requests.Session, url: str) -> str | None:
    """Return the published checksum, None if the server has none (404); anything else there is no pass.

    GroupLens writes `MD5 (ml-1m.zip) = c4d9...` beside the older archives, `6b51...  ml-25m.zip` since 25m.
    """

    def get() -> str | None:
        response = session.get(url, timeout=TIMEOUT)
        if response.status_code == 404:
            return None
        check_status(response, url)
        return response.text

    text = retry(get, url)
    if text is None:
        return None
    digests = set(re.findall(r"\b[0-9a-f]{32}\b", text.lower()))
    if len(digests) != 1:
        raise ConnectionError(f"{url} should hold one checksum and holds {len(digests)}")
    return digests.pop()


def check_md5(part: Path, url: str, md5: str | None) -> None:
    """Raise BadZipFile unless `part` has the published checksum. Without one, unpacking checks the CRCs."""
    with part.open("rb") as file:
        found = md5 and hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise zipfile.BadZipFile(f"{url} arrived with MD5 {found}, published is {md5}")


def install(part: Path, target: Path, *, limit: int) -> None:
    """Unpack `part` beside `target` and put its one top folder in place by a rename, so that it appears complete.

    Each run unpacks into a folder of its own: two at once cannot mix, the first rename wins.
    """
    prefix = f".{target.name}.unpacking-"
    with TemporaryDirectory(prefix=prefix, dir=target.parent) as work:
        os.replace(unpack(part, Path(work), limit=limit), target)
    for left in target.parent.glob(f"{prefix}*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)


def unpack(part: Path, work: Path, *, limit: int) -> Path:
    """Unpack the archive into the empty folder `work`, at most `limit` bytes, and return its one top folder.

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
    except Exception as error:  # zipfile raises nearly anything for a damaged archive
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise  # the disk's fault
        raise zipfile.BadZipFile(f"{name} is damaged or unsafe: {reason(error)}") from error
    folder = work / members[0].filename.split("/")[0]
    if not has_ratings(folder):
        raise zipfile.BadZipFile(f"{name} is not MovieLens: it has none of {', '.join(RATINGS_FILES)}")
    return folder


def check_members(members: list[zipfile.ZipInfo], limit: int) -> list[zipfile.ZipInfo]:
    """Return `members` if they are plain files and folders below one top folder, few enough and small enough."""
    if not 0 < len(members) <= MAX_MEMBERS:
        raise zipfile.BadZipFile(f"it has {len(members)} members, 1 to {MAX_MEMBERS} are allowed")
    if (total := sum(member.file_size for member in members)) > limit:
        raise zipfile.BadZipFile(f"it would unpack to {megabytes(total)}, {megabytes(limit)} are allowed")
    top = members[0].filename.split("/")[0]
    for member in members:
        checks = {
            "would leave the folder": MEMBER_NAME.fullmatch(member.filename),
            "is a link or a device": stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR),
            f"is not below {top}/": member.filename.startswith(f"{top}/"),
            # zipfile hands out the others in chunks of any size, which would get past read_bounded
            "is packed in an odd way": member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
        }
        if failed := [what for what, passed in checks.items() if not passed]:
            raise zipfile.BadZipFile(f"its member {member.filename!r} {failed[0]}")
    return members


def read_bounded(source: BinaryIO, budget: int) -> Iterator[bytes]:
    """Yield the bytes of `source` in chunks; BadZipFile once they are more than `budget`, whatever was declared."""
    while chunk := source.read(1 << 20):
        budget -= len(chunk)
        if budget < 0:
            raise zipfile.BadZipFile("it unpacks to more than it may")
        yield chunk


@contextmanager
def progress(label: str) -> Iterator[Show]:
    """Yield show(done, total): a bar on a terminal, otherwise a line every CALM_SECONDS at most."""
    last = time.monotonic()

    def write_line(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= CALM_SECONDS:
            last = time.monotonic()
            print(f"{label}: {megabytes(done)}{f' of {megabytes(total)}' if total else ''}", file=sys.stderr)

    if not sys.stderr.isatty():
        yield write_line
        return
    columns = "{task.description}", rich.progress.BarColumn(), rich.progress.DownloadColumn()
    speed = rich.progress.TransferSpeedColumn(), rich.progress.TimeRemainingColumn()
    with rich.progress.Progress(*columns, *speed, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
