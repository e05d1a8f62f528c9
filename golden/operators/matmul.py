"""The integer matrix product: naive loops are the specification, numpy is the reference."""

import numpy as np

from ..errors import BadInput

__all__ = ["check_operands", "matmul", "matmul_naive"]


def check_operands(activations: np.ndarray, weights: np.ndarray) -> None:
    """Raise `BadInput` unless A is int8 (M, K) and W is int8 (K, N), all of M, K, N >= 1."""
    for name, array in (("activations", activations), ("weights", weights)):
        if array.dtype != np.int8:
            raise BadInput(f"{name}: dtype: must be int8, got {array.dtype}")
        if array.ndim != 2 or 0 in array.shape:
            raise BadInput(f"{name}: shape: must be 2-D with no empty side, got {array.shape}")
    if activations.shape[1] != weights.shape[0]:
        raise BadInput(
            f"activations and weights: shape: K must agree, got {activations.shape} "
            f"and {weights.shape}"
        )


def matmul_naive(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """O[m][n] = sum over k of A[m][k] * W[k][n], one scalar at a time, modulo 2**32."""
    rows, depth = activations.shape
    columns = weights.shape[1]
    out = np.zeros((rows, columns), np.int32)
    for n in range(columns):
        for m in range(rows):
            total = sum(int(activations[m, k]) * int(weights[k, n]) for k in range(depth))
            out[m, n] = np.int64((total + 2**31) % 2**32 - 2**31)
    return out


def matmul(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Exact product, int32 (M, N).

    Uses float64 products of bounded slices, where every partial sum is an exact integer (each
    slice sums at most 2**15 products of 2**14), which is far faster than integer matmul.
    """
    check_operands(activations, weights)
    out = np.zeros((activations.shape[0], weights.shape[1]), np.int64)
    for start in range(0, weights.shape[0], 1 << 15):
        part = slice(start, start + (1 << 15))
        out += (activations[:, part].astype(np.float64) @ weights[part].astype(np.float64)).astype(
            np.int64
        )
    return out.astype(np.int32)
