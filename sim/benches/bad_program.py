"""Bench: programs that no compiler should send set their error and hang nothing."""

from dataclasses import replace
from typing import Any

import cocotb
import numpy as np
from cocotbext.axi import AxiStreamFrame

from golden.formats.block_header import BlockHeader
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.plan import Plan

from .host import BAD_HEADER, BAD_START, LONG_TILE, SETTINGS, WATCHDOG, Host
from .stimulus import fitted, operands

_SHAPE = SETTINGS.shape
_LIMIT = 20_000

_HEADERS: dict[str, dict[str, int]] = {
    "kernel_0": {"kernel": 0},
    "kernel_15": {"kernel": 15},
    "cols_max": {"columns": 65535},
    "depth_over": {"depth": _SHAPE.k_tile + 1},
    "depth_max": {"depth": 65535},
}


def _plan(host: Host) -> tuple[Plan, np.ndarray, np.ndarray]:
    """A product whose first result needs many events, so that an early error precedes it."""
    size = (_SHAPE.lanes + 1, _SHAPE.k_tile + 1, 2 * _SHAPE.engines)
    activations, weights = operands(host.rng, *size, 0)
    weights = fitted(_SHAPE, _SHAPE.kernels[0], weights)
    return plan_matmul(_SHAPE, activations, weights, _SHAPE.kernels[0]), activations, weights


async def _start(host: Host, plan: Plan, *, watchdog: int = 0) -> None:
    await host.write("WATCHDOG", watchdog)
    await host.write("M_TILES", len(plan.jobs[0]))
    await host.write("CONTROL", 1)


async def _expect_halt(host: Host, error: int) -> None:
    """The error alone is set, all inputs are taken, nothing comes out."""
    for _ in range(_LIMIT):
        if await host.read("STATUS") & 4:
            break
    assert await host.read("ERROR") == error, f"ERROR {await host.read('ERROR')}, not {error}"
    sources = [host.activations, *host.weights]
    for _ in range(_LIMIT):
        if all(source.idle() for source in sources):
            break
        await host.cycles(1)
    host.check_quiet()
    # What is sent now is discarded as well.
    for source in sources:
        source.send_nowait(AxiStreamFrame([host.rng.getrandbits(64) for _ in range(100)]))
    await host.cycles(150)
    host.check_quiet()
    await host.write("CONTROL", 0)
    assert not any(m.beats for m in host.result_monitors), "a result left after the error"
    assert await host.read("ERROR") == error, "the error must be sticky"
    assert await host.read("STATUS") & 4


async def _recover(host: Host, jobs_before: int = 0) -> None:
    """After CONTROL.reset a correct job passes; ends the bench."""
    await host.abort()
    plan, activations, weights = _plan(host)
    out = await host.product(plan, activations)
    assert np.array_equal(out, matmul(activations, weights)), "wrong after the error"
    await host.finish(jobs_before + len(plan.jobs))


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(fault=tuple(_HEADERS))
async def bad_header(dut: Any, fault: str) -> None:
    """A block header that makes no sense, to a random engine."""
    host = Host(dut, f"bad_header.{fault}")
    await host.begin()
    plan, activations, _ = _plan(host)
    engine = host.rng.randrange(_SHAPE.engines)
    group, local = divmod(engine, _SHAPE.group)
    header = BlockHeader.unpack(int(plan.streams[engine].index[0]))
    data, target = plan.weight_beats(group)
    first = int(np.flatnonzero(target == 2 * local)[0])
    beat = int.from_bytes(data[first].tobytes(), "little")
    changed = replace(header, **_HEADERS[fault]).pack()
    assert changed != header.pack()
    await _start(host, plan)
    for g in range(_SHAPE.groups):
        change = {first: beat >> 64 << 64 | changed} if g == group else None
        host.send_weights(plan, g, change)
    # The weights go ahead: the error must come before any result could.
    await host.cycles(len(data) and 8 + 2 * _SHAPE.group)
    host.send_activations(plan, activations, plan.jobs[0])
    await _expect_halt(host, BAD_HEADER)
    await _recover(host)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def long_tile(dut: Any) -> None:
    """An activation tile with more rows than the buffer holds."""
    host = Host(dut, "long_tile")
    await host.begin()
    plan, _, _ = _plan(host)
    beats = _SHAPE.k_tile * _SHAPE.beats_per_row // _SHAPE.rows_per_beat
    await _start(host, plan)
    frame = [host.rng.getrandbits(_SHAPE.activation_bits) for _ in range(beats + 1)]
    host.activations.send_nowait(AxiStreamFrame(frame))
    await _expect_halt(host, LONG_TILE)
    await _recover(host)


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(withheld=("weights", "tiles"))
async def watchdog(dut: Any, withheld: str) -> None:
    """A stream that never comes; the watchdog fires after WATCHDOG cycles, not before."""
    host = Host(dut, f"watchdog.{withheld}")
    await host.begin()
    plan, activations, _ = _plan(host)
    # Every low bit of the count matters in one of the two.
    await _start(host, plan, watchdog={"weights": 302, "tiles": 301}[withheld])
    if withheld == "weights":
        host.send_activations(plan, activations, plan.jobs[0])
    else:
        for group in range(_SHAPE.groups):
            host.send_weights(plan, group)
    await host.cycles(200)
    assert await host.read("ERROR") == 0, "the watchdog fired too early"
    await _expect_halt(host, WATCHDOG)
    await _recover(host)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def refused_starts(dut: Any) -> None:
    """Starts that are refused leave what the last job wrote into the registers."""
    host = Host(dut, "refused_starts")
    await host.begin()
    plan, activations, _ = _plan(host)
    await host.product(plan, activations)
    jobs = len(plan.jobs)
    names = ("CYCLES", "EVENTS")
    before = [await host.counter(name) for name in names]
    assert all(before), "a job without cycles or events shows nothing"
    await host.write("M_TILES", 0)
    for _ in range(3):
        await host.write("CONTROL", 1)
        await host.cycles(5)
        assert await host.read("STATUS") == 2, "a refused start must leave the last job done"
        assert [await host.counter(name) for name in names] == before, "counters must stay"
        assert await host.read("ERROR") == BAD_START
    await _recover(host, jobs)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def start_while_halted(dut: Any) -> None:
    """An array with an error starts nothing, and keeps what the last job counted."""
    host = Host(dut, "start_while_halted")
    await host.begin()
    plan, activations, _ = _plan(host)
    await host.product(plan, activations)
    names = ("CYCLES", "EVENTS")
    before = [await host.counter(name) for name in names]
    # A tile may come before its job, and this one is too long for any.
    beats = _SHAPE.k_tile * _SHAPE.beats_per_row // _SHAPE.rows_per_beat
    frame = [host.rng.getrandbits(_SHAPE.activation_bits) for _ in range(beats + 1)]
    host.activations.send_nowait(AxiStreamFrame(frame))
    for _ in range(_LIMIT):
        if await host.read("STATUS") & 4:
            break
    for _ in range(3):
        await host.write("CONTROL", 1)
        await host.cycles(5)
        assert await host.read("STATUS") == 6, "an array with an error must not start"
        assert [await host.counter(name) for name in names] == before, "counters must stay"
        assert await host.read("ERROR") == LONG_TILE
    await _recover(host, len(plan.jobs))


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def start_while_busy(dut: Any) -> None:
    """A second start is refused and leaves the running job alone."""
    host = Host(dut, "start_while_busy")
    await host.begin()
    plan, activations, weights = _plan(host)
    activations = activations[: _SHAPE.lanes]
    plan = plan_matmul(_SHAPE, activations, weights, plan.kernel)
    await _start(host, plan)
    await host.write("CONTROL", 1)
    assert await host.read("ERROR") == BAD_START
    # Headers are waited for as long as it takes; what stands in their place meanwhile is none.
    await host.cycles(100)
    assert await host.read("ERROR") == BAD_START, "a header that has not come raised a fault"
    host.send_activations(plan, activations, plan.jobs[0])
    for group in range(_SHAPE.groups):
        host.send_weights(plan, group)
    await host.wait_done(_LIMIT)
    out = await host.check_job(plan, plan.jobs[0])
    assert np.array_equal(out, matmul(activations, weights))
    assert await host.read("ERROR") == BAD_START
    await host.finish(jobs=1)


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def flipped_bits(dut: Any) -> None:
    """A random bit of a random header flipped: the job ends or an error is raised, never a hang."""
    host = Host(dut, "flipped_bits")
    await host.begin()
    # A correct job first writes all tiles and partial sums: a bad header may read any of them.
    depth = _SHAPE.activation_tiles * _SHAPE.k_tile
    activations, weights = operands(host.rng, _SHAPE.lanes, depth, _SHAPE.n_tile, 95)
    kernel = _SHAPE.kernels[0]
    warm = plan_matmul(_SHAPE, activations, fitted(_SHAPE, kernel, weights), kernel)
    await host.product(warm, activations)
    jobs = len(warm.jobs)
    halts = 0
    for _ in range(16):
        plan, activations, _ = _plan(host)
        group = host.rng.randrange(_SHAPE.groups)
        data, target = plan.weight_beats(group)
        first = int(np.flatnonzero(target == 2 * host.rng.randrange(_SHAPE.group))[0])
        beat = int.from_bytes(data[first].tobytes(), "little")
        flipped = beat ^ 1 << host.rng.choice([*range(9), *range(16, 48)])
        await _start(host, plan, watchdog=400)
        for g in range(_SHAPE.groups):
            host.send_weights(plan, g, {first: flipped} if g == group else None)
        host.send_activations(plan, activations, plan.jobs[0])
        for _ in range(_LIMIT):
            status = await host.read("STATUS")
            if status & 6:
                break
        assert status & 6, "neither done nor an error"
        halts += bool(status & 4)
        await host.abort()
    assert halts, "no flipped bit was noticed"
    await _recover(host, jobs)
