"""Event detection: events per cycle of a unit, its area, and the scaling to 65,536 units."""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.sim import Simulator

from flows import yosys
from flows.bench.bars import Bar
from flows.synth_targets import TARGETS, totals
from golden.errors import CheckFailed
from golden.operators.detection import WIDTHS, DetectionCount, array_cycles, detect_naive, raw_words
from rtl_gen.detect import DetectorUnit
from rtl_gen.emit import verilog

__all__ = ["HEADER", "attention", "relu", "run", "uniform"]

HEADER = (
    *("operand", "non-zero", "units", "W", "cycles"),
    *("events/cycle", "% of limit", "limited by"),
)

_SEED = 31
_DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_DEPTH = 512
_VECTORS = 64
_UNITS = (64, 256, 1024, 4096, 16384, 65536)
_ROWS, _KEYS, _HEAD_ROWS = 131_072, 256, 4096
_SCALE_WIDTH = 8
_QUEUE = 8
_K_BITS = 9
_LATENCY = 3
_TARGET = "xcup"


def uniform(rng: np.random.Generator, vectors: int, depth: int, density: float) -> np.ndarray:
    """Int8 (vectors, depth), each element non-zero with probability ``density``."""
    values = rng.integers(1, 128, (vectors, depth)) * rng.choice((-1, 1), (vectors, depth))
    return np.where(rng.random((vectors, depth)) < density, values, 0).astype(np.int8)


def relu(rng: np.random.Generator, vectors: int, depth: int) -> np.ndarray:
    """What a ReLU leaves of normal numbers, 3 sigma at 127."""
    values = np.maximum(rng.normal(0, 1, (vectors, depth)), 0)
    return np.minimum(np.round(values * (127 / 3)), 127).astype(np.int8)


def attention(rng: np.random.Generator, rows: int, keys: int) -> np.ndarray:
    """Softmax of normal scores, 1.0 at 127; rows differ in sharpness, sigma 1 to 5."""
    sigma = rng.uniform(1, 5, (rows, 1)).astype(np.float32)
    scores = np.exp(sigma * rng.standard_normal((rows, keys), np.float32))
    return np.round(127 * scores / scores.sum(axis=1, keepdims=True)).astype(np.int8)


def _figure(operand: str, data: np.ndarray, width: int) -> dict:
    """Cycles of ``data``, int8 (units, vectors, K), and what binds them.

    A unit is bound by the port that it keeps busier: one word in, one event out per cycle. It
    loses to *bursts* where runs of full and of empty words are longer than its one word of
    lookahead evens out, and an array to its *slowest* unit.
    """
    started = time.perf_counter()
    count = array_cycles(data, 0, width=width, queue=_QUEUE)
    seconds = time.perf_counter() - started
    units = data.shape[0]
    words = float(count.words.mean())
    slots = float((count.events + count.tokens).mean())
    # No unit can do better than a word and an event slot per cycle, behind its latency.
    least = np.maximum(count.words, count.events + count.tokens) + _LATENCY
    slowest = int(np.argmax(count.unit_cycles))
    balanced = max(words, slots) + _LATENCY
    losses = {
        "slowest": float(least[slowest]) / balanced,
        "bursts": count.cycles / float(least[slowest]),
        "latency": balanced / (balanced - _LATENCY),
    }
    worst = max(losses, key=lambda name: losses[name])
    port = "words" if words > slots else "events"
    return {
        "operand": operand,
        "non_zero": float(np.count_nonzero(data) / data.size),
        "units": units,
        "width": width,
        "cycles": count.cycles,
        "events": int(count.events.sum()),
        "events_per_cycle": float(count.events.sum() / count.cycles),
        "bytes_per_cycle": data.size / count.cycles,
        "share_of_limit": balanced / count.cycles,
        "mean_cluster_cycles": float(count.cluster_cycles.mean()),
        "losses": losses,
        "limited_by": port if losses[worst] < 1.1 else f"{port}, {worst}",
        "seconds": seconds,
        "source": "computed (cycle model)",
    }


def _confirm(vectors: np.ndarray, width: int) -> int:
    """Run a unit's RTL on ``vectors``; return its cycles, events being as they should."""
    dut = DetectorUnit(width=width, k_bits=_K_BITS, queue=_QUEUE)
    words = raw_words(vectors, width)
    expected = detect_naive(vectors, 0, width)
    seen: list[tuple] = []
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        index = 0
        ctx.set(dut.events.ready, 1)
        while len(seen) < len(expected) and cycles < 2 * vectors.size + 16:
            ctx.set(dut.words.valid, index < len(words.last))
            if index < len(words.last):
                bits = int.from_bytes(words.data[index].tobytes(), "little")
                keep = sum(int(bit) << i for i, bit in enumerate(words.keep[index]))
                last = int(words.last[index])
                ctx.set(dut.words.payload, {"data": bits, "keep": keep, "last": last})
            *_, ready, valid, event = await ctx.tick().sample(
                dut.words.ready, dut.events.valid, dut.events.payload
            )
            index += ready
            cycles += 1
            if valid:
                value = event.value - 256 * (event.value >> 7)
                seen.append((event.k, value, bool(event.valued), bool(event.last)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    if seen != expected:
        raise CheckFailed("bench detect: the RTL's events must equal the golden model's")
    return cycles


def _area(width: int) -> dict:
    """LUTs and registers of one unit."""
    unit = DetectorUnit(width=width, k_bits=_K_BITS, queue=_QUEUE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.joinpath("unit.v").write_text(verilog(unit))
        command = f"{TARGETS[_TARGET].command} -top {unit.module_name}"
        yosys.run(["read_verilog unit.v", command, yosys.STAT_COMMAND], folder)
        counts = totals(TARGETS[_TARGET], yosys.stat(folder / yosys.STAT_FILE, unit.module_name))
        tool = yosys.version(folder / yosys.STAT_FILE)
    area = {name: int(counts[name]) for name in ("lut", "lutram", "ff")}
    return {"width": width, "target": _TARGET, **area, "tool": tool, "measured": True}


def _probabilities(progress: Callable[[str, int, int], None]) -> np.ndarray:
    """Rows of many heads; head by head, so that the floats stay few."""
    rng = np.random.default_rng(_SEED)
    heads = _ROWS // _HEAD_ROWS
    rows = np.empty((_ROWS, _KEYS), np.int8)
    for head in range(heads):
        progress("operand", head, heads)
        part = slice(head * _HEAD_ROWS, (head + 1) * _HEAD_ROWS)
        rows[part] = attention(rng, _HEAD_ROWS, _KEYS)
    return rows


def _rows(figures: Iterable[dict]) -> list[tuple]:
    return [
        (
            f["operand"].split()[0],
            f"{f['non_zero']:.1%}",
            f"{f['units']:,}",
            f["width"],
            f"{f['cycles']:,}",
            f"{f['events_per_cycle']:,.3f}" if f["units"] == 1 else f"{f['events_per_cycle']:,.0f}",
            f"{f['share_of_limit']:.1%}",
            f["limited_by"],
        )
        for f in figures
    ]


def run(progress: Callable[[str, int, int], None]) -> dict:
    """One unit over densities and widths, area, and clusters of 64 over one set of rows.

    ``share_of_limit`` compares with a unit that reads a word and emits an event in every cycle,
    and an array whose units have equal work.
    """
    rng = np.random.default_rng(_SEED)
    operands = {f"uniform {d:.0%}": uniform(rng, _VECTORS, _DEPTH, d) for d in _DENSITIES}
    operands["ReLU"] = relu(rng, _VECTORS, _DEPTH)
    operands["softmax"] = attention(rng, _VECTORS, _DEPTH)
    figures = []
    for name, data in operands.items():
        progress("one unit", len(figures), len(operands) * len(WIDTHS))
        figures += [_figure(name, data[None], width) for width in WIDTHS]

    progress("RTL", 0, 1)
    point = operands["uniform 10%"][:4]
    rtl_cycles = _confirm(point, _SCALE_WIDTH)
    model: DetectionCount = array_cycles(point[None], 0, width=_SCALE_WIDTH, queue=_QUEUE)
    if rtl_cycles != model.cycles:
        raise CheckFailed(
            f"bench detect: RTL must equal the cycle model, {rtl_cycles} != {model.cycles} cycles"
        )

    areas = []
    for number, width in enumerate(WIDTHS):
        progress("synthesise", number, len(WIDTHS))
        areas.append(_area(width))

    rows = _probabilities(progress)
    scaling = []
    for number, units in enumerate(_UNITS):
        progress("scaling", number, len(_UNITS))
        # Row r goes to unit r modulo units, so that every unit sees all heads.
        dealt = rows.reshape(-1, units, _KEYS).swapaxes(0, 1)
        scaling.append(_figure("attention", dealt, _SCALE_WIDTH))

    dense = [f for f in figures if f["operand"] == "uniform 100%"]
    tenth = {f["width"]: f for f in figures if f["operand"] == "uniform 10%"}
    at_width = {area["width"]: area for area in areas}
    bars = [
        # The latency of the first event is all that a full unit may lose.
        Bar(
            "events per cycle, all non-zero, any W",
            min(f["events_per_cycle"] for f in dense),
            _VECTORS * _DEPTH / (_VECTORS * _DEPTH + _LATENCY),
        ),
        Bar("share of limit, 10% non-zero, W = 16", tenth[16]["share_of_limit"], 0.75),
        # Half of the ideal: two rows of attention are left to each unit, and the slowest counts.
        Bar(
            "speed-up of 65,536 units over 64",
            scaling[0]["cycles"] / scaling[-1]["cycles"],
            _UNITS[-1] / _UNITS[0] / 2,
        ),
        Bar("seconds to model 65,536 units", scaling[-1]["seconds"], 10, at_most=True),
        Bar(f"LUT per unit, W = 8, {_TARGET}", at_width[8]["lut"], 200, at_most=True),
    ]
    luts = ", ".join(f"W = {a['width']}: {a['lut']} + {a['lutram']} as memory" for a in areas)
    return {
        "title": f"Event detection (cycle model, exact; RTL at W = {_SCALE_WIDTH}: {rtl_cycles} "
        f"cycles, the same); LUT per unit on {_TARGET} (measured, {areas[0]['tool']}): {luts}",
        "header": HEADER,
        "rows": _rows(figures + scaling),
        "seed": _SEED,
        "figures": figures,
        "scaling": scaling,
        "area": areas,
        "rtl": {"cycles": rtl_cycles, "source": "measured (Amaranth simulator)"},
        "bars": [bar.report() for bar in bars],
    }
