"""What visitors leave on the server, in a SQLite file of its own: named sessions, and thumbs that become ratings.

No accounts: a person with a session's link has the session. Links cannot be guessed. docs/privacy.md says what is kept.
"""

import contextlib
import csv
import fcntl
import hashlib
import json
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.config import PipelineError
from pipeline.files import leftovers, replacing
from pipeline.serving.steering import MAX_FAVOURITES

MAX_NAME = 80  # characters
MAX_STATE = 4_000  # characters
MAX_RELEASE_ID = 64  # characters
MAX_SESSIONS = 100_000  # beyond, the one that nobody opened for the longest time goes
MAX_THUMBS = 1_000_000  # beyond, the oldest goes
MAX_THUMBS_OF_VISITOR = 1_000  # so that one visitor cannot push out everybody else's
BUSY_SECONDS = 10  # how long a call waits for other writers
USE_NOTED_AFTER = 3_600  # seconds: a session that is opened over and over is not written each time
TOKEN_BYTES = 16  # of chance: 22 characters
TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}")
LAST_USER = 2**31 - 1  # visitors count down from here, the data sets' users count up from 1
HEADER = ["userId", "movieId", "rating", "timestamp"]
VERSION = 1  # of the tables below, as SQLite's user_version
# Only hashes of tokens are stored: a copy of this file opens no session. Times are seconds since 1970. With
# autoincrement no number is given twice: who comes after a deleted visitor is not taken for the same user. Whose last
# thumb goes is no longer a visitor.
MAKE_TABLES = f"""
pragma journal_mode = wal;
begin;
create table sessions (
    token_hash blob primary key,
    name text not null,
    state text not null,
    saved_at integer not null,
    used_at integer not null
);
create index sessions_by_use on sessions (used_at);
create table visitors (
    number integer primary key autoincrement,
    token_hash blob not null unique
);
create table feedback (
    visitor integer not null references visitors (number),
    movie_id integer not null,
    thumb integer not null check (thumb in (-1, 1)),
    release_id text not null,
    favourites text not null, -- a JSON list of movie ids
    given_at integer not null,
    primary key (visitor, movie_id)
);
create index feedback_by_time on feedback (given_at);
create trigger last_thumb_gone after delete on feedback
when not exists (select 1 from feedback where visitor = old.visitor)
begin
    delete from visitors where number = old.visitor;
end;
pragma user_version = {VERSION};
commit;
"""
SAVE = """
    insert into sessions (token_hash, name, state, saved_at, used_at) values (:owner, :name, :state, :now, :now)
    on conflict (token_hash) do update
    set name = excluded.name, state = excluded.state, saved_at = excluded.saved_at, used_at = excluded.used_at
"""
FORGET_UNUSED = """
    delete from sessions where rowid in
        (select rowid from sessions order by used_at desc, rowid desc limit -1 offset :most)
"""
ADD_VISITOR = """
    insert into visitors (token_hash)
    select :owner where not exists (select 1 from visitors where token_hash = :owner)
"""
GIVE = """
    insert into feedback (visitor, movie_id, thumb, release_id, favourites, given_at)
    select number, :movie_id, :thumb, :release_id, :favourites, :now from visitors where token_hash = :owner
    on conflict (visitor, movie_id) do update
    set thumb = excluded.thumb, release_id = excluded.release_id, favourites = excluded.favourites,
        given_at = excluded.given_at
"""
FORGET_MANY = """
    delete from feedback where rowid in
        (select rowid from feedback where visitor = (select number from visitors where token_hash = :owner)
         order by given_at desc, rowid desc limit -1 offset :most)
"""
FORGET_OLD = """
    delete from feedback where rowid in
        (select rowid from feedback order by given_at desc, rowid desc limit -1 offset :most)
"""
TAKE_BACK = "delete from feedback where visitor = (select number from visitors where token_hash = :owner)"


class SavedSession(NamedTuple):
    """A session as it was saved: its name, the page's address query, and when (UTC)."""

    name: str
    state: str
    saved_at: datetime


class Feedback(NamedTuple):
    """One thumb, 1 up or -1 down: whose, about which movie, in which release's answer to which favourites, and when."""

    user_id: int
    movie_id: int
    thumb: int
    release_id: str
    favourites: list[int]
    given_at: datetime


class Stored(NamedTuple):
    """How much is stored, and since when (UTC; None: nothing)."""

    n_sessions: int
    n_thumbs: int
    n_visitors: int
    since: datetime | None


class Rating(NamedTuple):
    """One rating in MovieLens form, movie_id as in the input; timestamp: seconds since 1970."""

    user_id: int
    movie_id: int | str
    rating: float
    timestamp: int


class Sessions:
    """The file of sessions and feedback, made by the first write.

    Threads and processes may share it: every call opens a connection of its own and waits its turn. The folder must be
    on this machine's own disks, since SQLite's write-ahead log does not work over a network. Every method raises
    PipelineError, in one line, where the file cannot be written, is no such file, or is from a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        """path: the file, as sessions.path has it; nothing is touched yet."""
        if "://" in str(path):
            raise PipelineError(f"{path}: sessions need a local file; give --set sessions.path=FILE")
        self.path = Path(path).absolute()

    def save(self, name: str, state: str, token: str | None = None) -> str:
        """Save a session and return its token: a new one, or the given one, whose session is then replaced.

        name: at most 80 characters, not blank. state: at most 4000 characters. token: from an earlier save or the
        visitor's own; a session that is no longer there is made again, so that its link works as before.
        Raises PipelineError for a longer text, or for a token that is none.
        """
        name, state = (text.encode(errors="replace").decode() for text in (name.strip(), state))
        _require(0 < len(name) <= MAX_NAME, f"a session's name has 1 to {MAX_NAME} characters, not {len(name)}")
        _require(len(state) <= MAX_STATE, f"a session holds at most {MAX_STATE} characters, not {len(state)}")
        token = secrets.token_urlsafe(TOKEN_BYTES) if token is None else token
        values = {"owner": _hashed(token), "name": name, "state": state, "now": int(time.time())}
        with self._writing() as connection:
            connection.execute(SAVE, values)
            connection.execute(FORGET_UNUSED, {"most": MAX_SESSIONS})
        return token

    def load(self, token: str) -> SavedSession | None:
        """Return the session of this token; None when there is none."""
        if not self._exists() or not TOKEN.fullmatch(token):
            return None
        query = "select name, state, saved_at, used_at from sessions where token_hash = :owner"
        values = {"owner": _hashed(token), "now": int(time.time())}
        with self._reading() as connection:
            row = connection.execute(query, values).fetchone()
        if row is None:
            return None
        name, state, saved_at, used_at = row
        if values["now"] - used_at >= USE_NOTED_AFTER:
            with self._writing() as connection:
                connection.execute("update sessions set used_at = :now where token_hash = :owner", values)
        return SavedSession(name, state, _time(saved_at))

    def delete(self, token: str) -> None:
        """Delete the session of this token and all thumbs that were given with it, where there are any."""
        if not self._exists() or not TOKEN.fullmatch(token):
            return
        values = {"owner": _hashed(token)}
        with self._writing() as connection:
            connection.execute(TAKE_BACK, values)
            connection.execute("delete from sessions where token_hash = :owner", values)
        self._empty_log()

    def give_feedback(self, visitor: str, release_id: str, movie_id: int, thumb: int, favourites: list[int]) -> None:
        """Note what a visitor thinks of a recommendation; of several thumbs about one movie the latest counts.

        visitor: a token, the session's own where there is one. thumb: 1 up, -1 down, 0 takes it back. favourites: what
        was recommended for, at most 50 movie ids. Raises PipelineError for any other value.
        """
        _require(thumb in (-1, 0, 1), f"a thumb is 1, -1 or 0, not {thumb!r}")
        _require(len(release_id) <= MAX_RELEASE_ID, f"a release's id has at most {MAX_RELEASE_ID} characters")
        _require(len(favourites) <= MAX_FAVOURITES, f"{len(favourites)} favourites; {MAX_FAVOURITES} are the most")
        ids = [movie_id, *favourites]
        whole = all(isinstance(movie, int) and -(2**31) <= movie < 2**31 for movie in ids)
        _require(whole, "movie ids are 32-bit integers")
        values = {"owner": _hashed(visitor), "movie_id": ids[0], "thumb": thumb, "release_id": release_id}
        values |= {"favourites": json.dumps(ids[1:], separators=(",", ":")), "now": int(time.time())}
        if thumb == 0:
            if self._exists():
                with self._writing() as connection:
                    connection.execute(f"{TAKE_BACK} and movie_id = :movie_id", values)
                self._empty_log()
            return
        with self._writing() as connection:
            connection.execute(ADD_VISITOR, values)
            connection.execute(GIVE, values)
            connection.execute(FORGET_MANY, {**values, "most": MAX_THUMBS_OF_VISITOR})
            connection.execute(FORGET_OLD, {"most": MAX_THUMBS})

    def feedback(self) -> list[Feedback]:
        """Return all thumbs, by visitor in the order of their first one, then by movie_id.

        user_id: counted down from 2^31 - 1, one per visitor, the same at every call while the visitor has a thumb.
        """
        if not self._exists():
            return []
        columns = "visitor, movie_id, thumb, release_id, favourites, given_at"
        with self._reading() as connection:
            rows = connection.execute(f"select {columns} from feedback order by visitor, movie_id").fetchall()
        return [
            Feedback(LAST_USER + 1 - number, movie_id, thumb, release_id, json.loads(favourites), _time(given_at))
            for number, movie_id, thumb, release_id, favourites, given_at in rows
        ]

    def stored(self) -> Stored:
        """Return how many sessions, thumbs and visitors with thumbs there are."""
        if not self._exists():
            return Stored(0, 0, 0, None)
        query = """
            select (select count(*) from sessions), (select count(*) from feedback), (select count(*) from visitors),
                (select min(at) from (select saved_at as at from sessions union all select given_at from feedback))
        """
        with self._reading() as connection:
            *counts, since = connection.execute(query).fetchone()
        return Stored._make([*counts, since if since is None else _time(since)])

    def wipe(self) -> None:
        """Delete everything, and give the space back.

        The file itself stays: a server that has it open would keep writing to the deleted one.
        """
        if not self._exists():
            return
        with self._writing() as connection:
            connection.execute("delete from feedback")
            connection.execute("delete from sessions")
        with self._reading() as connection:
            connection.execute("vacuum")
        self._empty_log()

    def _empty_log(self) -> None:
        """Leave nothing of what was deleted in SQLite's log, which else stays while anybody has the file open."""
        with self._reading() as connection:
            connection.execute("pragma wal_checkpoint(truncate)")

    def _exists(self) -> bool:
        return os.path.exists(self.path)  # Path.exists raises where a folder may not be looked into

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction that is committed at the end; make the file if it is not there."""
        try:
            if not self._exists():
                _create(self.path)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        with self._reading() as connection:
            connection.execute("begin immediate")
            yield connection
            connection.execute("commit")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection without a transaction; what is left uncommitted by an error is undone as it closes."""
        try:
            address = f"{self.path.as_uri()}?mode=rw"
            with contextlib.closing(
                sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            ) as connection:
                version = connection.execute("pragma user_version").fetchone()[0]
                if version > VERSION:
                    raise PipelineError(
                        f"{self.path}: written by a newer version of this project (tables {version}, here {VERSION}); "
                        "update the project, or choose another file with --set sessions.path=FILE"
                    )
                if version < VERSION:
                    raise sqlite3.DatabaseError("another program's database")
                connection.execute("pragma secure_delete = on")  # what is deleted is overwritten
                yield connection
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> PipelineError:
        fix = "make its folder writable, or choose another with --set sessions.path=FILE"
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            fix = "it is damaged or holds no sessions; move it away, or choose another with --set sessions.path=FILE"
        elif "locked" in str(error):
            fix = "another process is writing for too long; try again"
        return PipelineError(f"{self.path}: {getattr(error, 'strerror', None) or error}; {fix}")


def ratings_of(feedback: list[Feedback], *, worst: float, best: float) -> list[Rating]:
    """Return what thumbs say in stars: one rating per user_id and movie_id, in the order of feedback, then movie_id.

    A thumb up is worth the best rating, a thumb down the worst. A favourite that the visitor's thumbs were given for is
    also worth the best, dated by the latest of them, unless it has a thumb of its own.
    """
    of_users: dict[int, dict[int, Rating]] = {}
    for row in feedback:
        liked = of_users.setdefault(row.user_id, {})
        seconds = int(row.given_at.timestamp())
        for movie_id in row.favourites:
            if movie_id not in liked or liked[movie_id].timestamp < seconds:
                liked[movie_id] = Rating(row.user_id, movie_id, best, seconds)
    for row in feedback:
        stars = best if row.thumb > 0 else worst
        of_users[row.user_id][row.movie_id] = Rating(row.user_id, row.movie_id, stars, int(row.given_at.timestamp()))
    return [ratings[movie_id] for ratings in of_users.values() for movie_id in sorted(ratings)]


def write_ratings(ratings: list[Rating], out: Path) -> Path:
    """Write ratings in MovieLens form to a .csv file, or to ratings.csv in a folder, and return the file.

    A reader sees the file from before or the new one, whole. Raises PipelineError where it cannot be written, and where
    a file holds other ratings than those of visitors: that is somebody's data set.
    """
    path = out if out.suffix == ".csv" else out / "ratings.csv"
    try:
        if path.exists() and not _is_export(path):
            raise PipelineError(f"{path}: these are other ratings than those of visitors; give another --out FILE.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new, open(new, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows(ratings)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be written ({error.strerror}); give another --out FILE.csv") from error
    return path


def _is_export(path: Path) -> bool:
    """Tell whether a file is one of write_ratings, by its header and its first user."""
    with open(path, encoding="utf-8", errors="replace") as file:
        header, first = file.readline().strip(), file.readline().split(",")[0].strip()
    return header == ",".join(HEADER) and (not first or (first.isdecimal() and int(first) > LAST_USER // 2))


def _create(path: Path) -> None:
    """Make the file with its tables, readable by its owner only, in one step: no other process sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # released as the descriptor closes
        if path.exists():
            return
        for left in leftovers(path):
            left.unlink(missing_ok=True)
        with replacing(path) as new:
            os.close(os.open(new, os.O_CREAT | os.O_EXCL, 0o600))
            with contextlib.closing(sqlite3.connect(new)) as connection:
                connection.executescript(MAKE_TABLES)
    finally:
        os.close(folder)


def _hashed(token: str) -> bytes:
    """Return the token's sha256. Without salt: 128 bits of chance cannot be found by trying.

    Raises PipelineError when it is no token.
    """
    _require(TOKEN.fullmatch(token) is not None, "this is no session's link")
    return hashlib.sha256(token.encode()).digest()


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise PipelineError(text)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
