"""Bench: a reset in the middle of a job leaves nothing behind."""

from typing import Any

import cocotb
import numpy as np

from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul

from .host import SETTINGS, Host
from .stimulus import PATTERNS, fitted, operands

_SHAPE = SETTINGS.shape
_ROUNDS = 12


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(pin=(False, True))
async def interrupted_job(dut: Any, pin: bool) -> None:
    """Cut a job at a random cycle by CONTROL.reset or the reset pin, then run another."""
    host = Host(dut, f"interrupted_job.{pin}")
    await host.begin()
    rng = host.rng
    size = (_SHAPE.lanes + 1, _SHAPE.k_tile + 3, 2 * _SHAPE.engines)
    jobs = cut = 0
    for number in range(_ROUNDS):
        kernel = _SHAPE.kernels[number % len(_SHAPE.kernels)]
        host.pace(rng.choice(PATTERNS), rng.choice(PATTERNS))
        activations, weights = operands(rng, *size, 50)
        weights = fitted(_SHAPE, kernel, weights)
        plan = plan_matmul(_SHAPE, activations, weights, kernel)
        job = plan.jobs[0]
        await host.write("M_TILES", len(job))
        await host.write("CONTROL", 1)
        host.send_activations(plan, activations, job)
        for group in range(_SHAPE.groups):
            host.send_weights(plan, group)
        await host.cycles(rng.randint(1, 3 * _SHAPE.k_tile))
        cut += await host.read("STATUS") & 1
        await host.abort(pin=pin)

        host.pace(rng.choice(PATTERNS), rng.choice(PATTERNS))
        activations, weights = operands(rng, *size, 0)
        weights = fitted(_SHAPE, kernel, weights)
        plan = plan_matmul(_SHAPE, activations, weights, kernel)
        out = await host.product(plan, activations)
        assert np.array_equal(out, matmul(activations, weights)), f"wrong after reset {number}"
        jobs += len(plan.jobs)
    assert cut >= _ROUNDS // 4, f"only {cut} of {_ROUNDS} resets met a running job"
    await host.finish(jobs)
