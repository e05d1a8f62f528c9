"""The examples of docs/formats.md, as the page prints them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["EXAMPLES", "MANUAL", "MATRICES", "SECTIONS", "Example", "named"]

MANUAL = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", MANUAL, re.DOTALL | re.MULTILINE))
TEXTS = re.findall(r"^```text\n(.*?)^```", MANUAL, re.DOTALL | re.MULTILINE)


@dataclass
class Example:
    """Words of one printed stream, with what the manual prints behind them."""

    title: str
    headers: list[tuple[int, str]] = field(default_factory=list)
    index: list[tuple[int, str]] = field(default_factory=list)
    value: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[list[int]] = field(default_factory=list)

    @property
    def kernel(self) -> str:
        return self.title.split(",")[0].split()[1]

    @property
    def matrix(self) -> str:
        return re.findall(r"matrix (\w)", self.title)[0]

    @property
    def parameters(self) -> dict[str, int]:
        named = re.findall(r"(\w+) (\d+)", self.title)
        return {name: int(value) for name, value in named}

    @property
    def stream(self) -> list[int]:
        """Headers and index words as they follow each other."""
        return [word for block in self.blocks for word in block]


def _example(text: str) -> Example:
    title, *lines = text.splitlines()
    example = Example(title)
    for line in lines:
        kind, number, comment = re.fullmatch(
            r"(header|index|value) +([0-9a-f]{8}_[0-9a-f]{8})(?: +(.*))?", line
        ).groups()  # pyright: ignore[reportOptionalMemberAccess]
        word = int(number.replace("_", ""), 16), comment or ""
        {"header": example.headers, "index": example.index, "value": example.value}[kind].append(
            word
        )
        if kind == "header":
            example.blocks.append([])
        if kind != "value":
            (example.blocks or [[]])[-1].append(word[0])
    return example


def _matrices() -> dict[str, np.ndarray]:
    found = {}
    for text in TEXTS:
        if not text.startswith("matrix "):
            continue
        title, *lines = text.splitlines()
        if lines[0].startswith("rows "):
            matrix = np.zeros((int(lines[0].split()[1]), 1), np.int8)
            for line in lines[1:]:
                column, row, value = map(int, re.findall(r"-?\d+", line))
                matrix[row, column] = value
        else:
            rows = [line.split(":") for line in lines]
            assert [name for name, _ in rows] == [f"column {i}" for i in range(len(rows))]
            matrix = np.array([list(map(int, values.split())) for _, values in rows], np.int8).T
        found[title.split()[1]] = matrix
    return found


MATRICES = _matrices()
EXAMPLES = [_example(text) for text in TEXTS if text.startswith("example ")]


def named(start: str) -> Example:
    (text,) = [text for text in TEXTS if text.startswith(start)]
    return _example(text)
