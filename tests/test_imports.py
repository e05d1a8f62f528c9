"""Imports go one way, and every file belongs to a package that the wheel carries."""

from __future__ import annotations

import ast
import fnmatch
import os
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Package to the packages of ours that it may import.
ALLOWED: dict[str, set[str]] = {
    "golden": set(),
    "constraints": set(),
    "rtl_gen": {"golden", "constraints"},
    "sim": {"rtl_gen", "golden", "constraints"},
    "flows": {"sim", "rtl_gen", "golden", "constraints"},
}
OURS = {*ALLOWED, "tests"}
IGNORED = {"build", "dist", "__pycache__"}


def imported(source: str) -> set[str]:
    """Top-level names that a module imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def forbidden(package: str, source: str) -> set[str]:
    """Packages of ours that ``package`` imports and must not."""
    return (imported(source) & OURS) - ALLOWED[package] - {package}


@cache
def python_files() -> tuple[Path, ...]:
    """Python files of the tree, relative to its root."""
    found = []
    for folder, inside, names in os.walk(ROOT):
        # Not entered: an environment holds ten thousand files.
        inside[:] = [name for name in inside if name not in IGNORED and name[0] != "."]
        found += [Path(folder, name).relative_to(ROOT) for name in names if name.endswith(".py")]
    return tuple(sorted(found))


def test_every_package_is_there():
    found = {path.parts[0] for path in python_files() if path.name == "__init__.py"}
    assert set(ALLOWED) <= found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_go_one_way(package: str):
    wrong = {
        str(path): sorted(names)
        for path in python_files()
        if path.parts[0] == package
        and (names := forbidden(package, (ROOT / path).read_text(encoding="utf-8")))
    }
    assert wrong == {}, f"{package} may import {sorted(ALLOWED[package]) or 'nothing of ours'}"


@pytest.mark.parametrize(
    ("package", "source", "names"),
    [
        ("golden", "import rtl_gen.mac", {"rtl_gen"}),
        ("golden", "def f():\n    from flows import cli", {"flows"}),
        ("rtl_gen", "from sim import harness\nfrom golden import errors", {"sim"}),
        ("constraints", "import golden as g, numpy", {"golden"}),
        ("flows", "import sim, rtl_gen, golden, constraints, flows.synth", set()),
        ("flows", "from tests.conftest import seed", {"tests"}),
        ("sim", "from . import harness\nimport simple", set()),
    ],
)
def test_the_rule_catches_what_it_should(package: str, source: str, names: set[str]):
    assert forbidden(package, source) == names


def modules(source: str, package: tuple[str, ...]) -> set[str]:
    """Full names of the modules that a file of a package imports, and of what it takes."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def uses_benches(source: str, package: tuple[str, ...] = ("flows",)) -> bool:
    return any(f"{name}.".startswith("flows.bench.") for name in modules(source, package))


def test_benches_are_no_library():
    """What the product needs lives in the product; `sparsefuse bench` alone calls the benches."""
    users = {
        path.as_posix()
        for path in python_files()
        if path.parts[0] != "tests"
        and uses_benches((ROOT / path).read_text(encoding="utf-8"), path.parts[:-1])
    }
    assert {u for u in users if not u.startswith("flows/bench/")} == {"flows/commands/bench.py"}


@pytest.mark.parametrize(
    ("source", "package", "found"),
    [
        ("def f():\n    from flows.bench.demo import run", ("flows",), True),
        ("from flows import bench", ("flows",), True),
        ("import flows.bench.area as area", ("rtl_gen",), True),
        ("from .bench import BENCHES", ("flows",), True),
        ("from ..bench.bars import Bar", ("flows", "models"), True),
        ("from . import bench", ("flows", "commands"), False),
        ("import flows.benches", ("flows",), False),
    ],
)
def test_a_use_of_a_bench_is_seen(source: str, package: tuple[str, ...], found: bool):
    assert uses_benches(source, package) == found


def test_every_python_file_is_in_a_known_package():
    strays = [str(path) for path in python_files() if path.parts[0] not in OURS]
    assert strays == []


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for path in python_files() if path.parts[0] in ALLOWED}
    missing = [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()]
    assert missing == []


def test_the_wheel_carries_every_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    data = project["tool"]["setuptools"]["package-data"]["*"]
    # Without the leading `**/` setuptools leaves out folders that hold data and no module.
    assert all(pattern.startswith("**/") for pattern in data)
    patterns = ["*.py", *(pattern.removeprefix("**/") for pattern in data)]
    left_out = [
        str(path.relative_to(ROOT))
        for package in ALLOWED
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
    ]
    assert left_out == []


def test_the_wheel_lists_exactly_the_known_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(include) == sorted([*ALLOWED, *(f"{name}.*" for name in ALLOWED)])
