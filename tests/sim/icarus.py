"""A plain Verilog testbench of the array top and Icarus Verilog, a simulator with four states.

The host never waits.  What leaves the array is compared in Python; the testbench itself stops at
an unknown value on any handshake, and at one in a result.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from golden.program.plan import Plan
from golden.shape import ArrayShape
from rtl_gen.top.registers import address_of

__all__ = ["GENERATIONS", "QUICK", "IcarusArray", "needs_icarus"]

GENERATIONS = ("2001", "2005", "2005-sv", "2012")
"""Versions of the language, as ``iverilog -g`` names them; from the third on, SystemVerilog."""

# A Debian package, which pip cannot bring; where there is none, Verilator runs the same benches.
_FOUND = bool(shutil.which("iverilog") and shutil.which("vvp"))
needs_icarus = pytest.mark.skipif(
    not _FOUND,
    reason="Icarus Verilog is not installed (Debian: apt install iverilog)",
)

QUICK = "icarus" if _FOUND else "verilator"
"""For mutants, which are told apart by behaviour alone: the simulator that builds faster."""

_LIMIT = 20_000  # cycles of a job, far more than any that is played here
_MOST_BEATS = 4096
_REGISTERS = ("STATUS", "ERROR", "CYCLES_LOW", "EVENTS_LOW")

_BENCH = """
module bench;
  reg clk = 1'b0;
  reg rst = 1'b1;
  always #5 clk = ~clk;

  reg awvalid = 1'b0, arvalid = 1'b0;
  reg [7:0] address = 8'h00;
  reg [31:0] data = 32'h0;
  wire awready, wready, bvalid, arready, rvalid;
  wire [1:0] bresp, rresp;
  wire [31:0] rdata;
  reg sending = 1'b0;
  integer cycles = 0, tiles, given;
{declarations}

  sparsefuse dut (
    .clk(clk), .rst(rst),
    .s_axil_awaddr(address), .s_axil_awprot(3'b0), .s_axil_awvalid(awvalid),
    .s_axil_awready(awready), .s_axil_wdata(data), .s_axil_wstrb(4'hf), .s_axil_wvalid(awvalid),
    .s_axil_wready(wready), .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(1'b1),
    .s_axil_araddr(address), .s_axil_arprot(3'b0), .s_axil_arvalid(arvalid),
    .s_axil_arready(arready), .s_axil_rdata(rdata), .s_axil_rresp(rresp),
    .s_axil_rvalid(rvalid), .s_axil_rready(1'b1),
{connections}
  );

  task write(input [7:0] where, input [31:0] what);
    begin
      address <= where;
      data <= what;
      awvalid <= 1'b1;
      @(posedge clk);
      while (!awready) @(posedge clk);
      awvalid <= 1'b0;
      @(posedge clk);
    end
  endtask

  task read(input [7:0] where);
    begin
      address <= where;
      arvalid <= 1'b1;
      @(posedge clk);
      while (!arready) @(posedge clk);
      arvalid <= 1'b0;
      while (!rvalid) @(posedge clk);
      $display("register %h %h", where, rdata);
      @(posedge clk);
    end
  endtask

  initial begin
    given = $value$plusargs("tiles=%d", tiles);
{loads}
    repeat (4) @(posedge clk);
    rst <= 1'b0;
    repeat (4) @(posedge clk);
    write(8'h{m_tiles:02x}, tiles);
    write(8'h{control:02x}, 32'd1);
    sending <= 1'b1;
    while (!({finished}) && cycles < {limit}) @(posedge clk);
    repeat (40) @(posedge clk);
{reads}
    $display("end");
    $finish;
  end

  always @(posedge clk) if (!rst) begin
    cycles <= cycles + 1;
    if (^{{{controls}}} === 1'bx) begin
      $display("unknown handshake in cycle %0d: %b", cycles, {{{controls}}});
      $finish;
    end
{actions}
  end
endmodule
"""


def _stream(name: str, bits: int, side: str, side_bits: int) -> tuple[str, str, str]:
    """Declarations, connections and actions of one input stream."""
    declared = (
        f"  reg [{bits + side_bits - 1}:0] {name}_beats [0:{_MOST_BEATS - 1}];\n"
        f"  integer {name}_at = 0, {name}_size;\n"
        f"  wire {name}_valid = sending && {name}_at < {name}_size;\n"
        f"  wire [{bits + side_bits - 1}:0] {name}_beat =\n"
        f"    {name}_valid ? {name}_beats[{name}_at] : {bits + side_bits}'bx;\n"
        f"  wire {name}_ready;\n"
    )
    top = f"    .s_axis_{name}_"
    connected = (
        f"{top}tvalid({name}_valid), .s_axis_{name}_tready({name}_ready),\n"
        f"{top}tdata({name}_beat[{bits - 1}:0]),\n"
        f"{top}{side}({name}_beat[{bits + side_bits - 1}:{bits}]),\n"
    )
    acted = f"    if ({name}_valid && {name}_ready) {name}_at <= {name}_at + 1;\n"
    return declared, connected, acted


def _results(group: int, shape: ArrayShape) -> tuple[str, str, str]:
    """Declarations, connections and actions of one result stream."""
    name, engine_bits = f"results_{group}", max(1, (shape.group - 1).bit_length())
    declared = (
        f"  wire {name}_valid, {name}_last;\n"
        f"  wire [{shape.result_bits - 1}:0] {name}_data;\n"
        f"  wire [{engine_bits - 1}:0] {name}_id;\n"
        f"  integer {name}_count = 0, {name}_size;\n"
    )
    top = f"    .m_axis_{name}_"
    connected = (
        f"{top}tvalid({name}_valid), .m_axis_{name}_tready(1'b1), .m_axis_{name}_tid({name}_id),\n"
        f"{top}tlast({name}_last), .m_axis_{name}_tdata({name}_data),\n"
    )
    acted = (
        f"    if ({name}_valid) begin\n"
        f'      $display("result {group} %h %h", {name}_id, {name}_data);\n'
        f"      {name}_count <= {name}_count + 1;\n"
        f"    end\n"
    )
    return declared, connected, acted


def _testbench(shape: ArrayShape) -> str:
    """The testbench of an array; streams and their lengths are given to the simulation."""
    groups = range(shape.groups)
    target_bits = 1 + max(1, (shape.group - 1).bit_length())
    inputs = ["activations", *(f"weights_{g}" for g in groups)]
    pieces = [_stream("activations", shape.activation_bits, "tlast", 1)]
    pieces += [_stream(name, shape.data_bits, "tdest", target_bits) for name in inputs[1:]]
    pieces += [_results(g, shape) for g in groups]
    declarations, connections, actions = ("".join(parts) for parts in zip(*pieces, strict=True))
    sizes = [*inputs, *(f"results_{g}" for g in groups)]
    controls = ["awready", "wready", "bvalid", "arready", "rvalid"]
    # What is not valid may be unknown, and with it where it would go.
    controls += [f"{name}_valid && {name}_ready" for name in inputs]
    controls += [f"results_{g}_valid" for g in groups]
    loads = [f'    given = $value$plusargs("{name}=%d", {name}_size);' for name in sizes]
    loads += [
        f'    if ({name}_size > 0) $readmemh("{name}.hex", {name}_beats, 0, {name}_size - 1);'
        for name in inputs
    ]
    return _BENCH.format(
        declarations=declarations,
        connections=connections.rstrip(",\n"),
        actions=actions,
        loads="\n".join(loads),
        m_tiles=address_of("M_TILES"),
        control=address_of("CONTROL"),
        finished=" && ".join(f"results_{g}_count == results_{g}_size" for g in groups),
        limit=_LIMIT,
        reads="\n".join(f"    read(8'h{address_of(name):02x});" for name in _REGISTERS),
        controls=", ".join(controls),
    )


def _hex(beats: np.ndarray, side: np.ndarray) -> str:
    """Beats, uint8 (beats, bytes), with what goes beside them on top, for ``$readmemh``."""
    words = (
        int(s) << 8 * len(b) | int.from_bytes(b.tobytes(), "little")
        for b, s in zip(beats, side, strict=True)
    )
    return "".join(f"{word:x}\n" for word in words)


class IcarusArray:
    """An array top in Icarus Verilog; each product begins with the simulation's time zero.

    Args:
        shape: the array, without fuse selector.
        sources: Verilog files, twins of primitives included.
        generation: a name of `GENERATIONS`.
        folder: existing, for the files of the runs.
    """

    def __init__(
        self, shape: ArrayShape, sources: Sequence[Path], generation: str, folder: Path
    ) -> None:
        self.shape = shape
        self._folder = folder
        (folder / "bench.v").write_text(_testbench(shape))
        files = [str(path.resolve()) for path in sources]
        self._run(
            "iverilog", f"-g{generation}", "-s", "bench", "-o", "bench.vvp", "bench.v", *files
        )

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def product(self, plan: Plan, activations: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        """Play a plan of one job; what left the array, and its registers afterwards.

        Args:
            plan: of one job.
            activations: int8 (M, K).

        Returns:
            int32 (M, N) and the values of STATUS, ERROR, CYCLES_LOW and EVENTS_LOW.

        Raises:
            AssertionError: the simulation failed, stopped at an unknown value, or lost results.
        """
        shape = self.shape
        (job,) = plan.jobs
        beats, last = plan.activation_beats(activations, job)
        streams = {
            "activations": (np.tile(beats, (plan.segments, 1)), np.tile(last, plan.segments))
        }
        sizes = {"tiles": len(job)}
        for g in range(shape.groups):
            streams[f"weights_{g}"] = plan.weight_beats(g)
            mine = plan.streams[g * shape.group : (g + 1) * shape.group]
            columns = sum(len(c) for stream in mine for c in stream.columns) * len(job)
            sizes[f"results_{g}"] = columns * shape.drain_cycles
        for name, (data, side) in streams.items():
            assert len(data) <= _MOST_BEATS, f"{name}: {len(data)} beats do not fit the testbench"
            (self._folder / f"{name}.hex").write_text(_hex(data, side))
            sizes[name] = len(data)
        shown = self._run("vvp", "-n", "bench.vvp", *(f"+{n}={size}" for n, size in sizes.items()))
        lines = [line.split() for line in shown.splitlines()]
        assert lines[-1] == ["end"], shown[-2000:]
        seen: list[list[tuple[int, int]]] = [[] for _ in range(shape.groups)]
        registers = {}
        for kind, *words in lines[:-1]:
            assert not set("xz") & set("".join(words)), f"unknown value in {kind} {words}"
            if kind == "result":
                seen[int(words[0])].append((int(words[1], 16), int(words[2], 16)))
            else:
                registers[int(words[0], 16)] = int(words[1], 16)
        collected = []
        for results in seen:
            raw = b"".join(data.to_bytes(shape.result_bits // 8, "little") for _, data in results)
            engines = np.array([engine for engine, _ in results])[:: shape.drain_cycles]
            collected.append((np.frombuffer(raw, "<i4").reshape(-1, shape.lanes), engines))
        found = {name: registers[address_of(name)] for name in _REGISTERS}
        return plan.collect(job, collected), found
