"""One printed seed for all randomness of a run, the same every time unless ``--seed`` says other.

Luck is tried elsewhere: ``make soak`` runs the same tests with fresh seeds, see `tests.soak`.
Slow tests come first, so that both workers end together, and ``-m random`` selects the tests that
take a seed.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from flows.cache import cache_folder

DEFAULT_SEED = 20260709
"""Seed of a run that names none.  Any other must do as well."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed",
        type=int,
        default=DEFAULT_SEED,
        help=f"seed of all random stimuli (default: {DEFAULT_SEED}, in every run)",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (replay with --seed {config.option.seed})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is random, and put the files that hold slow tests before the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    for item in items:
        if "seed" in getattr(item, "fixturenames", ()):
            item.add_marker("random")
    # Files stay whole: tests that share a fixture of their module run on the same worker.
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Seed of this test: differs between tests, follows from the run's seed and the test's name.

    Printed, so that a failure shows what replays it.
    """
    run = request.config.option.seed
    print(f"replay: pytest '{request.node.nodeid}' --seed {run}")
    return zlib.crc32(f"{run}:{request.node.nodeid}".encode())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own cache folder, but for what Verilator's library is compiled to."""
    kept = cache_folder("verilator")
    kept.mkdir(parents=True, exist_ok=True)
    own = tmp_path / "cache" / "sparsefuse"
    own.mkdir(parents=True)
    (own / "verilator").symlink_to(kept)
    monkeypatch.setenv("XDG_CACHE_HOME", str(own.parent))
    return own


@pytest.fixture
def fixed_rng() -> np.random.Generator:
    """The same numbers under every seed: for what is true of an example, not of every draw."""
    return np.random.default_rng(1)


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """Random generator of this test alone."""
    return np.random.default_rng(seed)
