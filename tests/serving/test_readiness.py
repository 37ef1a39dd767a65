"""Readiness: the live release answers, asked from the shell and over HTTP."""

import http.server
import re
import shutil
import sys
import threading
import time
import urllib.request

import pytest
import websockets.sync.client

from benchmarks.page import served
from pipeline.__main__ import main
from pipeline.release import store
from pipeline.serving import readiness
from tests.conftest import ROOT, publish


def ready(capsys, *arguments):
    code = main(["ready", *arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_warehouse_is_ready_when_its_live_release_answers(tmp_path, capsys):
    options = ["--set", f"warehouse.dir={tmp_path}"]
    code, line = ready(capsys, *options)
    assert code == 1 and "run ./spark-submit.sh" in line and line.count("\n") == 1
    folder = publish(tmp_path)
    assert ready(capsys, *options) == (0, f"ready: release {folder.name} answers\n")
    (folder / "serving.duckdb").write_bytes(b"no database")
    code, line = ready(capsys, *options)
    assert code == 1 and "cannot be opened" in line and line.count("\n") == 1


def test_the_page_says_so_over_http(warehouse, tmp_path, capsys):
    """The server in a process of its own, without a release, then with one: no restart between."""
    with served(tmp_path, script="app/server.py") as (address, _):
        code, line = ready(capsys, address)
        assert code == 1 and "not ready: " in line and line.count("\n") == 1
        assert str(tmp_path) not in line
        shutil.copytree(warehouse, tmp_path, dirs_exist_ok=True)
        time.sleep(1.1)  # an answer may be a second old
        assert ready(capsys, address) == (0, f"ready: release {store.current_id(tmp_path)} answers\n")
    code, line = ready(capsys, address)
    assert code == 1 and "no answer (ConnectionError)" in line


def test_many_who_ask_at_once_cost_one_recommendation(warehouse, monkeypatch):
    from app import server

    asked, check = [], readiness.check
    monkeypatch.setattr(
        readiness, "check", lambda recommender: asked.append(1) or time.sleep(0.1) or check(recommender)
    )
    monkeypatch.setattr(sys, "argv", ["server.py", "--set", f"warehouse.dir={warehouse}"])
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.ready(None).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8 and len(asked) == 1


def test_a_browser_may_not_send_much_at_once(warehouse):
    with served(warehouse, script="app/server.py") as (address, _):
        url = f"{address.replace('http', 'ws', 1)}/_stcore/stream"
        with websockets.sync.client.connect(url, subprotocols=["streamlit"]) as socket:
            socket.send(b"\0" * 1_100_000)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                while True:
                    socket.recv(timeout=120)
    assert closed.value.rcvd.code == 1009  # "message too big"


def test_the_page_comes_with_its_style_and_the_scripts_it_begins_with(tmp_path):
    with served(tmp_path, script="app/server.py") as (address, _):
        for path in ("", "/explore"):
            with urllib.request.urlopen(f"{address}{path}") as answer:
                page = answer.read().decode()
            head = page.partition("</head>")[0]
            assert page.rstrip().endswith("</html>") and (ROOT / "app" / "style.css").read_text() in head
            named = re.findall(r'<link rel="modulepreload" crossorigin href="\./(static/js/(\S+?)\.[\w-]+\.js)">', head)
            assert {name for _, name in named} >= {
                "Html", "purify.es", "TextInput", "TextField", "Button", "Multiselect", "Slider", "BidiComponent"
            }  # fmt: skip
        for script, _ in named:
            with urllib.request.urlopen(f"{address}/{script}") as answer:
                assert "javascript" in answer.headers["content-type"]
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD")) as answer:
            assert answer.status == 200


def test_a_page_without_the_address_is_told_from_one_that_is_not_ready(capsys, tmp_path):
    (tmp_path / "ready").write_text("<html>ready: not really</html>")

    class Page(http.server.SimpleHTTPRequestHandler):
        def guess_type(self, path):
            return "text/html"

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Page(*a, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, line = ready(capsys, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
    assert code == 1 and "start it as app/server.py" in line
