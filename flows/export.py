"""A product as files for a testbench of one's own: streams to send and results to expect."""

import json
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from flows.files import atomic_folder, write_bytes, write_json, write_text
from golden.errors import BadInput
from golden.program.plan import Plan
from golden.program.results import GroupResults, expected_results

__all__ = ["check_export_folder", "write_export"]

_START = 1  # bit of CONTROL


def check_export_folder(path: Path) -> None:
    """Refuse a folder that holds anything, before anything runs.

    Raises:
        BadInput: there is a file of that name, or a folder that is not empty.
    """
    if path.is_dir():
        for entry in path.iterdir():
            raise BadInput(
                f"{path}: --export: must be a new or empty folder, got one that holds {entry.name}"
            )
    elif path.exists():
        raise BadInput(f"{path}: --export: must be a new or empty folder, got a file")


def write_export(
    path: Path, plan: Plan, activations: np.ndarray, output: np.ndarray, about: dict[str, Any]
) -> None:
    """Write the folder, whole or not at all; its README.md describes it.

    Args:
        path: a new or empty folder.
        plan: of the product.
        activations: int8 (M, K), as the plan was made for.
        output: int32 (M, N), the whole product.
        about: further fields of ``plan.json``.

    Raises:
        BadInput: the folder holds something.
        OSError: it can't be written.
    """
    check_export_folder(path)
    shape = plan.shape
    with atomic_folder(path) as folder:
        groups = []
        for group in range(shape.groups):
            data, target = plan.weight_beats(group)
            name = f"weights_{group}"
            _stream(folder / name, data, {"tdest": (target, 2)})
            groups.append({"file": name, "beats": len(data)})
        jobs = [
            _job(folder, f"job_{number:03}", plan, activations, output, job)
            for number, job in enumerate(plan.jobs)
        ]
        _array(folder / "rows.npy", plan.kept)
        _array(folder / "product.npy", output)
        words = output.astype("<i4").view("<u4").reshape(-1)
        write_text(folder / "product.hex", "".join(f"{word:08x}\n" for word in words))
        description = {
            "format": 1,
            "generator": f"sparsefuse {version('sparsefuse')}",
            **about,
            "rows": plan.rows,
            "outputs": plan.outputs,
            "depth_sent": plan.depth,
            "lanes": shape.lanes,
            "engines": shape.engines,
            "group": shape.group,
            "groups": shape.groups,
            "activation_bits": shape.activation_bits,
            "weight_bits": shape.data_bits,
            "result_bits": shape.result_bits,
            "beats_per_column": shape.drain_cycles,
            "segments": plan.segments,
            "k_tile_rows": np.diff(plan.bounds).tolist(),
            "weights": groups,
            "jobs": jobs,
        }
        write_json(folder / "plan.json", description)
        guide = files("flows").joinpath("export.md").read_text("utf-8")
        write_text(folder / "README.md", guide + _contents(description))


def _job(
    folder: Path, name: str, plan: Plan, activations: np.ndarray, output: np.ndarray, job: range
) -> dict[str, Any]:
    # The register map stands beside the hardware's description, which takes long to import.
    from rtl_gen.top.registers import address_of

    shape = plan.shape
    data, last = plan.activation_beats(activations, job)
    # The array asks for the same tiles again with every segment of columns.
    data, last = np.tile(data, (plan.segments, 1)), np.tile(last, plan.segments)
    _stream(folder / name / "activations", data, {"tlast": (last.astype(np.uint8), 1)})
    writes = [("M_TILES", len(job)), ("CONTROL", _START)]
    registers = [{"name": n, "address": address_of(n), "value": v} for n, v in writes]
    lines = "".join(f"{r['address']:02x}_{r['value']:08x}\n" for r in registers)
    write_text(folder / name / "registers.hex", lines)
    results = []
    for group, found in enumerate(expected_results(plan, activations, job)):
        _results(folder / name / f"results_{group}", found, shape.drain_cycles)
        results.append(
            {
                "file": f"{name}/results_{group}",
                "columns": len(found.data),
                "beats": len(found.data) * shape.drain_cycles,
            }
        )
    first = job.start * shape.lanes
    rows = output[first : job.stop * shape.lanes]
    _array(folder / name / "product.npy", rows)
    return {
        "folder": name,
        "m_tiles": len(job),
        "first_row": first,
        "rows": len(rows),
        "registers": registers,
        "activations": {"file": f"{name}/activations", "beats": len(data)},
        "results": results,
    }


def _results(path: Path, found: GroupResults, beats_per_column: int) -> None:
    raw = np.ascontiguousarray(found.data.astype("<i4")).view(np.uint8)
    beats = raw.reshape(len(found.data) * beats_per_column, -1)
    last = np.zeros(len(beats), np.uint8)
    last[beats_per_column - 1 :: beats_per_column] = 1
    engines = np.repeat(found.engines, beats_per_column).astype(np.uint8)
    write_text(path.with_suffix(".hex"), _hex(beats, {"tid": (engines, 2), "tlast": (last, 1)}))
    _array(path.with_suffix(".npy"), found.data)
    columns = np.stack([found.engines, found.m_tiles, found.outputs], axis=1)
    _array(path.with_name(f"{path.name}_columns.npy"), columns.astype(np.int32))


def _stream(path: Path, data: np.ndarray, side: dict[str, tuple[np.ndarray, int]]) -> None:
    write_text(path.with_suffix(".hex"), _hex(data, side))
    _array(path.with_suffix(".npy"), data)
    for name, (values, _) in side.items():
        _array(path.with_name(f"{path.name}_{name}.npy"), values)


def _hex(data: np.ndarray, side: dict[str, tuple[np.ndarray, int]]) -> str:
    """A line per beat: side bands, each of its digits, and the data as one number."""
    bands = [[f"{int(v):0{digits}x}" for v in values] for values, digits in side.values()]
    # Byte 0 of a beat is its lowest: the last two digits.
    numbers = [beat.tobytes().hex() for beat in np.ascontiguousarray(data[:, ::-1])]
    return "".join("_".join(line) + "\n" for line in zip(*bands, numbers, strict=True))


def _array(path: Path, array: np.ndarray) -> None:
    buffer = BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())


def _contents(description: dict[str, Any]) -> str:
    """What this very folder holds, as the end of its README."""
    lines = ["", "## This folder", ""]
    names = ("lanes", "engines", "group", "groups", "activation_bits", "weight_bits")
    names += ("result_bits", "beats_per_column")
    lines += ["| | |", "|---|---|", *(f"| {name} | {description[name]} |" for name in names)]
    lines += ["", "| job | M_TILES | rows of O | activation beats | result beats of each group |"]
    lines += ["|---|---|---|---|---|"]
    for job in description["jobs"]:
        low = job["first_row"]
        beats = ", ".join(str(result["beats"]) for result in job["results"])
        lines.append(
            f"| {job['folder']} | {job['m_tiles']} | {low} to {low + job['rows'] - 1} "
            f"| {job['activations']['beats']} | {beats} |"
        )
    beats = ", ".join(str(group["beats"]) for group in description["weights"])
    lines += ["", f"Weight beats of each group, in every job: {beats}.", ""]
    lines += ["Configuration:", "", "```json", json.dumps(description["config"], indent=2), "```"]
    return "\n".join(lines) + "\n"
