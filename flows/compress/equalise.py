"""Divisors of a float layer's channels, so that INT8 rounding costs its output as little as can be.

``A W = (A diag(1/s)) (diag(s) W)``: a loud input channel coarsens the scale of its whole token; a
large divisor quiets it, and its weights grow instead.  Weights are static and the divisors known
beforehand, so whatever precedes the layer (a norm's gain, the host's rounding) applies 1/s for
nothing; the array multiplies plain symmetric INT8 as ever.  A power of two would be no cheaper
there and would miss the best divisor by up to 41 %, so divisors are any float32.

Rounding errors are taken as independent and uniform within a step.  With ``d = s^2`` the expected
squared error of the output is then, up to ``1 / (12 * 127^2)``,

    activations:  sum_m max_k (A[m, k]^2 / d[k]) * sum_kn d[k] W[k, n]^2
    weights:      sum_n max_k (d[k] W[k, n]^2)   * sum_mk A[m, k]^2 / d[k]

The first is what is left after compensation (`flows.compress.compensate`), which makes up for much
of the second: that one counts `WEIGHT_SHARE`.  Both are generalised posynomials of d, so their sum
is convex in log d and its logarithm too: a geometric program.  The maxima are smoothed to norms
of power ``_POWER`` and the program is solved by Adam from the divisors of SmoothQuant, exponent
1/2, on at most `MOST_TOKENS` evenly spread tokens.

SmoothQuant's ``max|A_k|^a / max|W_k|^(1-a)`` looks at each channel's peaks alone and not at which
tokens peak together; its best exponent differs between layers from 0.5 to 0.7 or more.

Sources: Xiao et al., "SmoothQuant", ICML 2023, equation 4; Boyd, Kim, Vandenberghe and Hassibi, "A
tutorial on geometric programming", 2007 (generalised posynomials); Kingma and Ba, "Adam", ICLR
2015, algorithm 1.

Shapes: A (M, K), W (K, N), divisors (K,) with geometric mean 1.
"""

import numpy as np
from numpy.typing import NDArray

from golden.errors import BadInput
from golden.numerics.quantise import finite_matrix

from .layer import Layer, layer_of, sample_of

__all__ = [
    "MOST_TOKENS",
    "WEIGHT_SHARE",
    "channel_divisors",
    "equalised_layer",
    "log_energy",
    "rounding_energy",
    "rounding_energy_naive",
]

WEIGHT_SHARE = 0.5
"""What rounding of weights counts beside that of activations; compensation lowers it."""

MOST_TOKENS = 1024
"""Tokens that the divisors are chosen on; more are thinned out evenly."""

_POWER = 24.0  # of the smooth maximum: at most K^(1/24) above the true one
_STEPS = 200
_RATE = 0.15  # first step in log d; falls linearly to 0
_FADE = (0.9, 0.98)  # of the means of gradient and square
_FLOOR = 1e-4  # least peak beside the typical channel's, least magnitude beside its channel's peak
_QMAX = 127

F64 = NDArray[np.float64]


def rounding_energy(activations: F64, weights: F64, divisors: F64) -> tuple[float, float]:
    """Expected squared output error of rounding activations and weights, see the module."""
    inputs, real = np.square(activations / divisors), np.square(weights * divisors[:, None])
    unit = 12 * _QMAX**2
    by_inputs = inputs.max(axis=1).sum() * real.sum() / unit
    by_weights = real.max(axis=0).sum() * inputs.sum() / unit
    return float(by_inputs), float(by_weights)


def rounding_energy_naive(activations: F64, weights: F64, divisors: F64) -> tuple[float, float]:
    """The specification of `rounding_energy`: a step for each token and column, errors summed."""
    tokens, depth, outputs = len(activations), len(weights), weights.shape[1]
    by_inputs = by_weights = 0.0
    for m in range(tokens):
        step = max(abs(activations[m, k]) / divisors[k] for k in range(depth)) / _QMAX
        for n in range(outputs):
            by_inputs += sum(
                step**2 / 12 * (divisors[k] * weights[k, n]) ** 2 for k in range(depth)
            )
    for n in range(outputs):
        step = max(abs(weights[k, n]) * divisors[k] for k in range(depth)) / _QMAX
        for m in range(tokens):
            by_weights += sum(
                step**2 / 12 * (activations[m, k] / divisors[k]) ** 2 for k in range(depth)
            )
    return by_inputs, by_weights


def _peaks(logs: F64) -> tuple[F64, F64]:
    """Smooth maximum of each row's exponentials, and its gradient by the logarithms."""
    most = logs.max(axis=1, keepdims=True)
    powers = np.exp(_POWER * (logs - most))
    total = powers.sum(axis=1, keepdims=True)
    peak = np.exp(most + np.log(total) / _POWER)
    return peak[:, 0], powers * (peak / total)


def log_energy(
    log_inputs: F64, log_weights: F64, place: F64, share: float = WEIGHT_SHARE
) -> tuple[float, F64]:
    """Logarithm of the smoothed energy, up to a constant, and its gradient.

    Args:
        log_inputs: log A^2, (M, K).
        log_weights: log W^2 transposed, (N, K).
        place: log d, (K,).
        share: weight of the rounding of weights.
    """
    inputs, real = log_inputs - place, log_weights + place
    loudest, louder = _peaks(inputs)
    largest, larger = _peaks(real)
    heard, held = np.exp(inputs).sum(axis=0), np.exp(real).sum(axis=0)
    first, second = loudest.sum() * held.sum(), share * largest.sum() * heard.sum()
    slope = loudest.sum() * held - louder.sum(axis=0) * held.sum()
    slope += share * (larger.sum(axis=0) * heard.sum() - largest.sum() * heard)
    return float(np.log(first + second)), slope / (first + second)


def _logs(values: F64) -> F64:
    """Logarithm of the squares, in units of the typical channel (a column), zeros at the floor."""
    peaks = np.abs(values).max(axis=0)
    # The geometric mean: one channel far above all others must not make these silent.
    typical = np.exp(np.log(peaks[peaks > 0]).mean())
    least = _FLOOR * np.maximum(peaks / typical, _FLOOR)
    return 2 * np.log(np.maximum(np.abs(values) / typical, least))


def channel_divisors(activations: F64, weights: F64) -> NDArray[np.float32]:
    """Divisors of the input channels that minimise the expected rounding error.

    Args:
        activations: (M, K), what the divisors are chosen on.
        weights: (K, N).

    Returns:
        float32 (K,), greater than 0; ones where either operand is zero altogether.
    """
    if activations.shape[1] != len(weights):
        raise BadInput(
            f"activations and weights: shape: K must agree, got {activations.shape} "
            f"and {weights.shape}"
        )
    some = activations[:: max(1, -(-len(activations) // MOST_TOKENS))]
    if not some.any() or not weights.any():
        return np.ones(len(weights), np.float32)
    log_inputs, log_weights = _logs(some), _logs(np.ascontiguousarray(weights.T))
    place = (log_inputs.max(axis=0) - log_weights.max(axis=0)) / 2
    least, best = np.inf, place
    mean, square = np.zeros_like(place), np.zeros_like(place)
    for step in range(1, _STEPS + 1):
        energy, slope = log_energy(log_inputs, log_weights, place)
        if energy < least:
            least, best = energy, place
        mean = _FADE[0] * mean + (1 - _FADE[0]) * slope
        square = _FADE[1] * square + (1 - _FADE[1]) * np.square(slope)
        size = np.sqrt(square / (1 - _FADE[1] ** step)) + 1e-12
        rate = _RATE * (1 - step / _STEPS)
        place = place - rate * mean / (1 - _FADE[0] ** step) / size
    return np.exp((best - best.mean()) / 2).astype(np.float32)


def equalised_layer(
    weights: np.ndarray, activations: np.ndarray, *, held_out: float = 0.0
) -> Layer:
    """The layer with the divisors that suit the activations, or plain where these are no better.

    Of int8 operands neither can be divided; the layer then is plain.

    Args:
        weights: (K, N), int8 or float.
        activations: (M, K), int8 or float.
        held_out: share of the tokens, the last ones, that the divisors are not chosen on; the
            measured rounding error, on all tokens, decides whether they are taken.
    """
    plain = layer_of(weights)
    if np.int8 in (weights.dtype, activations.dtype):
        return plain
    given = finite_matrix("activations", activations)
    seen = given[: max(1, len(given) - int(np.ceil(held_out * len(given))))]
    layer = layer_of(weights, channel_divisors(seen, plain.real))
    errors = [sample_of(given, each).error(each, each.weights) for each in (plain, layer)]
    return layer if errors[1] < errors[0] else plain
