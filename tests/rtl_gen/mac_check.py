"""Checks the MACs of several technologies on their own: every product, long adversarial sums.

The array's benches see the MAC through everything around it; here the pipeline contract of
`rtl_gen.mac.base.PackedMac` is driven directly, with each technology's own `unpack` behind it.
One model holds all technologies in all widths, because building models takes longer than running
them.
"""

import ctypes
import tempfile
from importlib.resources import files
from itertools import product
from pathlib import Path

import numpy as np
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.errors import CheckFailed
from rtl_gen.distinct import place
from rtl_gen.emit import verilog
from rtl_gen.mac import MACS, PRIMITIVES
from sim.verilator.build import build_model

__all__ = ["LAST", "LOAD", "VALID", "WIDTHS", "MacCheck"]

WIDTHS = (20, 24, 25, 28)
"""Accumulator bits of activation tiles of 16, 256, 512 and 4096 rows.

They are the least, the most that a DSP48E2 counts wraps for, an odd one, and the most.
"""

VALID, LOAD, LAST = 1, 2, 4
"""Flags of an operation: it counts, it starts a sum, the sum is complete with it."""

_HARNESS = Path(__file__).with_name("mac_check.cpp")
_OPERANDS = {"valid": 1, "load": 1, "x": 16, "weight": 8}


class _Bench(wiring.Component):
    """Instances of MACs on shared inputs, unpacked; the fast ones are delayed to the slowest.

    Members
    -------
    enable, valid, load, capture, x, weight : In
        See `PackedMac`.
    low_n, high_n : Out(signed(acc_bits))
        Sums of instance number n.
    """

    module_name = "sf_mac_bench"

    def __init__(self, instances: tuple[tuple[str, int], ...]) -> None:
        self._instances = instances
        self.latency_cycles = max(MACS[mac].kind.latency_cycles for mac, _ in instances)
        ports: dict = {"enable": In(1), "capture": In(1)}
        ports |= {name: In(bits) for name, bits in _OPERANDS.items()}
        for number, (_, acc_bits) in enumerate(instances):
            ports |= {f"{name}_{number}": Out(signed(acc_bits)) for name in ("low", "high")}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        delayed = [{name: getattr(self, name) for name in _OPERANDS}]
        for stage in range(1, self.latency_cycles):
            registers = {
                name: Signal(bits, name=f"{name}_{stage}") for name, bits in _OPERANDS.items()
            }
            with m.If(self.enable):
                m.d.sync += [registers[name].eq(delayed[-1][name]) for name in _OPERANDS]
            delayed.append(registers)
        for number, (name, acc_bits) in enumerate(self._instances):
            mac = MACS[name](acc_bits)
            place(m, platform, f"mac{number}", mac)
            before = self.latency_cycles - mac.latency_cycles
            m.d.comb += [mac.enable.eq(self.enable), mac.capture.eq(self.capture)]
            for port in _OPERANDS:
                # Activations may come a cycle later.
                operands = delayed[before + (mac.cells and port == "x")]
                m.d.comb += getattr(mac, port).eq(operands[port])
            low, high, carry = MACS[name].unpack(m, mac.raw, acc_bits)
            m.d.comb += [
                getattr(self, f"low_{number}").eq(low),
                getattr(self, f"high_{number}").eq(high + carry),
            ]
        return m


def _glue(latency: int, instances: tuple[tuple[str, int], ...]) -> str:
    reads = "".join(
        f"  {name}[{n}] = int32_t(uint32_t(top.{name}_{n}) << {32 - bits}) >> {32 - bits};\n"
        for n, (_, bits) in enumerate(instances)
        for name in ("low", "high")
    )
    return f"""#include "Vtop.h"
constexpr int kLatency = {latency};
constexpr int kInstances = {len(instances)};
inline void sums(const Vtop& top, int32_t* low, int32_t* high) {{
{reads}}}
"""


class MacCheck:
    """The verilated MACs of some technologies.

    Args:
        macs: names in `rtl_gen.mac.MACS`.
        cache: folder of built libraries.
        widths: accumulator bits that each technology is instantiated with.

    Attributes:
        instances: technology and accumulator bits of each instance.
    """

    def __init__(
        self, macs: tuple[str, ...], cache: Path, widths: tuple[int, ...] = WIDTHS
    ) -> None:
        self.instances = tuple(product(macs, widths))
        bench = _Bench(self.instances)
        with tempfile.TemporaryDirectory() as folder:
            sources = [Path(folder, "bench.v")]
            sources[0].write_text(verilog(bench))
            for name in (PRIMITIVES[mac] for mac in macs if mac in PRIMITIVES):
                twin = files("rtl_gen.mac").joinpath("primitives", name)
                sources.append(Path(folder, name))
                sources[-1].write_text(twin.read_text("utf-8"))
            glue = _glue(bench.latency_cycles, self.instances)
            library = build_model("mac", bench.module_name, sources, _HARNESS, glue, cache)
        self._library = ctypes.CDLL(str(library))
        self._library.sf_products.restype = ctypes.c_uint64
        self._library.sf_columns.restype = ctypes.c_int64

    def products(self, first: int = -128, stop: int = 128, *, lanes: bool = False) -> int:
        """Compare ``x0 * w`` and ``x1 * w`` for all activations and the weights of a range.

        Args:
            first, stop: weights; the default makes it exhaustive.
            lanes: the lanes have a multiplier each, so that each lane's 2**8 activations will do;
                otherwise all 2**16 pairs are played.

        Returns:
            Number of operations, each compared in every instance.

        Raises:
            CheckFailed: a sum is wrong; names the first.
        """
        wrong = (ctypes.c_int32 * 3)()
        errors = self._library.sf_products(first, stop, int(lanes), wrong)
        if errors:
            x, weight, number = wrong
            low, high = np.array([x & 255, x >> 8], np.uint8).view(np.int8)
            mac, bits = self.instances[number]
            raise CheckFailed(
                f"mac {mac}: every product must be exact, {errors} are not, first "
                f"x1={high} x0={low} w={weight} with {bits} accumulator bits"
            )
        return (stop - first) << (8 if lanes else 16)

    def columns(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        flags: np.ndarray,
        *,
        stall_permille: int = 0,
        hold_permille: int = 0,
        seed: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run a sequence of operations and return the sums of every column.

        Args:
            x: int8 (operations, 2), ``x0`` first.
            weights: int8 (operations,).
            flags: uint8 (operations,), of `VALID`, `LOAD` and `LAST`.
            stall_permille: how often the pipeline is frozen.
            hold_permille: how often a captured column is kept for another cycle.
            seed: of the stalls and holds.

        Returns:
            int32 low and high sums, shape (columns, instances).

        Raises:
            CheckFailed: a captured sum changed before it was given up, or a column is missing.
        """
        count = len(flags)
        operands = np.ascontiguousarray(x, np.int8).view("<u2").reshape(-1)
        weights = np.ascontiguousarray(weights, np.int8)
        flags = np.ascontiguousarray(flags, np.uint8)
        if not len(operands) == len(weights) == count:
            raise ValueError(
                f"x, weights and flags must have one entry per operation, got {len(operands)}, "
                f"{len(weights)} and {count}"
            )
        expected = int(np.count_nonzero(flags & LAST))
        low = np.zeros((expected, len(self.instances)), np.int32)
        high = np.zeros_like(low)
        found = self._library.sf_columns(
            ctypes.c_uint64(count),
            operands.ctypes.data_as(ctypes.c_void_p),
            weights.ctypes.data_as(ctypes.c_void_p),
            flags.ctypes.data_as(ctypes.c_void_p),
            stall_permille,
            hold_permille,
            ctypes.c_uint64(seed),
            low.ctypes.data_as(ctypes.c_void_p),
            high.ctypes.data_as(ctypes.c_void_p),
        )
        macs = sorted({mac for mac, _ in self.instances})
        if found < 0:
            raise CheckFailed(
                f"macs {macs}: captured sums must hold until the next capture, those of "
                f"column {-1 - found} changed"
            )
        if found != expected:
            raise CheckFailed(f"macs {macs}: columns: must be {expected}, got {found}")
        return low, high
