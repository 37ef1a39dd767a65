"""A release as one file to carry elsewhere: packed here, fetched there, checked, and made live as a whole."""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from pipeline.config import PipelineError
from pipeline.files import replacing
from pipeline.release import store
from pipeline.release.manifest import MANIFEST, read_manifest
from pipeline.unpacking import CHUNK, extract, require_safe

NAME = "release.zip"
MAX_MANIFEST = 16 * 2**20  # bytes
TIMEOUT = (10, 60)  # seconds to connect, seconds of silence


def pack(warehouse: Path, out: Path, release_id: str | None = None) -> tuple[str, int, str]:
    """Write a release, the live one by default, as a zip file; return its id, the file's bytes and sha256.

    out: the file, replaced as a whole, or a folder that gets release.zip.
    Raises PipelineError if the release is not as it was published, or the file cannot be written.
    """
    folder = store.release_dir(warehouse, release_id)
    if wrong := store.verify(warehouse, folder.name):
        raise PipelineError(f"{folder}: {wrong[0]}; pack a whole release: python -m pipeline pack --release RELEASE_ID")
    target = out / NAME if out.is_dir() else out
    try:
        with replacing(target) as new:
            with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
                for name in [MANIFEST, *read_manifest(folder)["files"]]:
                    archive.write(folder / name, f"{folder.name}/{name}")
            with new.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PipelineError(
            f"{target}: cannot be written ({error.strerror}); name another file with --out FILE"
        ) from error
    return folder.name, target.stat().st_size, digest


def fetch(warehouse: Path, source: str, check: Callable[[Path], object], *, max_bytes: int, keep: int = 0) -> str:
    """Bring a packed release into the warehouse, make it live, and return its id.

    source: http(s) address or path of the file, followed by '#sha256=HEX' if only that very file will do.
    check: tries the release's folder before it goes live, and raises PipelineError if the release does not answer.
    max_bytes: bound on the file, and on its unpacked content. keep: newest releases that stay, 0 keeps all.
    The file is unpacked aside: exactly the files that its manifest names, each of the recorded size and sha256. Then
    the folder becomes a release in one step. A release that is in the warehouse already is made live.
    Raises PipelineError if the file cannot be fetched or is not whole. The live release is then as it was.
    """
    where, _, wanted = source.partition("#sha256=")
    shown = where.split("?")[0].rsplit("@")[-1]  # an address may hold a key
    release_id = None
    with store.writer_lock(warehouse):
        file, folder = warehouse / "arriving.zip.new", warehouse / "arriving.new"  # swept up if the process dies
        try:
            found = _copy(where, file, max_bytes)
            if wanted and found != wanted.lower():
                raise ValueError(f"its sha256 is {found}")
            release_id = _unpack(file, folder, max_bytes)
            _require_answer(check, folder)
            store.admit(warehouse, folder, release_id)
            store.retire(warehouse, keep)
        except requests.RequestException as error:
            answer = error.response
            reason = type(error).__name__ if answer is None else f"{answer.status_code} {answer.reason}"
            raise PipelineError(f"{shown}: cannot be fetched ({reason}); check the address") from error
        except OSError as error:
            reason = error.strerror or str(error)
            how = store.outcome(warehouse, release_id)
            raise PipelineError(
                f"{shown}: cannot be brought to {warehouse}: {how} ({reason}); "
                "check the file and the space in the warehouse, and fetch again"
            ) from error
        except PipelineError:
            raise
        except Exception as error:  # zipfile raises nearly anything for a damaged archive
            raise PipelineError(
                f"{shown}: not the whole release that was asked for ({error}); make it with `python -m pipeline pack`"
            ) from error
        finally:
            with contextlib.suppress(OSError):  # the next writer sweeps it up
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # rmtree does not ignore quite all
                shutil.rmtree(folder, ignore_errors=True)
    return release_id


def _copy(where: str, file: Path, max_bytes: int) -> str:
    """Copy the content of an address or a path into the file; return its sha256."""
    digest, size = hashlib.sha256(), 0
    with file.open("wb") as sink:
        for chunk in _chunks(where):
            size += len(chunk)
            _bound(size, max_bytes)
            digest.update(chunk)
            sink.write(chunk)
    return digest.hexdigest()


def _chunks(where: str) -> Iterator[bytes]:
    if where.startswith(("http://", "https://")):
        with requests.get(where, stream=True, timeout=TIMEOUT) as response:
            response.raise_for_status()
            yield from response.iter_content(CHUNK)
    else:
        with open(where, "rb") as source:
            yield from iter(lambda: source.read(CHUNK), b"")


def _unpack(file: Path, folder: Path, max_bytes: int) -> str:
    """Unpack the files that the archive's manifest names, and no others, into the folder; return the release's id.

    Names and sizes are judged before the first byte is written, and no more bytes are read than the manifest announces.
    Raises ValueError and BadZipFile if the archive does not hold a whole release.
    """
    with zipfile.ZipFile(file) as archive:
        _bound(sum(member.file_size for member in archive.infolist()), max_bytes)
        require_safe(archive.infolist(), limit=max_bytes)
        members = {member.filename: member for member in archive.infolist()}
        manifests = [name for name in members if name.endswith(f"/{MANIFEST}") and name.count("/") == 1]
        if len(manifests) != 1 or members[manifests[0]].file_size > MAX_MANIFEST:
            raise ValueError("it has no manifest")
        release_id = manifests[0].split("/")[0]
        with archive.open(manifests[0]) as source:
            text = source.read(MAX_MANIFEST)
        manifest = json.loads(text)
        noted = manifest["files"]
        if not store.RELEASE_ID.fullmatch(release_id) or manifest["release_id"] != release_id:
            raise ValueError("its folder is not named for the release")
        if store.time_of(release_id) > datetime.now(UTC) + timedelta(days=1):
            raise ValueError("its id is in the future: later releases would seem older")
        for expected in noted.values():
            if type(expected["bytes"]) is not int or expected["bytes"] < 0:
                raise ValueError("its manifest has a size that is no number of bytes")
        if sorted(archive.namelist()) != sorted([manifests[0], *(f"{release_id}/{name}" for name in noted)]):
            raise ValueError("its files are not those that its manifest names")
        size = sum(expected["bytes"] for expected in noted.values())
        _bound(size, max_bytes)
        folder.mkdir()
        (folder / MANIFEST).write_bytes(text)
        extract(archive, {f"{release_id}/{name}": folder / name for name in noted}, limit=size)
    if wrong := store.damage(folder):
        raise ValueError(wrong[0])
    return release_id


def _require_answer(check: Callable[[Path], object], folder: Path) -> None:
    """Raise ValueError if the release in the folder does not pass the check."""
    try:
        check(folder)
    except PipelineError as error:
        raise ValueError(str(error)) from error


def _bound(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ValueError(f"more than {max_bytes / 2**20:,.0f} MiB; --max-mib allows more")
