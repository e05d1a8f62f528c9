"""Adaptive kernel fusion against dense, block-sparse and single kernels, cycle-exact.

Cycles run from empty rings to the last result.  *Best single* is the kernel with the least cycles
x bytes among those that hold the whole matrix.  *Auto* is what `matmul --kernel auto` takes, for
mixed masks with ``--objective product``; *gain* is the best single's cycles x bytes over auto's.
The default objective ranks cycles first, so its gain may fall below 1.  *Gain limit* is what no
format can pass (`flows.bench.akf_masks`, for other masks a byte for each non-zero), *gain with
formats* what the array's kernels would reach if each column of each tile had its own.

*Oracle* is the decoder cycles of the exactly quickest kernel of each block over those of what the
table alone chooses, blocks being those of the selector's own plan.  The compiler compares near
ties by exact cycles (`golden.planner.block_selector`), so its plans lie above that
(``oracle_share_own``, ``oracle_share_taken``); they sit below 1 where bytes were worth a few
cycles.  Energy, in the report alone, is the proxy of `golden.selector.table`.

Approximate mode and scales per part on real layers: `flows.bench.akf_real`.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flows.arrays import akf_config, kernels_config
from flows.bench import akf_real
from flows.bench.akf_masks import least_bytes, least_stored
from flows.bench.bars import Bar
from flows.bench.sparsity import SPARSITIES
from flows.compress.masks import MASKS, mask_of, patchwork
from flows.compress.prune import magnitude, wanda
from flows.engines import run_matmul, table_of
from flows.models.base import LayerData
from flows.models.calibration import MODELS, load_calibrated, short_name
from golden.cycles.count import count_cycles
from golden.errors import BadInput, CheckFailed
from golden.numerics.quantise import quantise_weights
from golden.planner.audit import decoder_cycles, oracle_cycles, table_choice_cycles
from golden.planner.compete import compile_product
from golden.planner.product import plan_matmul
from golden.program.plan import Plan
from golden.selector.table import EnergyWeights
from rtl_gen.config import Derived

__all__ = ["HEADER", "compare", "energy_proxy", "run"]

HEADER = (
    *("weights", "sparsity", "dense", "block", "best single", "auto", "speed-up"),
    *("gain", "oracle"),
)

Progress = Callable[[str, int, int], None]

_SIZE = 1024
_TOKENS = 64
_SEED = 31
_SINGLES = ("bitmap", "runlength", "block", "nm")
_PRUNED = ((0.3, "wanda"), (0.5, "wanda"), (0.7, "magnitude"), (0.9, "magnitude"))


def energy_proxy(plan: Plan, events: int) -> float:
    """Energy of a whole product, in INT8 multiply-accumulates; stored bytes are read per tile."""
    weights, shape = EnergyWeights(), plan.shape
    drained = sum(header.columns for stream in plan.streams for header in stream.headers)
    tiles = plan.m_tiles
    return (
        events * shape.lanes * weights.mac
        + tiles * plan.weight_bytes * weights.byte
        + tiles * drained * shape.lanes * weights.word
    )


@dataclass(frozen=True)
class _Figure:
    what: str
    sparsity: float
    zeros: float
    cycles_dense: int
    cycles_block: int | None
    best_single: str
    cycles_best_single: int
    bytes_best_single: int
    cycles: int
    bytes: int
    chosen: str
    speed_up: float
    gain: float
    gain_limit: float
    gain_with_formats: float
    oracle_share: float
    oracle_share_own: float
    oracle_share_taken: float
    energy_share: float
    source: str = "computed (cycle model)"


def compare(
    derived: Derived,
    what: str,
    sparsity: float,
    weights: np.ndarray,
    objective: str = "cycles",
    fewest: float = 0.0,
) -> dict[str, Any]:
    """Dense, single kernels and auto on one matrix, for 64 tokens.

    Args:
        derived: the configuration.
        what, sparsity: names of the figure.
        weights: int8 (K, N).
        objective: of auto.
        fewest: bytes that no format goes below, where more is known than the non-zeros.
    """
    shape = derived.shape
    activations = np.zeros((_TOKENS, len(weights)), np.int8)
    singles: dict[str, tuple[int, int]] = {}
    for name in _SINGLES:
        try:
            plan = plan_matmul(shape, activations, weights, name)
        except BadInput:
            continue
        singles[name] = count_cycles(plan).cycles, plan.weight_bytes
    dense = plan_matmul(shape, activations, weights, "dense", drop_weight_rows=False)
    dense_count = count_cycles(dense)
    best = min(singles, key=lambda name: singles[name][0] * singles[name][1])
    cycles, stored = singles[best]
    table = table_of(derived)
    compiled = compile_product(shape, activations, weights, lambda: table, objective=objective)
    count = count_cycles(compiled.plan)
    report = compiled.report()
    own = compiled.candidates[0].plan
    occupied = int(np.count_nonzero(weights))
    # Nothing takes fewer cycles than its events, nor fewer bytes than its values.
    tiles = compiled.plan.m_tiles
    least = occupied / shape.engines * tiles * max(fewest, occupied)
    price = cycles * shape.engines / (tiles * stored)
    sides = {shape.k_tile, max(1, len(weights) // 8)}
    formats = min(least_stored(shape, weights, rows, price) for rows in sides)
    oracle = oracle_cycles(own)
    return asdict(
        _Figure(
            what=what,
            sparsity=sparsity,
            zeros=float(np.mean(weights == 0)),
            cycles_dense=dense_count.cycles,
            cycles_block=singles.get("block", (None, None))[0],
            best_single=best,
            cycles_best_single=cycles,
            bytes_best_single=stored,
            cycles=count.cycles,
            bytes=compiled.plan.weight_bytes,
            chosen=report["chosen"],
            speed_up=dense_count.cycles / count.cycles,
            gain=cycles * stored / (count.cycles * compiled.plan.weight_bytes),
            gain_limit=cycles * stored / least,
            gain_with_formats=cycles * stored * shape.engines / (tiles * formats),
            oracle_share=oracle / table_choice_cycles(table, own),
            oracle_share_own=oracle / decoder_cycles(own),
            oracle_share_taken=report["decoder_cycles_oracle"] / report["decoder_cycles"],
            energy_share=energy_proxy(compiled.plan, count.events)
            / energy_proxy(dense, dense_count.events),
        )
    )


def _layers(data: dict[str, LayerData]) -> dict[str, LayerData]:
    """The first and the widest layer."""
    first = next(iter(data))
    widest = max(data, key=lambda name: data[name].weight.shape[1])
    return {name: data[name] for name in dict.fromkeys((first, widest))}


def _confirm(progress: Progress) -> int:
    """Run a small mixed product on the RTL; its cycles and product must be the models'."""
    derived = kernels_config()
    rng = np.random.default_rng(_SEED)
    values = rng.integers(-128, 128, (64, 64))
    weights = np.where(mask_of("mixed", 64, 0.7, rng), values, 0).astype(np.int8)
    activations = rng.integers(-128, 128, (8, 64)).astype(np.int8)
    runs = [
        run_matmul(derived, activations, weights, engine, objective="product", progress=progress)
        for engine in ("golden", "cycle", "rtl")
    ]
    golden, cycle, rtl = runs
    if rtl.cycles != cycle.cycles or not np.array_equal(rtl.output, golden.output):
        raise CheckFailed(
            f"bench akf: RTL must equal the models, {rtl.cycles} != {cycle.cycles} cycles"
        )
    return int(rtl.cycles or 0)


def _mean(figures: Sequence[dict[str, Any]], field: str) -> float:
    return float(np.mean([figure[field] for figure in figures]))


def run(
    progress: Progress,
    size: int = _SIZE,
    engines: int = 64,
    sparsities: Sequence[float] = SPARSITIES,
    models: Sequence[str] = MODELS,
) -> dict:
    """Synthetic masks, real layers, approximate mode, scales per part, and one run on the RTL.

    Args:
        progress: called with (what, done, total).
        size: rows and columns of the synthetic matrices, a multiple of 64.
        engines: P.
        sparsities: of the masks.
        models: names of the registry.
    """
    derived = akf_config(engines)
    rng = np.random.default_rng(_SEED)
    synthetic: list[dict[str, Any]] = []
    values = rng.integers(1, 128, (size, size)) * rng.choice((-1, 1), (size, size))
    for kind in MASKS:
        for sparsity in sparsities:
            progress("masks", len(synthetic), len(MASKS) * len(sparsities))
            if kind == "mixed":
                mask, fewest = np.zeros((size, size), bool), 0.0
                for rows, columns, structure, patch in patchwork(size, sparsity, rng):
                    mask[rows, columns] = patch
                    fewest += least_bytes(structure, patch)
            else:
                mask, fewest = mask_of(kind, size, sparsity, rng), 0.0
            weights = np.where(mask, values, 0).astype(np.int8)
            objective = "product" if kind == "mixed" else "cycles"
            synthetic.append(compare(derived, kind, sparsity, weights, objective, fewest))
    real: list[dict[str, Any]] = []
    for model in models:
        data = _layers(load_calibrated(model, progress, [2]))
        for number, (name, layer) in enumerate(data.items()):
            what = f"{short_name(model)} {'.'.join(name.split('.')[-2:])}"
            progress(f"layers of {short_name(model)}", number, len(data))
            for pruned, how in _PRUNED:
                keep = (
                    wanda(layer.weight, layer.activations, pruned)
                    if how == "wanda"
                    else magnitude(layer.weight, pruned)
                )
                weights, _ = quantise_weights(np.where(keep, layer.weight, 0))
                label = what if how == "wanda" else f"{what} (performance only)"
                real.append(compare(derived, label, pruned, weights))
    near, scales = akf_real.measure(derived, models, progress)
    cycles = _confirm(progress)
    mixed = [figure for figure in synthetic if figure["what"] == "mixed"]
    everything = synthetic + real
    bars = [
        Bar("mean speed-up over dense, synthetic masks, exact", _mean(synthetic, "speed_up"), 6.6),
        Bar("cycles x bytes against the best single kernel, mixed", _mean(mixed, "gain"), 1.25),
        Bar("share of the per-block oracle, mean", _mean(everything, "oracle_share"), 0.98),
        Bar("energy proxy against dense, mean", _mean(everything, "energy_share"), 0.5, True),
    ]
    if models:
        bars += akf_real.bars(near, scales)
    note = (
        f"mixed masks: gain {_mean(mixed, 'gain'):.3f}, with these formats no more than "
        f"{_mean(mixed, 'gain_with_formats'):.3f}, with any format and no idle cycle no more than "
        f"{_mean(mixed, 'gain_limit'):.3f}"
    )
    if models:
        note += f"; {akf_real.note(near)}"
    return {
        "title": f"{size} x {size} and real layers, M = {_TOKENS}, P = {engines}, V = 16 (cycle "
        f"model, exact; a small run on the RTL: {cycles} cycles, the same); {note}",
        "header": HEADER,
        "rows": [_row(figure) for figure in everything],
        "more": akf_real.tables(near, scales),
        "note": note,
        "seed": _SEED,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "figures": everything,
        "approximate": near,
        "scales_per_part": scales,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    block = figure["cycles_block"]
    return (
        figure["what"],
        f"{figure['sparsity']:.0%}",
        f"{figure['cycles_dense']:,}",
        "-" if block is None else f"{block:,}",
        f"{figure['best_single']} {figure['cycles_best_single']:,}",
        f"{figure['cycles']:,}",
        f"{figure['speed_up']:.2f}",
        f"{figure['gain']:.3f}",
        f"{figure['oracle_share']:.1%}",
    )
