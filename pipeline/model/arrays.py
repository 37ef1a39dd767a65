"""Arrays of vectors, and Arrow's columns of lists."""

import numpy as np
import pyarrow as pa


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return the rows [n, rank] at length 1; rows of zeros stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def as_matrix(lists: pa.ListArray) -> np.ndarray:
    """Return an Arrow column of equally long lists as an array [rows, length], without a copy."""
    return lists.flatten().to_numpy(zero_copy_only=True).reshape(len(lists), -1)


def as_lists(matrix: np.ndarray, kind: pa.DataType = pa.float32()) -> pa.ListArray:  # noqa: B008 (a type, not a call)
    """Return the rows of an array [rows, length] as an Arrow list column."""
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel(), kind))
