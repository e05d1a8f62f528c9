"""One printed seed for all randomness of a run; ``--seed N`` replays it."""

from __future__ import annotations

import secrets
import zlib

import numpy as np
import pytest

_KEY = "sparsefuse_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed", type=int, default=None, help="seed of all random stimuli (default: a fresh one)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        shared = getattr(config, "workerinput", {}).get(_KEY)
        config.option.seed = secrets.randbelow(2**31) if shared is None else shared


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Hand the seed to the worker processes of pytest-xdist, which would each draw their own."""
    node.workerinput[_KEY] = node.config.option.seed


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (replay with --seed {config.option.seed})"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Seed of this test: differs between tests, follows from the run's seed and the test's name.

    Printed, so that a failure shows what replays it.
    """
    run = request.config.option.seed
    print(f"replay: pytest '{request.node.nodeid}' --seed {run}")
    return zlib.crc32(f"{run}:{request.node.nodeid}".encode())


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """Random generator of this test alone."""
    return np.random.default_rng(seed)
