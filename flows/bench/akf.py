"""Adaptive kernel fusion against dense, block-sparse and single kernels, cycle-exact.

Cycles run from empty rings to the last result.  *Best single* is the kernel with the least cycles
x bytes among those that hold the whole matrix.  *Auto* is what `matmul --kernel auto` takes, for
mixed masks with ``--objective product``; *gain* is the best single's cycles x bytes over auto's.
The default objective ranks cycles first, so its gain may fall below 1.  *Oracle* is the decoder
cycles of the exactly quickest kernel of each block over those of the selector's own plan, whether
or not that plan was taken in the end; both see the same columns on each engine.  Energy is the
proxy of `golden.fuse.table`.

Mixed scales are compared with one scale at no more bytes, and for scale at 1 % and 5 % more, on
the first columns of a layer and on the activations that the split was searched with.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.bench.kernels import kernels_config
from flows.bench.sparsity import SPARSITIES, sparse_config
from flows.bench.tensors import MODELS, load_calibrated, short_name
from flows.engines import run_matmul, table_of
from flows.models.base import LayerData
from flows.prune import clustered_mask, magnitude, random_mask, wanda
from golden.cycles import count_cycles
from golden.errors import BadInput, CheckFailed
from golden.fuse.approximate import approximate
from golden.fuse.compiled import compile_matmul, decoder_cycles, oracle_cycles
from golden.fuse.scales import mixed_scale, quantise_parts
from golden.fuse.table import EnergyWeights
from golden.plan import Plan, plan_matmul
from golden.quantise import quantise_activations, quantise_weights
from rtl_gen.config import Derived, derive, parse

__all__ = ["MASKS", "akf_config", "compare", "energy_proxy", "mask_of", "run"]

Progress = Callable[[str, int, int], None]

MASKS = ("random", "clustered", "block 8x8", "2:4", "banded", "mixed")
_SIZE = 1024
_TOKENS = 64
_SEED = 31
_PATCHES = 8  # patches along each side of a mixed mask
_BUDGET = 0.018
_SCALE_COLUMNS = 64  # of a real layer, for mixed scales
_BYTE_LIMITS = (1.0, 1.01, 1.05)
_SINGLES = ("bitmap", "runlength", "block", "nm")
_PRUNED = ((0.3, "wanda"), (0.5, "wanda"), (0.7, "magnitude"), (0.9, "magnitude"))


def akf_config(engines: int = 64) -> Derived:
    """The array of `bench sparsity` with every kernel, and gaps of six bits."""
    document = sparse_config(
        engines, kernels=("dense", "bitmap", "runlength", "nm", "block")
    ).config.model_dump(mode="json")
    document["schedule"]["formats"]["gap_bits"] = 6
    return derive(parse({**document, "name": f"akf_{engines}"}, "bench akf"))


def mask_of(kind: str, size: int, sparsity: float, rng: np.random.Generator) -> np.ndarray:
    """Keep mask (size, size) of one structure; its density is that asked for, on average."""
    density = 1 - sparsity
    seed = int(rng.integers(1 << 31))
    if kind == "random":
        return random_mask((size, size), sparsity, seed)
    if kind == "clustered":
        return clustered_mask((size, size), sparsity, seed)
    if kind == "block 8x8":
        tiles = random_mask((size // 8, size // 8), sparsity, seed)
        return tiles.repeat(8, axis=0).repeat(8, axis=1)
    if kind == "2:4":
        order = rng.random((size // 4, 4, size)).argsort(axis=1).argsort(axis=1)
        # Two of four places, thinned out where fewer are wanted.
        return (order < 2).reshape(size, size) & (rng.random((size, size)) < 2 * density)
    if kind == "banded":
        row, column = np.indices((size, size))
        return (row - column) % size < round(density * size)
    if kind == "mixed":
        side = size // _PATCHES
        mask = np.zeros((size, size), bool)
        structures = [name for name in MASKS if name != "mixed"]
        for row in range(_PATCHES):
            for column in range(_PATCHES):
                patch = mask_of(structures[rng.integers(5)], side, sparsity, rng)
                mask[row * side : (row + 1) * side, column * side : (column + 1) * side] = patch
        return mask
    raise BadInput(f"mask: must be one of {', '.join(MASKS)}, got {kind!r}")


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
    oracle_share: float
    oracle_share_taken: float
    energy_share: float
    source: str = "computed (cycle model)"


def compare(
    derived: Derived, what: str, sparsity: float, weights: np.ndarray, objective: str = "cycles"
) -> dict[str, Any]:
    """Dense, single kernels and auto on one matrix, for 64 tokens."""
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
    compiled = compile_matmul(shape, activations, weights, table_of(derived), objective=objective)
    count = count_cycles(compiled.plan)
    report = compiled.report()
    own = compiled.candidates[0].plan
    occupied = int(np.count_nonzero(weights))
    # Nothing takes fewer cycles than its events, nor fewer bytes than its values.
    least = occupied / shape.engines * compiled.plan.m_tiles * occupied
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
            oracle_share=oracle_cycles(own) / decoder_cycles(own),
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


def _approximate(derived: Derived, what: str, layer: LayerData, sparsity: float) -> dict[str, Any]:
    """Cycles within the error budget against exact ones, on real activations."""
    keep = wanda(layer.weight, layer.activations, sparsity)
    weights, _ = quantise_weights(np.where(keep, layer.weight, 0))
    activations, _ = quantise_activations(layer.activations[:_TOKENS], per="token")
    near = approximate(weights, activations, _BUDGET, derived.shape, table_of(derived))
    cycles = [
        count_cycles(plan_matmul(derived.shape, activations, w, "bitmap")).cycles
        for w in (weights, near.weights)
    ]
    kept = np.count_nonzero(near.weights)
    return {
        "what": what,
        "sparsity": sparsity,
        "cycles_exact": cycles[0],
        "cycles": cycles[1],
        "gain": cycles[0] / cycles[1],
        "gain_limit": np.count_nonzero(weights) / kept,
        "error": near.error,
    }


def _scales(what: str, layer: LayerData) -> dict[str, Any]:
    """Output error of mixed scales against one scale, by limit of bytes relative to one scale."""
    weights = layer.weight[:, :_SCALE_COLUMNS]
    activations = layer.activations[:_TOKENS]
    found: dict[str, Any] = {"what": what}
    for per in ("part", "column"):
        one = quantise_parts(weights, (np.ones(weights.shape, bool),), per=per)
        before = float(np.linalg.norm(activations @ (weights - one.real)))
        for limit in _BYTE_LIMITS:
            mixed = mixed_scale(weights, activations=activations, per=per, byte_limit=limit)
            after = float(np.linalg.norm(activations @ (weights - mixed.real)))
            found[f"{per} {limit:g}"] = after / before
    return found


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
    """Synthetic masks, real layers, approximate mode, mixed scales, and one run on the RTL.

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
            weights = np.where(mask_of(kind, size, sparsity, rng), values, 0).astype(np.int8)
            objective = "product" if kind == "mixed" else "cycles"
            synthetic.append(compare(derived, kind, sparsity, weights, objective))
    real: list[dict[str, Any]] = []
    near: list[dict[str, Any]] = []
    scales: list[dict[str, Any]] = []
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
            if number == 0:
                near += [_approximate(derived, what, layer, s) for s in (0.0, 0.5)]
                scales.append(_scales(what, layer))
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
        bars += [
            Bar("approximate at 1.8 % output error over exact, mean", _mean(near, "gain"), 1.3),
            Bar("mixed-scale error, same bytes, per part", _mean(scales, "part 1"), 0.8, True),
            Bar("mixed-scale error, same bytes, per column", _mean(scales, "column 1"), 0.8, True),
        ]
    # The first bound is loose: no format stores scattered non-zeros without any index.
    note = (
        f"mixed masks: gain {_mean(mixed, 'gain'):.3f}, no more than "
        f"{_mean(mixed, 'gain_limit'):.2f} without any index byte or idle cycle"
    )
    for sparsity in sorted({figure["sparsity"] for figure in near}):
        mine = [figure for figure in near if figure["sparsity"] == sparsity]
        note += (
            f"; approximate at {sparsity:.0%} pruned {_mean(mine, 'gain'):.3f}, thresholds alone "
            f"leave no more than {_mean(mine, 'gain_limit'):.3f}"
        )
    return {
        "title": f"{size} x {size} and real layers, M = {_TOKENS}, P = {engines}, V = 16 (cycle "
        f"model, exact; a small run on the RTL: {cycles} cycles, the same); {note}",
        "header": (
            *("weights", "sparsity", "dense", "block", "best single", "auto", "speed-up"),
            *("gain", "oracle", "energy"),
        ),
        "rows": [_row(figure) for figure in everything]
        + [
            (
                f"{f['what']}, approximate, error {f['error']:.2%}",
                f"{f['sparsity']:.0%}",
                *("", "", f"exact {f['cycles_exact']:,}"),
                f"{f['cycles']:,}",
                *("", f"{f['gain']:.3f}", "", ""),
            )
            for f in near
        ]
        + [
            (
                f"{f['what']}, mixed-scale error ratio",
                *("", "", "", f"{per}, bytes x {limit:g}", f"{f[f'{per} {limit:g}']:.3f}"),
                *("", "", "", ""),
            )
            for f in scales
            for per in ("part", "column")
            for limit in _BYTE_LIMITS
        ],
        "note": note,
        "seed": _SEED,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "figures": everything,
        "approximate": near,
        "mixed_scale": scales,
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
        f"{figure['energy_share']:.2f}",
    )
