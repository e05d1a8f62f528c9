"""Whether a mutation changes nothing between a module's ports, registers, memories and instances.

Registers, memories and instances become ports of the module, so that what is left is combinational
and a SAT solver can compare it for all inputs.  Many mutations sit on bits that nothing reads.
"""

from pathlib import Path

from flows.yosys import run as run_yosys
from golden.errors import CheckFailed

__all__ = ["proved_equal"]

_TIMEOUT_S = 60


def proved_equal(prepared: Path, module: str, command: str, folder: Path) -> bool:
    """Prove that a mutation leaves its module what it was.

    Args:
        prepared: RTLIL of the design.
        module: the module that the mutation changes.
        command: the Yosys command that mutates the design.
        folder: existing, for the log.

    Returns:
        True if it is proved, False if it is refuted, or nothing was found out in time.
    """

    def opened(name: str) -> list[str]:
        return [
            f"memory_collect {module}",
            f"opt_clean {module}",
            f"expose -evert-dff {module}/c:*",
            f"expose -evert {module}/t:$mem* {module}/t:sf_* %u {module}/t:sparsefuse.* %u",
            f"rename {module} {name}",
            f"design -stash {name}",
        ]

    commands = [f"read_rtlil {prepared}", "design -save prepared", *opened("gold")]
    commands += ["design -load prepared", command, *opened("gate")]
    commands += ["design -copy-from gold gold", "design -copy-from gate gate"]
    commands += ["miter -equiv -flatten -make_outputs gold gate miter", "hierarchy -top miter"]
    commands += [f"sat -verify -timeout {_TIMEOUT_S} -prove trigger 0 miter"]
    try:
        run_yosys(commands, folder, timeout_s=4.0 * _TIMEOUT_S, log_name="miter.log")
    except CheckFailed:
        # Other ports, a counter-example, or no time left.
        return False
    return True
