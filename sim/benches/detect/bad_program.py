"""Bench: jobs that no host should send set their error and hang nothing."""

from typing import Any

import cocotb
import numpy as np

from golden.operators.detection import raw_words

from .host import ERROR_BITS, SETTINGS, DetectHost
from .stimulus import deal

_SHAPE = SETTINGS.shape
_LIMIT = 20_000


def _send(host: DetectHost, unit: int, *vectors: np.ndarray) -> None:
    host.send(unit, raw_words(vectors, _SHAPE.width))


async def _expect_halt(host: DetectHost, error: str) -> None:
    """The error alone is set, all words are taken, nothing comes out."""
    for _ in range(_LIMIT):
        if await host.read("STATUS") & 4:
            break
    assert await host.read("ERROR") == ERROR_BITS[error], f"ERROR {await host.read('ERROR')}"
    assert not await host.read("STATUS") & 2, "a job with an error must not be done"
    events = [monitor.beats for monitor in host.event_monitors]
    # What is sent now is discarded.
    for unit in range(_SHAPE.units):
        _send(host, unit, np.full(min(3, _SHAPE.rows), 9, np.int8), np.zeros(1, np.int8))
    for _ in range(_LIMIT):
        if all(source.idle() for source in host.sources):
            break
        await host.cycles(1)
    host.check_quiet()
    await host.cycles(50)
    assert [m.beats for m in host.event_monitors] == events, "an event left after the error"
    assert await host.read("ERROR") == ERROR_BITS[error], "the error must be sticky"
    await host.write("CONTROL", 1)
    assert await host.read("ERROR") & ~ERROR_BITS["bad_start"] == ERROR_BITS[error]
    await host.cycles(20)
    assert [m.beats for m in host.event_monitors] == events, "a start undid the error"


async def _recover(host: DetectHost) -> None:
    """After CONTROL.reset a correct job passes; ends the bench."""
    await host.abort()
    await host.job(deal(host.rng, _SHAPE, 3 * _SHAPE.units), 5)
    await host.finish(jobs=1)


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def long_vector(dut: Any) -> None:
    """A vector of one row more than can be counted, on a random unit."""
    host = DetectHost(dut, "long_vector")
    await host.begin()
    await host.start(2 * _SHAPE.units, 0)
    unit = host.rng.randrange(_SHAPE.units)
    for monitor in host.monitors:
        # An event on its way may be withheld.
        monitor.steady = False
    _send(host, unit, np.zeros(_SHAPE.rows + 1, np.int8))
    await _expect_halt(host, "long_vector")
    await _recover(host)


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(how=("behind", "together", "open"))
async def surplus(dut: Any, how: str) -> None:
    """Words of more vectors than the job has, taken before it has ended."""
    host = DetectHost(dut, f"surplus.{how}")
    await host.begin()
    for monitor in host.monitors:
        # An event on its way may be withheld.
        monitor.steady = False
    one = np.array([7], np.int8)
    if how == "behind":
        _send(host, 0, one, one)
    elif how == "together":
        for unit in range(_SHAPE.units):
            _send(host, unit, one, one)
    else:
        _send(host, 0, one, np.zeros(_SHAPE.rows, np.int8))
    await host.start(1, 0)
    await _expect_halt(host, "surplus")
    await _recover(host)


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def surplus_at_the_end(dut: Any) -> None:
    """One vector too many, offered later and later: an error, or the next job's first vector."""
    host = DetectHost(dut, "surplus_at_the_end")
    await host.begin()
    late = refused = 0
    unit = _SHAPE.units - 1
    while late < 3:
        for monitor in host.monitors:
            monitor.steady = False
        await host.start(1, 0)
        _send(host, 0, np.array([7], np.int8))
        await host.cycles(1 + refused + late)
        _send(host, unit, np.array([0], np.int8))
        for _ in range(_LIMIT):
            status = await host.read("STATUS")
            if status & 6:
                break
        taken = host.sources[unit].idle()
        if status & 4:
            assert await host.read("ERROR") == ERROR_BITS["surplus"]
            assert not late, "the later of two vectors was surplus, the earlier was not"
            refused += 1
            await host.abort()
            continue
        assert status & 7 == 2, "neither done nor an error"
        assert not taken, "a vector of the next job was taken"
        late += 1
        # It stands at the port until the next start.
        await host.write("CONTROL", 1)
        await host.wait_done(_LIMIT)
        assert host.sources[unit].idle()
        assert await host.counter("WORDS") == 1
        assert await host.counter("EVENTS") == 0
        await host.abort()
    assert refused, "no vector was early enough to be surplus"
    await _recover(host)


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(withheld=("words", "events"))
async def watchdog(dut: Any, withheld: str) -> None:
    """Words that never come, or events that nobody takes: an error after WATCHDOG cycles."""
    host = DetectHost(dut, f"watchdog.{withheld}")
    await host.begin()
    if withheld == "events":
        for monitor in host.monitors:
            # The event that nobody took is withheld at last.
            monitor.steady = False
        for sink in host.sinks:
            sink.pause = True
    await host.start(2, 0, watchdog=300)
    _send(host, 0, np.array([7], np.int8))
    await host.cycles(200)
    assert await host.read("ERROR") == 0, "the watchdog fired too early"
    for _ in range(_LIMIT):
        if await host.read("STATUS") & 4:
            break
    for sink in host.sinks:
        sink.pause = False
    await _expect_halt(host, "watchdog")
    await _recover(host)


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def slow_but_alive(dut: Any) -> None:
    """A vector every now and then does not wake the watchdog."""
    host = DetectHost(dut, "slow_but_alive")
    await host.begin()
    count = 5
    await host.start(count, 0, watchdog=60)
    for _ in range(count):
        _send(host, host.rng.randrange(_SHAPE.units), np.array([3], np.int8))
        await host.cycles(40)
    await host.wait_done(_LIMIT)
    await host.check_job()
    await host.write("WATCHDOG", 0)
    await host.finish(jobs=1)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def start_while_busy(dut: Any) -> None:
    """A second start is refused; it and writes to the job's registers leave the job alone."""
    host = DetectHost(dut, "start_while_busy")
    await host.begin()
    dealt = deal(host.rng, _SHAPE, 3 * _SHAPE.units)
    vectors = sum(map(len, dealt))
    await host.start(vectors, 3)
    await host.write("VECTORS", 1)
    await host.write("THRESHOLD", 128)
    await host.write("CONTROL", 1)
    assert await host.read("ERROR") == ERROR_BITS["bad_start"]
    for unit, mine in enumerate(dealt):
        _send(host, unit, *mine)
    await host.write("VECTORS", vectors)
    await host.wait_done(_LIMIT)
    await host.check_job()
    assert await host.read("ERROR") == ERROR_BITS["bad_start"]
    await host.finish(jobs=1)
