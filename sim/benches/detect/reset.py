"""Bench: a reset in the middle of a job leaves nothing behind."""

from typing import Any

import cocotb

from golden.operators.detection import raw_words

from ..stimulus import PATTERNS
from .host import SETTINGS, DetectHost
from .stimulus import deal, threshold_of

_SHAPE = SETTINGS.shape
_ROUNDS = 12
_VECTORS = 6


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(pin=(False, True))
async def interrupted_job(dut: Any, pin: bool) -> None:
    """Cut a job at a random cycle by CONTROL.reset or the reset pin, then run another."""
    host = DetectHost(dut, f"interrupted_job.{pin}")
    await host.begin()
    rng = host.rng
    cut = 0
    for _ in range(_ROUNDS):
        host.pace(rng.choice(PATTERNS), rng.choice(PATTERNS))
        dealt = deal(rng, _SHAPE, _VECTORS * _SHAPE.units)
        # One vector more than are sent: only the reset ends this job.
        await host.start(_VECTORS * _SHAPE.units + 1, threshold_of(rng))
        for unit, vectors in enumerate(dealt):
            host.send(unit, raw_words(vectors, _SHAPE.width))
        await host.cycles(rng.randint(1, 3 * _VECTORS * _SHAPE.width))
        cut += await host.read("STATUS") & 1
        await host.abort(pin=pin)

        host.pace(rng.choice(PATTERNS), rng.choice(PATTERNS))
        await host.job(deal(rng, _SHAPE, _VECTORS), threshold_of(rng))
    assert cut == _ROUNDS, f"{cut} of {_ROUNDS} resets met a running job"
    await host.finish(_ROUNDS)
