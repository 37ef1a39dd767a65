"""setup.sh makes .venv once, and again after the checkout moved. A stub of uv notes what it is asked to do."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
set -eu
uv() {
    printf '%s\\n' "$*" >>"$CALLS"
    if [ "$1" = venv ]; then mkdir -p "$ROOT/.venv/bin"; ln -s "$REAL" "$ROOT/.venv/bin/python"; fi
}
. "$ROOT/setup.sh"
setup_python requirements.txt
"""


@pytest.fixture
def root(tmp_path):
    """A checkout with what setup.sh reads."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("setup.sh", "requirements.txt", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def set_up(root, python=sys.executable):
    """Return what uv was asked to do."""
    calls = root.parent / "calls"
    calls.write_text("")
    environment = {**os.environ, "ROOT": str(root), "CALLS": str(calls), "REAL": sys.executable, "PYTHON": str(python)}
    run = subprocess.run(["bash", "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return calls.read_text().splitlines()


def test_an_environment_is_made_once_and_updated_with_the_requirements(root):
    made, installed, itself = set_up(root)
    assert made.startswith("venv ") and "--require-hashes" in installed and itself.endswith(f"--editable {root}")
    assert set_up(root) == []
    (root / "requirements.txt").write_text("")
    assert [call.split()[0] for call in set_up(root)] == ["pip", "pip"]


def test_a_moved_checkout_gets_an_environment_of_its_own(root):
    set_up(root)
    moved = root.rename(root.with_name("another place"))
    assert set_up(moved)[0].startswith("venv ") and set_up(moved) == []


def test_a_copy_that_links_to_an_environment_leaves_it_as_it_is(root):
    set_up(root)
    copy = root.with_name("copy")
    copy.mkdir()
    for path in root.iterdir():
        (copy / path.name).symlink_to(path)
    assert set_up(copy) == []


def test_the_python_that_is_named_makes_the_environment(root):
    named = root.parent / "python of mine"
    named.symlink_to(sys.executable)
    assert f"--python {named} " in set_up(root, named)[0]
