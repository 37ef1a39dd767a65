"""The zip of the code for Spark's workers."""

import os
import time
import zipfile

import pytest

from pipeline.batch.workers_zip import KEPT, write_zip


@pytest.fixture
def root(tmp_path):
    """A checkout with a little of each kind of file."""
    for name in (
        "pipeline/a.py",
        "pipeline/sql/b.sql",
        "pipeline/evaluation/c.md",
        "jobs/d.py",
        "conf/e.yaml",
        "app/f.py",
    ):
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "zips").mkdir()
    return tmp_path / "checkout"


def test_the_code_of_library_jobs_and_configuration_is_in_it(root):
    written = write_zip(root, root.parent / "zips")
    with zipfile.ZipFile(written) as archive:
        assert sorted(archive.namelist()) == [
            "conf/e.yaml", "jobs/d.py", "pipeline/a.py", "pipeline/evaluation/c.md", "pipeline/sql/b.sql",
        ]  # fmt: skip


def test_the_same_code_has_one_zip_and_other_code_another(root):
    folder = root.parent / "zips"
    first = write_zip(root, folder)
    assert write_zip(root, folder) == first and [*folder.iterdir()] == [first]
    (root / "jobs" / "d.py").write_text("changed")
    second = write_zip(root, folder)
    assert second != first and {*folder.iterdir()} == {first, second}


def test_old_zips_go_and_a_folder_that_cannot_be_written_is_left_as_it_was(root):
    folder = root.parent / "zips"
    old = folder / "pipeline-000000000000.zip"
    old.write_text("")
    os.utime(old, (time.time() - KEPT - 60,) * 2)
    write_zip(root, folder)
    assert not old.exists()
    with pytest.raises(OSError):
        write_zip(root, root.parent / "nowhere")
