"""The layers of the matrix product agree, at the extremes as well."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.operators.matmul import matmul, matmul_naive


def random_operands(rng: np.random.Generator, rows: int, depth: int, columns: int):
    a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, columns)).astype(np.int8)
    w[rng.random(w.shape) < rng.choice([0.0, 0.5, 0.95, 1.0])] = 0
    return a, w


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (2, 3, 5), (7, 11, 13), (1, 64, 3), (5, 1, 5), (17, 65, 2)]
)
def test_the_layers_agree(size: tuple[int, int, int], rng: np.random.Generator):
    for _ in range(5):
        a, w = random_operands(rng, *size)
        naive = matmul_naive(a, w)
        assert naive.dtype == np.int32
        product = matmul(a, w)
        assert product.dtype == np.int32
        np.testing.assert_array_equal(product, naive)
        np.testing.assert_array_equal(naive, a.astype(np.int64) @ w.astype(np.int64))


@pytest.mark.parametrize("a_value", [-128, -127, 127])
@pytest.mark.parametrize("w_value", [-128, -127, 127])
def test_extremes(a_value: int, w_value: int):
    a = np.full((3, 100), a_value, np.int8)
    w = np.full((100, 2), w_value, np.int8)
    for product in (matmul_naive(a, w), matmul(a, w)):
        np.testing.assert_array_equal(product, np.full((3, 2), 100 * a_value * w_value))


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        ((1 << 17) - 1, 2**31 - 2**14),  # the deepest sum of largest products that fits
        (1 << 17, -(2**31)),
        (3 << 17, -(2**31)),
        (1 << 18, 0),
    ],
)
def test_sums_wrap_modulo_two_to_the_32(depth: int, expected: int):
    a = np.full((1, depth), -128, np.int8)
    w = np.full((depth, 1), -128, np.int8)
    for product in (matmul_naive(a, w), matmul(a, w)):
        assert product.tolist() == [[expected]]


def test_slices_of_the_float_product_join_exactly(rng: np.random.Generator):
    # Deeper than one slice, with sums whose low bits a rounding error would change.
    depth = (1 << 16) + 3
    a, w = (rng.integers(-128, 128, size).astype(np.int8) for size in ((2, depth), (depth, 3)))
    np.testing.assert_array_equal(matmul(a, w), a.astype(np.int64) @ w.astype(np.int64))


@pytest.mark.parametrize(
    ("a", "w", "message"),
    [
        (np.zeros((1, 2), np.int16), np.zeros((2, 1), np.int8), "activations: dtype: .* int16"),
        (np.zeros((1, 2), np.int8), np.zeros((2, 1), np.float32), "weights: dtype: .* float32"),
        (np.zeros(2, np.int8), np.zeros((2, 1), np.int8), r"activations: shape: .* \(2,\)"),
        (np.zeros((0, 2), np.int8), np.zeros((2, 1), np.int8), r"activations: shape: .* \(0, 2\)"),
        (np.zeros((1, 2), np.int8), np.zeros((2, 0), np.int8), r"weights: shape: .* \(2, 0\)"),
        (np.zeros((1, 2), np.int8), np.zeros((3, 1), np.int8), "K must agree"),
    ],
)
def test_wrong_operands_are_refused(a: np.ndarray, w: np.ndarray, message: str):
    with pytest.raises(BadInput, match=message):
        matmul(a, w)
