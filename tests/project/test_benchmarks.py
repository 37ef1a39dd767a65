"""The benchmarks run, on so little that their figures say nothing; tests/project/test_docs.py compares none of them."""

import subprocess

import pytest

from tests.conftest import of_the_copy, submit

LITTLE = {
    "neighbours": ["--movies", "3000", "--rounds", "1"],
    "neighbours_part": ["--movies", "3000", "--queries", "1000", "--rounds", "1", "--spectral"],
    "warm_start": ["--last", "3"],
}


def test_looking_up_is_timed(checkout):
    command = [".venv/bin/python", "benchmarks/lookup.py", "--sizes", "400x10", "--requests", "5"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=of_the_copy(checkout))
    assert done.returncode == 0, done.stderr
    assert "| 400 x 10 | Parquet |" in (checkout / "benchmarks" / "results" / "lookup.md").read_text()


@pytest.mark.exhaustive
@pytest.mark.parametrize("result", LITTLE)
def test_a_job_writes_its_table(checkout, result):
    script = f"benchmarks/{result.removesuffix('_part')}.py"
    done = submit(script, *LITTLE[result], root=checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / "benchmarks" / "results" / f"{result}.md").read_text() in done.stdout
