"""Place and route with nextpnr (the ``yowasp-nextpnr-*`` wheels) and read the clock reached."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from constraints.devices import Device
from flows import yosys
from flows.synth_targets import router_of
from golden.errors import BadInput, CheckFailed

__all__ = ["place_and_route", "require", "shell_netlist"]

_REPORT = "report.json"
_LOG = "nextpnr.log"
_SHELL = "pnr_shell"


def require(target: str) -> str:
    """Return the Python module that runs nextpnr for ``target``.

    Raises:
        BadInput: no nextpnr for this target, or its wheel is not installed.
    """
    module = f"yowasp_{router_of(target).program.replace('-', '_')}"
    if importlib.util.find_spec(module) is None:
        raise BadInput(
            f"place and route: target {target!r} needs nextpnr, "
            "install it with pip install 'sparsefuse[pnr]'"
        )
    return module


def shell_netlist(
    netlist: Path, top: str, read: Sequence[str], command: str, out: Path, clock: str = "clk"
) -> Path:
    """Synthesise ``top`` inside a shell with three pins, for devices whose nextpnr needs pins.

    Every input but the clock comes from a scan register and every output goes to one, so all
    paths start and end in registers and the clock reached covers the whole module. The scan
    registers are in this netlist only, never in the area report.

    Args:
        netlist: Yosys JSON of the synthesised ``top``, for its ports.
        top: module name.
        read: Yosys commands that read the sources of ``top``.
        command: Yosys' synthesis command.
        out: existing folder for the shell and its netlist.
        clock: name of the clock port.

    Returns:
        The Yosys JSON of the shell.

    Raises:
        CheckFailed: the netlist lacks ``top`` or its clock, has ``inout`` ports, or Yosys failed.
    """
    entry = json.loads(netlist.read_text())["modules"].get(top)
    if entry is None:
        raise CheckFailed(f"{netlist}: the netlist holds no module {top!r}")
    ports = {name: (port["direction"], len(port["bits"])) for name, port in entry["ports"].items()}
    if ports.get(clock) != ("input", 1):
        raise CheckFailed(f"{netlist}: {top!r} must have a one-bit input {clock!r} as its clock")
    odd = [name for name, (direction, _) in ports.items() if direction == "inout"]
    if odd:
        raise CheckFailed(f"{netlist}: {top!r} has inout port {odd[0]!r}, which can't be scanned")
    connections = [f".\\{clock} (clk)"]
    used = {"input": 0, "output": 0}
    for name, (direction, width) in ports.items():
        if name != clock:
            bus = "drive" if direction == "input" else "seen"
            connections.append(f".\\{name} ({bus}[{used[direction]} +: {width}])")
            used[direction] += width
    if not used["output"]:
        raise CheckFailed(f"{netlist}: {top!r} has no output, so nothing of it would be left")
    ins, outs = max(1, used["input"]), used["output"]
    text = f"""module {_SHELL}(input clk, input scan_in, output scan_out);
  reg [{ins - 1}:0] drive;
  reg [{outs - 1}:0] caught;
  reg shift;
  wire [{outs - 1}:0] seen;
  always @(posedge clk) begin
    drive <= {{drive, scan_in}};
    shift <= scan_in;
    caught <= shift ? caught >> 1 : seen;
  end
  assign scan_out = caught[0];
  (* keep *) \\{top} device({", ".join(connections)});
endmodule
"""
    (out / f"{_SHELL}.v").write_text(text)
    yosys.run(
        [
            *read,
            f"read_verilog {_SHELL}.v",
            f"{command} -top {_SHELL}",
            f"write_json {_SHELL}.json",
        ],
        out,
    )
    return out / f"{_SHELL}.json"


def _run(module: str, arguments: Sequence[str], out: Path, timeout_s: float) -> None:
    """Run nextpnr in ``out`` with its output in the log there."""
    entry = f"_run_{module.removeprefix('yowasp_')}_argv"
    log = out / _LOG
    with log.open("wb") as stream:
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    "-P",
                    "-c",
                    f"from {module} import {entry} as run; run()",
                    *arguments,
                ],
                cwd=out,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"{log}: nextpnr ran longer than timeout_s = {timeout_s:g}") from None
    if done.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        reason = (errors or lines or ["the log is empty"])[-1]
        raise CheckFailed(f"{log}: nextpnr ended with status {done.returncode}: {reason}")


def _figures(path: Path) -> tuple[dict[str, float], dict[str, int], dict[str, int]]:
    """Read clock name to MHz, and site type to sites used and to sites there are.

    Site types without a use are left out; a missing figure is an error.
    """
    try:
        report = json.loads(path.read_text())
        clocks = {name: float(entry["achieved"]) for name, entry in report["fmax"].items()}
        sites = report["utilization"]
        used = {name: int(sites[name]["used"]) for name in sorted(sites)}
        available = {name: int(sites[name]["available"]) for name in used}
    except FileNotFoundError:
        raise CheckFailed(f"{path}: nextpnr left no report") from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CheckFailed(f"{path}: nextpnr's report has no readable figures: {error!r}") from None
    if not clocks or not min(clocks.values()) > 0:
        raise CheckFailed(f"{path}: field fmax must hold a positive clock, not {clocks}")
    if not any(used.values()):
        raise CheckFailed(f"{path}: field utilization must hold a used site, not {used}")
    there = [name for name, count in used.items() if count]
    return clocks, {name: used[name] for name in there}, {name: available[name] for name in there}


def place_and_route(
    netlist: Path,
    part: Device,
    *,
    freq_mhz: float,
    out: Path,
    seed: int = 1,
    timeout_s: float = 3600.0,
) -> dict:
    """Place and route a synthesised netlist.

    Args:
        netlist: Yosys JSON netlist with one top module.
        part: of a family with place and route; device, package and speed are its own.
        freq_mhz: clock to aim for; missing it is reported, not an error.
        out: folder for report and log; made if missing.
        seed: placement seed.
        timeout_s: seconds until nextpnr is stopped.

    Returns:
        ``fmax_mhz`` (lowest of all clocks), ``clocks`` (name to MHz), ``target_mhz``, ``met``,
        ``used`` and ``available`` (site type to sites, of the types in use), ``seed``, ``part``,
        ``device`` (the arguments that chose it), ``seconds`` (wall time), ``tool`` and
        ``measured``.

    Raises:
        BadInput: nextpnr for the part's family is not installed, or there is none.
        CheckFailed: nextpnr failed, or its report lacks a figure.
    """
    module = require(part.family)
    router = router_of(part.family)
    out.mkdir(parents=True, exist_ok=True)
    report = out / _REPORT
    report.unlink(missing_ok=True)
    # The sandbox of the wheel sees its working folder only, so the netlist has to be in it.
    local = out / "placed.json"
    shutil.copyfile(netlist, local)
    arguments = [
        *router.options,
        *part.nextpnr_arguments,
        "--json",
        local.name,
        "--report",
        _REPORT,
    ]
    arguments += ["--freq", f"{freq_mhz:g}", "--seed", str(seed), "--timing-allow-fail"]
    started = time.monotonic()
    _run(module, arguments, out, timeout_s)
    seconds = time.monotonic() - started
    clocks, used, available = _figures(report)
    return {
        "fmax_mhz": round(min(clocks.values()), 2),
        "clocks": {name: round(value, 2) for name, value in sorted(clocks.items())},
        "target_mhz": freq_mhz,
        "met": min(clocks.values()) >= freq_mhz,
        "used": used,
        "available": available,
        "seed": seed,
        "part": part.name,
        "device": " ".join(part.nextpnr_arguments),
        "seconds": round(seconds, 1),
        "tool": f"{router.program} {importlib.metadata.version(module.replace('_', '-'))}",
        "measured": True,
    }
