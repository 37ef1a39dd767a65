"""Fetch, verify and unpack one MovieLens data set; no Spark.

The result is the folder DIR/ml-SIZE. One rename puts it in place after every check, so a folder of that name is whole.
Until then the bytes are in DIR/ml-SIZE.zip.part, and the next call resumes from them.
Proxies: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.
"""

import errno
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from pipeline.unpacking import extract, require_safe

BASE_URL = "https://files.grouplens.org/datasets/movielens"
# Unpacked megabytes, rounded up from public listings; `latest` grows.
UNPACKED_MB = {"latest-small": 4, "100k": 16, "1m": 25, "10m": 270, "20m": 890, "25m": 1160, "32m": 960, "latest": 1600}
MAX_GROWTH = 4  # an archive may unpack to this many times the size above
MAX_MEMBERS = 200  # ml-100k, the one with most, has about 25
RATINGS_FILES = ("ratings.csv", "ratings.dat", "u.data")
T = TypeVar("T")
TRIES = 5  # failures in a row that brought no new byte
BACKOFF = 1.0  # seconds before the first retry; doubles
TIMEOUT = (10, 60)  # seconds to connect, seconds of silence
CALM_SECONDS = 5.0  # between progress lines where there is no terminal


def download(size: str, directory: Path, base_url: str) -> str:
    """Bring DIR/ml-SIZE into place if it is not there, and return what to tell the user; OSError or BadZipFile."""
    target, part = directory / f"ml-{size}", directory / f"ml-{size}.zip.part"
    url, limit = f"{base_url.rstrip('/')}/ml-{size}.zip", int(UNPACKED_MB[size] * 10**6 * MAX_GROWTH)
    next_command = f"next: ./spark-submit.sh jobs/run_pipeline.py --set {shlex.quote(f'data.dir={target}')}"
    if any((target / name).is_file() for name in RATINGS_FILES):  # then it is complete: the rename comes last
        return f"{target} is already there (delete it to fetch it again); {next_command}"
    if target.exists():
        raise FileExistsError(f"{target} holds no ratings file: move it away, then run this again")
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with requests.Session() as session:
            length = retry(lambda: fetch(session, url, part, limit=limit), url, part)
            checked = retry(lambda: check_md5(session, f"{url}.md5", part), f"{url}.md5", part)
        install(part, target, limit=limit)
    except zipfile.BadZipFile as error:
        forget(part)
        raise zipfile.BadZipFile(f"{url}: {error}; it was deleted, the same command fetches it again") from error
    forget(part)
    print(f"conditions of use and citation: {next(iter(sorted(target.glob('README*'))), target)}")
    proof = "MD5 checked" if checked else f"no MD5 published, {'length and ' if length else ''}CRCs checked"
    return f"{target} is ready ({proof}); {next_command}"


def fetch(session: requests.Session, url: str, part: Path, *, limit: int) -> int | None:
    """Make one request for the bytes that `part` lacks of `url`, and return the announced length if any.

    Bytes are appended only if they continue those here: the server confirms the ETag or Last-Modified noted in
    `.part.json`, and begins where the part ends. At most `limit` bytes are taken, whatever length was announced.
    """
    known = read_validator(part, url)
    have = part.stat().st_size if known and part.exists() else 0
    # Accept-Encoding: a compressed answer could be neither resumed nor held against its length.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-", "If-Range": known} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status, (start, total, validator) = response.status_code, read_offer(response)
        if status == 416 and total == have:
            return total
        if status == 416 or (status == 206 and (start != have or validator not in (None, known))):
            forget(part)
            raise requests.ConnectionError("the file on the server is another one now, starting over")
        check_status(response)
        with part.open("ab" if status == 206 else "wb") as file, progress(f"fetching {part.stem}") as show:
            if status != 206:  # a new beginning, noted once the old bytes are gone
                part.with_suffix(".part.json").write_text(json.dumps({url: validator}))
            have = file.tell()
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                have += len(chunk)
                show(have, total)
                if have > limit:
                    raise zipfile.BadZipFile(f"more than {megabytes(limit)}, too much to be true")
    if total is not None and part.stat().st_size != total:
        raise requests.ConnectionError(f"the connection closed at {megabytes(have)} of {megabytes(total)}")
    return total


def read_offer(response: requests.Response) -> tuple[int | None, int | None, str | None]:
    """Return first byte and total length sent, and what If-Range takes (RFC 9110, 13.1.5); None where not said."""
    headers = response.headers
    etag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
    validator = etag if etag.startswith('"') else headers.get("Last-Modified")  # a weak ETag will not do
    if match := re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", headers.get("Content-Range", "")):
        return int(match[1]) if match[1] else None, int(match[2]), validator
    return None, int(length) if length.isdigit() else None, validator


def read_validator(part: Path, url: str) -> str | None:
    """Return the ETag or Last-Modified noted when `part` was begun; None if unknown or from another address."""
    try:
        return json.loads(part.with_suffix(".part.json").read_text()).get(url)
    except (OSError, ValueError):
        return None


def forget(part: Path) -> None:
    """Delete `part` and what is known about it."""
    part.unlink(missing_ok=True)
    part.with_suffix(".part.json").unlink(missing_ok=True)


def check_status(response: requests.Response) -> None:
    """Raise ConnectionError for an answer that may pass and is worth a retry, HTTPError for any other failure."""
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise requests.ConnectionError(f"the server answered {response.status_code} {response.reason}")
    response.raise_for_status()


def retry(action: Callable[[], T], url: str, part: Path) -> T:
    """Return what `action` returns; network failures are retried, up to TRIES in a row that add nothing to `part`."""
    best, failures = 0, 0
    while True:
        try:
            return action()
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            size = part.stat().st_size if part.exists() else 0
            best, failures = (size, 1) if size > best else (best, failures + 1)
            if failures >= TRIES:
                raise ConnectionError(f"cannot fetch {url}: {reason(error)}; the same command resumes") from error
            wait = BACKOFF * 2 ** (failures - 1)
            print(f"{reason(error)}; trying again in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)


def reason(error: BaseException) -> str:
    """Return the innermost of the causes that requests and urllib3 wrap into each other; a proxy's is marked."""
    causes = [getattr(error, "reason", None), *error.args, error.__cause__]
    inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
    text = reason(inner) if inner else getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"at the proxy: {text}" if isinstance(error, requests.exceptions.ProxyError) else text


def check_md5(session: requests.Session, url: str, part: Path) -> bool:
    """Hold `part` against the checksum at `url`: True if it is that, False if none is published (404).

    Raises BadZipFile for another checksum; a page that holds none is no pass. GroupLens writes
    `MD5 (ml-1m.zip) = c4d9...` beside the older archives, `6b51...  ml-25m.zip` since 25m.
    """
    response = session.get(url, timeout=TIMEOUT)
    if response.status_code == 404:
        return False
    check_status(response)
    published = re.findall(r"\b[0-9a-f]{32}\b", response.text.lower())
    if len(published) != 1:
        raise ConnectionError(f"{url} should hold one checksum and holds {len(published)}; try again later")
    with part.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if [found] != published:
        raise zipfile.BadZipFile(f"arrived with MD5 {found}, published is {published[0]}")
    return True


def install(part: Path, target: Path, *, limit: int) -> None:
    """Unpack `part` beside `target`, then rename its top folder into place; BadZipFile if the archive is no good.

    Each run unpacks into a folder of its own: two at once cannot mix, the first rename wins.
    """
    prefix = f".{target.name}.unpacking-"
    with TemporaryDirectory(prefix=prefix, dir=target.parent) as work:
        try:
            folder = unpack(part, Path(work), limit=limit)
        except Exception as error:  # zipfile raises nearly anything for a damaged archive
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise  # the disk's fault
            raise zipfile.BadZipFile(f"damaged or unsafe: {reason(error)}") from error
        os.replace(folder, target)
    for left in target.parent.glob(f"{prefix}*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)


def unpack(part: Path, work: Path, *, limit: int) -> Path:
    """Unpack the archive into the empty folder `work` and return its one top folder.

    Names and declared sizes are judged before the first byte is written. Then bytes are counted as they come, since
    declared sizes may lie, and zipfile checks their CRCs.
    """
    with zipfile.ZipFile(part) as archive, progress(f"unpacking {part.stem}") as show:
        top, files = check_members(archive.infolist(), limit)
        total = sum(member.file_size for member in files)
        paths = {member.filename: work / member.filename for member in files}
        extract(archive, paths, limit=limit, show=lambda done: show(done, total))
    return work / top


def check_members(members: list[zipfile.ZipInfo], limit: int) -> tuple[str, list[zipfile.ZipInfo]]:
    """Return the top folder's name and the files below it; BadZipFile if one could do harm or there are no ratings."""
    if not 0 < len(members) <= MAX_MEMBERS:
        raise zipfile.BadZipFile(f"it has {len(members)} members, 1 to {MAX_MEMBERS} are allowed")
    require_safe(members, limit=limit)
    top = members[0].filename.split("/")[0]
    for member in members:
        if not member.filename.startswith(f"{top}/"):
            raise zipfile.BadZipFile(f"its member {member.filename!r} is not below {top}/")
    if not {f"{top}/{name}" for name in RATINGS_FILES} & {member.filename for member in members}:
        raise zipfile.BadZipFile(f"it has none of {', '.join(RATINGS_FILES)}")
    return top, [member for member in members if not member.is_dir()]


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield show(bytes done, bytes in total if known): a bar on a terminal, else a line every CALM_SECONDS at most."""
    last = time.monotonic()

    def write_line(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= CALM_SECONDS:
            last = time.monotonic()
            print(f"{label}: {megabytes(done)}{f' of {megabytes(total)}' if total else ''}", file=sys.stderr)

    columns = "{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    if sys.stderr.isatty():
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield write_line


def megabytes(size: int) -> str:
    """Return a number of bytes as text."""
    return f"{size / 1e6:,.1f} MB"
