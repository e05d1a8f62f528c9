"""What a product leaves behind: the files that were asked for, and a table on the terminal."""

from io import BytesIO
from pathlib import Path

import numpy as np

from flows.export import write_export
from flows.files import write_bytes, write_json
from flows.operand import OperandProduct
from flows.product import Product
from flows.terminal import print_table

__all__ = ["write_run_time", "write_stored"]


def _save(path: Path, array: np.ndarray) -> None:
    buffer = BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())


def write_run_time(
    product: OperandProduct, figures: dict, *, out: Path | None, report: Path | None
) -> None:
    """Write and print what a product with a run-time operand gave.

    Args:
        product: as `flows.operand.run_operand` gives it.
        figures: its report.
        out, report: files to write, or None.
    """
    if out is not None:
        exact = product.scales is None
        _save(out, product.output if exact else product.real.astype(np.float32))
    if report is not None:
        write_json(report, figures)
    names = ("cycles", "events", "macs_dense", "macs_effective", "weight_bytes")
    rows: list[tuple[str, object]] = [(name, figures[name]) for name in names]
    sent = figures["operand"]
    for candidate in sent["candidates"]:
        name = candidate["kernel"]
        if candidate["threshold"]:
            name += f", below {1 << candidate['threshold']} dropped"
        rows.append((f"blocks: {name}", candidate["blocks"]))
    budget = figures["error_budget"]
    limit = "" if budget is None else f" (budget {budget:.4%})"
    rows.append(("error", f"{figures['error']:.4%}{limit}"))
    rows.append(("energy dropped", f"{sent['dropped_energy']:.4%}"))
    for name in ("utilisation", "utilisation_slots"):
        if figures[name] is not None:
            rows.append((name, f"{figures[name]:.1%}"))
    title = f"({figures['rows']}, {figures['depth']}) @ run-time ({figures['depth']}, "
    title += f"{figures['outputs']})"
    print_table(title, ("", figures["cycles_source"]), rows)


def _part_rows(figures: dict) -> list[tuple[str, object]]:
    """Table rows of scales per part."""
    found = figures["scales_per_part"]

    def against(name: str) -> str:
        return f"{found[name] / found[f'{name}_one_scale']:.4f} of one scale's"

    return [
        ("scales per part", f"{found['parts']} parts of {found['part_rows']} rows"),
        ("error", f"{figures['error']:.4%}"),
        ("error of weights", f"{found['error_weights']:.4%}"),
        ("error of weights, one scale", f"{found['error_weights_one_scale']:.4%}"),
        ("change of output by parts", f"{found['change']:.4%}"),
        ("weight bytes", against("weight_bytes")),
        (f"cycles of {found['counted_tokens']} tokens", against("cycles")),
    ]


def write_stored(
    product: Product,
    figures: dict,
    *,
    out: Path | None,
    report: Path | None,
    scales: Path | None,
    export: Path | None,
    engine: str,
) -> None:
    """Write and print what a product with stored weights gave.

    Args:
        product: as `flows.engines.run_matmul` gives it.
        figures: its report.
        out, report, scales: files to write, or None.
        export: folder to write, or None.
        engine: level that computed it.
    """
    if out is not None:
        _save(out, product.output if product.scales is None else product.real)
    if scales is not None:
        buffer = BytesIO()
        np.savez(buffer, **product.operands)
        write_bytes(scales, buffer.getvalue())
    if report is not None:
        write_json(report, figures)
    if export is not None and product.activations is not None:
        about = {name: figures[name] for name in ("config", "config_hash", "kernel", "seed")}
        write_export(export, product.plan, product.activations, product.output, about)
    names = ("kernel", "cycles", "events", "macs_dense", "macs_effective", "weight_bytes")
    rows: list[tuple[str, object]] = [(name, figures[name]) for name in names]
    if figures["kernel"] == "mixed":
        blocks = ", ".join(f"{k} {n}" for k, n in figures["kernel_blocks"].items())
        rows.insert(1, ("blocks", blocks))
    selection, split = figures["selection"], figures["scales_per_part"] is not None
    if selection is not None:
        rows += [
            ("plan", selection["chosen"] if not split else f"{selection['chosen']}, one scale"),
            ("parts", f"{selection['parts']} in {selection['blocks']} blocks"),
            ("table", selection["table"]),
        ]
    if product.scales is not None:
        rows.append(("error, plain INT8", f"{figures['error_quantisation']:.4%}"))
    if figures["equalised"]:
        rows.append(("error, equalised", f"{figures['error_equalised']:.4%}"))
    if figures["error_budget"] is not None:
        rows.append(("error", f"{figures['error']:.4%} (budget {figures['error_budget']:.4%})"))
        rows.append(("weights dropped", figures["weights_dropped"]))
        rows.append(("weights changed", figures["weights_changed"]))
    if figures["scales_per_part"] is not None:
        rows += _part_rows(figures)
    for name in ("utilisation", "utilisation_slots"):
        if figures[name] is not None:
            rows.append((name, f"{figures[name]:.1%}"))
    depth = figures["depth"]
    title = f"({figures['rows']}, {depth}) @ ({depth}, {figures['outputs']}), {engine}"
    print_table(title, ("", figures["cycles_source"]), rows)
