"""The bundled sample is what its script makes of the bundled real data."""

import importlib.util

from tests.conftest import ROOT


def test_the_committed_sample_is_reproduced(tmp_path):
    spec = importlib.util.spec_from_file_location("make_sample", ROOT / "data" / "make_sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(target=tmp_path)
    for name in ("ratings.csv", "movies.csv", "links.csv", "README.txt"):
        assert (tmp_path / name).read_bytes() == (ROOT / "data" / "sample" / name).read_bytes()
    users = {line.split(b",")[0] for line in (tmp_path / "ratings.csv").read_bytes().splitlines()[1:]}
    assert (len(users), len((tmp_path / "movies.csv").read_text().splitlines()) - 1) == (40, 60)
