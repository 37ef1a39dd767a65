"""faiss, with kernels for the processor it runs on; ask for it here: from pipeline.model.blas import faiss.

    python pipeline/model/blas.py    prints the kernels' name, for who else loads faiss's OpenBLAS (spark-submit.sh)

That OpenBLAS is 0.3.15. A processor that it does not know, such as Intel's Ice Lake for servers, it takes for one of
2004, and a search takes three times as long. What a processor can do its flags tell, however new it is.
"""

import os
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
KERNELS = {  # OpenBLAS's name of them: the flags that they need; the quickest first
    "SkylakeX": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "fma"},
    "Haswell": {"avx2", "fma"},
}


def kernels(cpuinfo: str) -> str | None:
    """Return the quickest kernels that this processor can run, as OPENBLAS_CORETYPE names them.

    cpuinfo: what Linux says of it. None where that names no flags, as on ARM: OpenBLAS is to find out itself.
    """
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    return next((name for name, needed in KERNELS.items() if needed <= known), None)


_chosen = kernels(CPUINFO.read_text(encoding="utf-8")) if CPUINFO.exists() else None
if __name__ == "__main__":
    print(_chosen or "")
else:
    if _chosen:
        os.environ.setdefault("OPENBLAS_CORETYPE", _chosen)
    import faiss  # noqa: F401, OpenBLAS asks once, when it is loaded
