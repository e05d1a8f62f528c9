"""Every bench's table at 80 columns, on figures as wide as real ones are."""

from collections.abc import Callable
from typing import Any

import pytest

from flows.arrays import kernels_config
from flows.bench import (
    BENCHES,
    akf,
    akf_real,
    area,
    demo,
    detect,
    fmax,
    generation,
    harness,
    kernels,
    mutants,
    plan,
    polynomial,
    runtime,
    scale,
    selector,
    sparsity,
    tensors,
)
from flows.bench import bytes as stored
from flows.measure import measure_table
from flows.terminal import table_lines

Table = tuple[Any, Any]
LAYER = "ViT encoder.layer.10.attention.attention.query"


def silent(*_: object) -> None:
    pass


def _akf() -> Table:
    figure = {
        "what": f"{LAYER} (performance only)", "sparsity": 0.95, "cycles_dense": 1_234_567,
        "cycles_block": 1_234_567, "best_single": "runlength", "cycles_best_single": 1_234_567,
        "cycles": 1_234_567, "speed_up": 19.87, "gain": 1.234, "oracle_share": 1.0,
    }  # fmt: skip
    return akf.HEADER, [akf._row(figure), akf._row({**figure, "cycles_block": None})]


def _near() -> Table:
    figure = {
        "what": LAYER, "sparsity": 0.5, "activations": "float", "error": 0.0177,
        "error_other_text": 0.0312, "cycles_exact": 1_234_567, "cycles": 1_234_567,
        "gain": 1.0, "counts": False,
    }  # fmt: skip
    return akf_real.NEAR_HEADER, [akf_real._near_row(figure)]


def _scales() -> Table:
    limits = akf_real.PART_LIMITS
    ratios = {f"{limit:g}": 0.987 for limit in limits}
    parts = {f"{limit:g} parts": 12 for limit in limits}
    figure = {"what": LAYER, "sparsity": 0.5, **ratios, **parts}
    return akf_real.SCALE_HEADER, [akf_real._scale_row(figure, limit) for limit in limits]


def _plan() -> Table:
    figure = {
        "structure": "block 8x8", "sparsity": 0.95, "kernels": "all", "seconds": 12.34,
        "cycles": 123_456, "weight_bytes": 1_048_576, "cycles_searched": 123_456,
        "weight_bytes_searched": 1_048_576,
    }  # fmt: skip
    return plan.HEADER, [plan._row(figure), plan._row({**figure, "cycles_searched": None})]


def _mutants() -> Table:
    row = ("sf_engine_4_19_64: cnot", "survived", "bit 12 of events_low")
    return mutants.HEADER, [row, ("all", "", "95 of 100 killed, 3 equivalent")]


def _area() -> Table:
    figure = {
        "name": "mid, dense only", "mac": "dsp48e2", "lut_per_mac": 123.4,
        "ff_per_mac": 123.4, "dsp_per_mac": 0.5, "bram_per_mac": 1.234, "lut": 123_456,
        "ff": 234_567, "input_port_bits": 8448, "output_port_bits": 8192, "measured": True,
    }  # fmt: skip
    return area.HEADER, [
        area._row(figure),
        area._row({**figure, "name": "large", "measured": False}),
    ]


def _bytes() -> Table:
    bits = {f"runlength/{gap}": 12.34 for gap in stored.GAP_BITS}
    figure = {
        "what": f"{LAYER} 30%", "stored_bits": {**dict.fromkeys(stored.KERNELS, 12.34), **bits},
        "best_gap_bits": 6, "entropy_bound": 12.34, "over_entropy_bound": 1.234,
        "over_byte_bound": 1.234,
    }  # fmt: skip
    return stored.HEADER, [stored._row(figure)]


def _demo() -> Table:
    run = {
        "cycles": 123_456, "utilisation": 0.9512, "weight_bytes": 1 << 20,
        "simulated_cycles_per_second": 123_456.7,
    }  # fmt: skip
    report = {
        "runs": {"sparse": run, "dense": run, "unpruned": run}, "rows": 128, "depth": 384,
        "outputs": 1536, "model": "MiniLM-L6-v2", "layer": "encoder.layer.2.intermediate.dense",
        "config": {"name": "mid", "schedule": {"unroll": {"n": 16, "m": 16}}}, "sparsity": 0.5049,
        "input_port_bits": 8448, "output_port_bits": 8192,
        "speed_up_over_dense_run": 1.98, "utilisation_dense_run": 0.991,
        "area": {
            "dsp": 128, "dsp_per_mac": 0.5, "lut": 12345, "lut_per_mac": 37.9, "ff": 12345,
            "ff_per_mac": 29.3, "bram": 48.0, "tool": "Yosys 0.70 (28ba3cb92)",
        },
    }  # fmt: skip
    return ("", ""), demo._rows(report)


def _detect() -> Table:
    figure = {
        "operand": "attention", "non_zero": 1.0, "units": 65_536, "width": 16, "cycles": 1_234_567,
        "events_per_cycle": 65_536.0, "share_of_limit": 1.0, "limited_by": "events, slowest",
    }  # fmt: skip
    return detect.HEADER, detect._rows([figure, {**figure, "units": 1}])


def _fmax() -> Table:
    figure = {
        "name": "edge, cut", "part": "lfe5u-85f", "macs": 128, "lut": 12_345, "ff": 23_456,
        "fmax_mhz": [130.12, 119.0, 123.0], "pnr_seconds": [123.4, 1234.5],
        "clock_mhz": 110.0,
    }  # fmt: skip
    none = {"name": "large", "part": "xczu7ev", "macs": 4096, "clock_mhz": None}
    return fmax.HEADER, [fmax._row(figure), fmax._row(none)]


def _generate() -> Table:
    figure = {
        "name": "engines_1024",
        "macs": 16_384,
        "seconds": 12.345,
        "modules": 123,
        "bytes": 12_345_678,
    }
    return generation.HEADER, [generation._row(figure)]


def _harness() -> Table:
    figure = {"kernel": "runlength", "cycles": 123_456, "simulated_cycles_per_second": 543_210.9}
    return harness.HEADER, [harness._row(figure)]


def _kernels() -> Table:
    table = measure_table(kernels_config(), silent, [(64, 16)], rtl=False)
    assert {point.feasible for point in table.points} == {True, False}
    return kernels.HEADER, [kernels._row(table, point) for point in table.points]


def _polynomial() -> Table:
    figure = {
        "matrix": "pyamg diffusion 16 x 16", "density": 0.1234, "degree": 3, "residual": 1.234e-10,
        "residual_float": 1.234e-10, "cycles": 1_234_567, "speedup": 123.4,
    }  # fmt: skip
    return polynomial.HEADER, [polynomial._row(figure)]


def _runtime() -> Table:
    figure = {
        "case": "raw events, half the vectors zero", "rows": 1024, "depth": 1024, "outputs": 1024,
        "vector_zeros": 1.0, "event_zeros": 1.0, "cycles_dense": 1_234_567,
        "cycles_before": 1_234_567, "cycles": 1_234_567, "speed_up": 12.34, "extra": 1.234,
        "limit": 12.345,
    }  # fmt: skip
    return runtime.HEADER, [runtime._row(figure), runtime._row({**figure, "limit": None})]


def _scale() -> Table:
    total = {
        "tokens": 2048, "units": 65_536, "cycles": 1_234_567, "macs_effective": 10**12,
        "share_of_limit": 0.5, "bytes_per_cycle": 123_456.7, "waiting_tile": 0.1,
        "waiting_drain": 0.1, "waiting_event": 0.1, "clusters_idle": 0.1,
    }  # fmt: skip
    return scale.HEADER, [scale._row("all 30 layers", total)]


def _selector() -> Table:
    area = {"lut": 1234, "dsp": 2}
    figure = {
        "data_bits": 128, "groups": 2, "candidates": "lossy", "word_bits": 128,
        "array_lut": 123_456, "array_dsp": 128, "array_lutram": 12_345, "selector": area,
        "fusion_lut": 12_345, "share": 0.1987, "dsp": 12, "lutram": 1234, "tool": "Yosys 0.70",
    }  # fmt: skip
    layer = {"share": 0.001, "layer": "mixed", "candidates": "lossy", "added": 3, "cycles": 12_345}
    decided = {"candidates": "lossy", "unlike": 0, "chosen": [1, 2, 3], "bubbles": 0}
    report = selector._report([figure], [decided], [layer], [])
    return report["header"], report["rows"]


def _sparsity() -> Table:
    figure = {
        "preset": "large", "mask": "clustered", "input_port_bits": 8448, "output_port_bits": 8192,
        "points": [{"share_of_limit": 1.0} for _ in sparsity.SPARSITIES],
    }  # fmt: skip
    return sparsity.HEADER, [sparsity._row(figure)]


def _few_rows() -> Table:
    figure = {
        "rows": 128, "cycles": 1_234_567, "slots": 0.987, "relative": 1.0, "replayed": True,
    }  # fmt: skip
    return sparsity.ROWS_HEADER, [sparsity._few_row(figure)]


def _tensors() -> Table:
    figure = {
        "model": "ViT-S14-saliency", "layer": LAYER.removeprefix("ViT "), "depth": 1536,
        "outputs": 1536, "sparsity": 0.5123, "cycles": 1_234_567, "share_of_limit": 0.987,
        "bits_per_position": 12.34, "kernel": "runlength",
    }  # fmt: skip
    return tensors.HEADER, [tensors._row(figure), ("ViT mean", "", "", "", "98.7%", "", "")]


TABLES: dict[str, tuple[Callable[[], Table], ...]] = {
    "akf": (_akf, _near, _scales),
    "area": (_area,),
    "bytes": (_bytes,),
    "demo": (_demo,),
    "detect": (_detect,),
    "fmax": (_fmax,),
    "generate": (_generate,),
    "harness": (_harness,),
    "kernels": (_kernels,),
    "plan": (_plan,),
    "mutants": (_mutants,),
    "polynomial": (_polynomial,),
    "runtime": (_runtime,),
    "scale": (_scale,),
    "selector": (_selector,),
    "sparsity": (_sparsity, _few_rows),
    "tensors": (_tensors,),
}


def test_every_bench_has_its_tables_here():
    assert set(TABLES) == set(BENCHES)


@pytest.mark.parametrize(
    ("bench", "number"), [(name, i) for name, made in TABLES.items() for i in range(len(made))]
)
def test_at_80_columns_no_word_is_broken(bench: str, number: int):
    header, rows = TABLES[bench][number]()
    assert all(len(row) == len(header) for row in rows)
    lines = table_lines(header, rows, 80)
    print("\n".join(lines))
    assert max(map(len, lines)) <= 80
    shown = [word for line in lines for word in line.split()]
    for text in (*header, *(cell for row in rows for cell in row)):
        for word in str(text).split():
            assert word in shown
    # Nor does a row or the header become a tower of words.
    below = [number for number, line in enumerate(lines) if set(line) == {"─"}]
    head = below[0] + 1 if below else 0
    assert head <= 5
    assert len(lines) - head <= 3 * len(rows)
    if any(header):
        # A table with a line below its header, not a list of names and values.
        assert any(set(line) == {"─"} for line in lines)
