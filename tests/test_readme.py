"""The README's commands and configuration, run as a user would type them."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from constraints.presets import preset_text
from flows.cli import main
from rtl_gen.config import load

README = (Path(__file__).parents[1] / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _commands() -> list[list[str]]:
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("sparsefuse")]


def test_readme_begins_with_its_two_commands() -> None:
    demo, test = README.index("make demo"), README.index("make test")
    assert demo < test < README.index("## ")


@pytest.mark.slow
def test_readme_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("A.npy", rng.integers(-128, 128, (5, 40)).astype(np.int8))
    np.save("W.npy", rng.integers(-128, 128, (40, 9)).astype(np.int8))
    commands = _commands()
    assert {words[1] for words in commands} >= {"init", "generate", "simulate", "synth", "matmul"}
    for words in commands:
        if words[1] == "simulate":
            # The benches draw a fresh seed for a user; all of them run in `tests.sim.test_benches`.
            words += ["--seed", str(seed), "--bench", "registers"]
        assert main(words[1:]) == 0, words
        if words[1] == "init":
            # The same commands on the smallest design, to keep the run short.
            Path("design.yaml").write_text(preset_text("test"))


def test_readme_configuration_loads(tmp_path: Path) -> None:
    (block,) = _blocks("yaml")
    path = tmp_path / "design.yaml"
    path.write_text(block)
    assert load(str(path)) == load("edge")
