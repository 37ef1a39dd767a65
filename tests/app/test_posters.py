"""Posters come from a server of another's: here one on loopback that can be slow, broken, or lie."""

import base64
import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from app import posters

IMAGE = b"\xff\xd8 not much of a picture"
SECRET = "a-key-that-nobody-may-see"


@pytest.fixture
def tmdb(monkeypatch):
    """A stand-in for TMDB. answers: by path, (seconds to wait, status, type, body); asked: the paths."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, query = self.path.partition("?")
            asked.append(path)
            seconds, status, kind, body = answers.get(path, (0, 404, "text/plain", b""))
            time.sleep(seconds)
            if path.startswith("/movie/"):
                assert query == f"api_key={SECRET}"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(posters, "API", address)
    monkeypatch.setattr(posters, "IMAGES", address)
    monkeypatch.setenv(posters.API_KEY, SECRET)
    monkeypatch.setattr(posters, "WAIT", 10)  # but where the wait is what is tested
    posters._kept.clear()
    yield answers, asked
    server.shutdown()
    server.server_close()


def film(answers, number, *, image=IMAGE, kind="image/jpeg", seconds=0.0, status=200, movie=None):
    about = movie if movie is not None else f'{{"poster_path": "/p{number}.jpg"}}'.encode()
    answers[f"/movie/{number}"] = (0, 200, "application/json", about)
    answers[f"/p{number}.jpg"] = (seconds, status, kind, image)


def test_posters_are_fetched_once_and_put_into_the_page(tmdb):
    answers, asked = tmdb
    film(answers, 862)
    film(answers, 949)
    expected = "data:image/jpeg;base64," + base64.b64encode(IMAGE).decode()
    assert posters.posters([862, None, 949]) == {862: expected, 949: expected}
    assert posters.posters([862, 949]) == {862: expected, 949: expected}
    assert sorted(asked) == ["/movie/862", "/movie/949", "/p862.jpg", "/p949.jpg"]


def test_without_a_key_nobody_is_asked(tmdb, monkeypatch):
    answers, asked = tmdb
    film(answers, 862)
    monkeypatch.delenv(posters.API_KEY)
    assert posters.posters([862]) == {} and asked == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"movie": b"not json"}, {"movie": b'{"poster_path": null}'}, {"movie": b"[]"}, {"status": 500},
        {"kind": "text/html"}, {"kind": "image/svg+xml"}, {"image": b"x" * (posters.MAX_IMAGE_BYTES + 1)},
    ],
)  # fmt: skip
def test_what_is_no_poster_is_left_out_and_not_asked_for_again(tmdb, wrong, caplog, capfd):
    answers, asked = tmdb
    film(answers, 1, **wrong)
    film(answers, 2)
    assert list(posters.posters([1, 2, 3])) == [2]
    before = len(asked)
    assert list(posters.posters([1, 2, 3])) == [2] and len(asked) == before
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_what_could_not_be_had_is_asked_for_again_after_a_minute_and_what_could_after_hours(tmdb, monkeypatch):
    answers, asked = tmdb
    film(answers, 1, status=500)
    film(answers, 2)
    assert list(posters.posters([1, 2])) == [2]
    film(answers, 1)
    now = time.monotonic()
    monkeypatch.setattr(posters, "time", SimpleNamespace(monotonic=lambda: now + posters.MISSED_SECONDS + 1))
    assert set(posters.posters([1, 2])) == {1, 2} and asked.count("/movie/2") == 1


def test_no_more_than_so_many_are_kept(tmdb, monkeypatch):
    answers, _ = tmdb
    monkeypatch.setattr(posters, "KEPT_POSTERS", 2)
    for number in (1, 2, 3):
        film(answers, number)
        posters.posters([number])
    assert list(posters._kept) == [2, 3]


def test_who_waits_for_posters_lets_others_in(tmdb):
    from app import films

    answers, held = tmdb[0], []
    film(answers, 1)

    @contextlib.contextmanager
    def watched():
        with films.out_of_turn():
            held.append(films.turns()._value)
            yield

    with films.turns():
        assert set(posters.posters([1], meanwhile=watched)) == {1}
        assert films.turns()._value == films.DRAWN_AT_ONCE - 1
        posters.posters([1], meanwhile=watched)  # has it, and waits for nothing
    assert held == [films.DRAWN_AT_ONCE]


def test_a_slow_answer_does_not_hold_the_page_up_and_is_there_the_next_time(tmdb, monkeypatch):
    answers, _ = tmdb
    monkeypatch.setattr(posters, "WAIT", 0.3)
    film(answers, 1, seconds=0.6)
    film(answers, 2)
    begin = time.monotonic()
    first = posters.posters([1, 2])
    assert 2 in first and 1 not in first and time.monotonic() - begin < 5
    time.sleep(0.6)
    assert set(posters.posters([1, 2])) == {1, 2}
