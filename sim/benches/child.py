"""Build and run in a process of its own: cocotb's runner prints, and reads the environment.

``python -P -m sim.benches.child`` in a build folder that holds ``job.json``.
"""

import json
from pathlib import Path

from cocotb_tools.runner import get_runner

from sim.benches.process import BUILD

_TOP = "sparsefuse"


def main() -> None:
    """Do what ``job.json`` says; a failure leaves a traceback and a status other than 0."""
    job = json.loads(Path("job.json").read_text("utf-8"))
    runner = get_runner(job["simulator"])
    if job["step"] == "build":
        runner.build(
            sources=job["sources"],
            hdl_toplevel=_TOP,
            build_dir=BUILD,
            build_args=job["build_args"],
            timescale=("1ns", "1ps"),
            waves=job["waves"],
            always=True,
        )
        return
    runner.test(
        test_module=[f"sim.benches.{bench}" for bench in job["benches"]],
        hdl_toplevel=_TOP,
        hdl_toplevel_lang="verilog",
        build_dir=job["build_dir"],
        test_dir=".",
        seed=job["seed"],
        plusargs=job["plusargs"],
        waves=job["waves"],
        test_filter=job["only"],
        results_xml=str(Path("results.xml").resolve()),
    )


if __name__ == "__main__":
    main()
