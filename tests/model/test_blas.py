"""Which kernels faiss's OpenBLAS is told to use."""

import subprocess
import sys

import pytest

from pipeline.model import blas

ICE_LAKE = "flags\t\t: fpu fma avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni\n"
ZEN_2 = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu sse2 fma avx avx2\nbugs\t\t: avx512f\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (ICE_LAKE, "SkylakeX"),
        (ZEN_2, "Haswell"),
        ("flags\t\t: fpu sse2 ssse3 avx\n", None),
        ("Features\t: fp asimd evtstrm\n", None),  # ARM has other words
        ("", None),
    ],
)
def test_the_flags_tell_the_kernels(cpuinfo, expected):
    assert blas.kernels(cpuinfo) == expected


def architecture(environment):
    code = """
import threadpoolctl
from pipeline.model.blas import faiss
print(*[found["architecture"] for found in threadpoolctl.threadpool_info() if "faiss" in found["filepath"]
        and found["internal_api"] == "openblas"])
"""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_faiss_has_the_kernels_that_its_processor_can_run():
    chosen = subprocess.run([sys.executable, blas.__file__], capture_output=True, text=True, check=True).stdout.strip()
    if not chosen:
        pytest.skip("a processor whose flags say nothing")
    environment = {"PATH": "", "PYTHONPATH": str(blas.Path(blas.__file__).parents[2])}
    assert architecture(environment) == chosen
    # what the operator chose stays
    assert architecture({**environment, "OPENBLAS_CORETYPE": "Nehalem"}) == "Nehalem"
