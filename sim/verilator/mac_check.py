"""Checks the MAC of one technology on its own: every product, and long adversarial sums.

The array's benches see the MAC through everything around it; here the pipeline contract of
`rtl_gen.mac.base.PackedMac` is driven directly, with the technology's own `unpack` behind it.
"""

import ctypes
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.errors import CheckFailed
from rtl_gen.distinct import place
from rtl_gen.emit import verilog
from rtl_gen.mac import MACS

from .build import build_model

__all__ = ["LAST", "LOAD", "VALID", "WIDTHS", "MacCheck"]

WIDTHS = (20, 24, 28)
"""Accumulator bits of activation tiles of 16, 256 and 4096 rows: least, common, most."""

VALID, LOAD, LAST = 1, 2, 4
"""Flags of an operation: it counts, it starts a sum, the sum is complete with it."""

_HARNESS = Path(__file__).with_name("mac_check.cpp")
_TWINS = {"dsp48e2": "DSP48E2.v", "dsp48e1": "DSP48E1.v"}


class _Bench(wiring.Component):
    """One technology in several widths on shared inputs, unpacked.

    Members
    -------
    enable, valid, load, capture, x, weight : In
        See `PackedMac`.
    low_n, high_n : Out(signed(widths[n]))
        Sums of width number n.
    """

    module_name = "sf_mac_bench"

    def __init__(self, mac: str, widths: tuple[int, ...]) -> None:
        self._mac = MACS[mac]
        self._widths = widths
        ports: dict = {name: In(1) for name in ("enable", "valid", "load", "capture")}
        ports |= {"x": In(16), "weight": In(signed(8))}
        for number, acc_bits in enumerate(widths):
            ports |= {f"{name}_{number}": Out(signed(acc_bits)) for name in ("low", "high")}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for number, acc_bits in enumerate(self._widths):
            mac = self._mac(acc_bits)
            place(m, platform, f"mac{number}", mac)
            for name in ("enable", "valid", "load", "capture", "x", "weight"):
                m.d.comb += getattr(mac, name).eq(getattr(self, name))
            low, high = self._mac.unpack(m, mac.raw, acc_bits)
            m.d.comb += [
                getattr(self, f"low_{number}").eq(low),
                getattr(self, f"high_{number}").eq(high),
            ]
        return m


def _glue(latency: int, widths: tuple[int, ...]) -> str:
    reads = "".join(
        f"  {name}[{n}] = int32_t(uint32_t(top.{name}_{n}) << {32 - bits}) >> {32 - bits};\n"
        for n, bits in enumerate(widths)
        for name in ("low", "high")
    )
    return f"""#include "Vtop.h"
constexpr int kLatency = {latency};
constexpr int kWidths = {len(widths)};
inline void sums(const Vtop& top, int32_t* low, int32_t* high) {{
{reads}}}
"""


class MacCheck:
    """The verilated MACs of one technology.

    Args:
        mac: name in `rtl_gen.mac.MACS`.
        cache: folder of built libraries.
        widths: accumulator bits of the instances.
    """

    def __init__(self, mac: str, cache: Path, widths: tuple[int, ...] = WIDTHS) -> None:
        self.mac = mac
        self.widths = widths
        with tempfile.TemporaryDirectory() as folder:
            sources = [Path(folder, "bench.v")]
            sources[0].write_text(verilog(_Bench(mac, widths)))
            if mac in _TWINS:
                twin = files("rtl_gen.mac").joinpath("primitives", _TWINS[mac])
                sources.append(Path(folder, _TWINS[mac]))
                sources[1].write_text(twin.read_text("utf-8"))
            glue = _glue(MACS[mac].latency_cycles, widths)
            library = build_model("mac", _Bench.module_name, sources, _HARNESS, glue, cache)
        self._library = ctypes.CDLL(str(library))
        self._library.sf_products.restype = ctypes.c_uint64
        self._library.sf_columns.restype = ctypes.c_int64

    def products(self, first: int = -128, stop: int = 128) -> int:
        """Compare ``x0 * w`` and ``x1 * w`` for all 2**16 pairs and the weights of a range.

        Args:
            first, stop: weights; the default makes it exhaustive, 2**24 triples.

        Returns:
            Number of triples, each compared in every width.

        Raises:
            CheckFailed: a sum is wrong; names the first.
        """
        wrong = (ctypes.c_int32 * 3)()
        errors = self._library.sf_products(first, stop, wrong)
        if errors:
            x, weight, number = wrong
            low, high = np.array([x & 255, x >> 8], np.uint8).view(np.int8)
            raise CheckFailed(
                f"mac {self.mac}: every product must be exact, {errors} are not, first "
                f"x1={high} x0={low} w={weight} with {self.widths[number]} accumulator bits"
            )
        return (stop - first) << 16

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
            int32 low and high sums, shape (columns, widths).

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
        low = np.zeros((expected, len(self.widths)), np.int32)
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
        if found < 0:
            raise CheckFailed(
                f"mac {self.mac}: captured sums must hold until the next capture, those of "
                f"column {-1 - found} changed"
            )
        if found != expected:
            raise CheckFailed(f"mac {self.mac}: columns: must be {expected}, got {found}")
        return low, high
