"""An encoder written from docs/formats.md: naive loops, nothing of the product's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["ENCODERS", "Encoded", "columns_of", "entry_words", "header_word", "value_words"]


def header_word(code: int, rows: int, columns: int, flags: str) -> int:
    names = ("first", "final", "tile_end", "segment_end", "job_end", "exact")
    bits = sum(1 << (4 + place) for place, name in enumerate(names) if name in flags.split())
    return code | bits | (columns - 1) << 16 | (rows - 1) << 32 | 32768 << 48


def entry_words(entries: list[int], bits: int) -> list[int]:
    words, most = [], 64 // bits
    for number, entry in enumerate(entries):
        if number % most == 0:
            words.append(0)
        words[-1] |= entry << bits * (number % most)
    return words


def value_words(values: list[int]) -> list[int]:
    words = [0] * -(-len(values) // 8)
    for number, value in enumerate(values):
        words[number // 8] |= (value & 0xFF) << 8 * (number % 8)
    return words


Encoded = tuple[list[int], list[int]]
Columns = list[list[int]]


def _dense(columns: Columns) -> Encoded:
    return [], [value for column in columns for value in column]


def _bitmap(columns: Columns) -> Encoded:
    words = []
    for column in columns:
        own = [0] * -(-len(column) // 64)
        for row, value in enumerate(column):
            own[row // 64] |= (value != 0) << row % 64
        words += own
    return words, [value for column in columns for value in column if value]


def _runlength(columns: Columns, gap_bits: int = 4) -> Encoded:
    end, pad = 2**gap_bits - 1, 2**gap_bits - 2
    entries, values = [], []
    for column in columns:
        zeros = 0
        for value in column:
            if value == 0:
                zeros += 1
                continue
            while zeros >= pad:
                entries.append(pad)
                zeros -= pad
            entries.append(zeros)
            values.append(value)
            zeros = 0
        entries.append(end)
    return entry_words(entries, gap_bits), values


def _nm(columns: Columns, nm_n: int = 2, nm_m: int = 4) -> Encoded:
    entries, values = [], []
    for column in columns:
        for low in range(0, len(column), nm_m):
            run = (column[low : low + nm_m] + [0] * nm_m)[:nm_m]
            slots = [place for place in range(nm_m) if run[place]]
            for place in range(nm_m):
                if len(slots) < nm_n and not run[place]:
                    slots.append(place)
            entries += sorted(slots)
            values += [run[place] for place in sorted(slots)]
    return entry_words(entries, {2: 1, 4: 2, 8: 3, 16: 4}[nm_m]), values


def _block(columns: Columns, block_rows: int = 8) -> Encoded:
    entries, values = [], []
    for column in columns:
        for chunk in range(0, len(column), 16):
            entry = 0
            for run in range(16 // block_rows):
                low = chunk + run * block_rows
                rows = column[low : min(low + block_rows, chunk + 16)]
                if any(rows):
                    entry |= 1 << run
                    values += rows
            entries.append(entry)
    return entry_words(entries, 16 // block_rows), values


def _band(columns: Columns) -> Encoded:
    entries, values = [], []
    for column in columns:
        held = [row for row, value in enumerate(column) if value]
        if not held:
            entries.append(0)
            continue
        run = column[held[0] : held[-1] + 1]
        entries.append(held[0] | len(run) << 16)
        values += run
    return entry_words(entries, 32), values


def _raw(columns: Columns) -> Encoded:
    return [word for column in columns for word in value_words(column)], []


ENCODERS: dict[str, Callable[..., Encoded]] = {
    "dense": _dense,
    "bitmap": _bitmap,
    "runlength": _runlength,
    "nm": _nm,
    "block": _block,
    "band": _band,
    "raw": _raw,
}


def columns_of(block: np.ndarray) -> Columns:
    return [[int(value) for value in column] for column in block.T]
