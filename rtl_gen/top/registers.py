"""Register map of the array top; hardware, C header and documentation all come from it."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ERRORS",
    "IDENTITY",
    "REGISTERS",
    "SELECTOR_REGISTERS",
    "VERSION",
    "Register",
    "address_of",
    "registers_of",
]

IDENTITY = int.from_bytes(b"SFUS", "big")
VERSION = 0x0001_0000
"""Interface version, major << 16 | minor."""


@dataclass(frozen=True)
class Register:
    """One 32-bit register; ``access`` is ``ro`` or ``rw``, ``fields`` maps a field to its bits."""

    name: str
    address: int
    access: str
    reset: int
    text: str
    fields: tuple[tuple[str, int, int, str], ...] = ()


ERRORS = (
    ("bad_header", 0, 0, "A block header named an unknown kernel, no columns or a bad depth."),
    ("long_tile", 1, 1, "An activation tile had more rows than the buffer; the rest was dropped."),
    ("watchdog", 2, 2, "Nothing moved for WATCHDOG cycles while busy."),
    (
        "bad_start",
        3,
        3,
        "Start while busy, with M_TILES 0, or with an operand of no rows or columns; the start was "
        "ignored.",
    ),
    (
        "fusion_weights",
        4,
        4,
        "The weights of a column, over all its k tiles, do not sum to 32768, nor are all 32768 in "
        "exact mode; only in arrays built with fusion.",
    ),
    (
        "bad_selector",
        5,
        5,
        "A write to a selector or operand register broke its rule and was ignored; only in arrays "
        "built with the selector.",
    ),
    (
        "operand_length",
        6,
        6,
        "TLAST of the operand stream did not come with the operand's last word alone; only in "
        "arrays built with the selector.",
    ),
)

REGISTERS = (
    Register("IDENTITY", 0x00, "ro", IDENTITY, 'ASCII "SFUS".'),
    Register("VERSION", 0x04, "ro", VERSION, "Interface version, major << 16 | minor."),
    Register("CONFIG_HASH", 0x08, "ro", 0, "First 32 bits of the configuration's hash."),
    Register(
        "GEOMETRY",
        0x0C,
        "ro",
        0,
        "Size of the array.",
        (
            ("lanes", 7, 0, "V, rows of activations computed together."),
            ("group", 15, 8, "Engines per weight and result port."),
            ("engines", 31, 16, "P, columns computed together."),
        ),
    ),
    Register(
        "CONTROL",
        0x10,
        "rw",
        0,
        "Commands; reads as 0.",
        (
            ("start", 0, 0, "Write 1: begin a job."),
            ("reset", 1, 1, "Write 1: reset the array, its rings and all errors."),
        ),
    ),
    Register(
        "STATUS",
        0x14,
        "ro",
        0,
        "State.",
        (
            ("busy", 0, 0, "A job is running."),
            ("done", 1, 1, "The last job has ended; cleared by start."),
            (
                "error",
                2,
                2,
                "A bit of ERROR other than bad_start and bad_selector is set: inputs are discarded "
                "and results withheld until CONTROL.reset.",
            ),
        ),
    ),
    Register("ERROR", 0x18, "ro", 0, "Sticky errors; cleared by CONTROL.reset.", ERRORS),
    Register("M_TILES", 0x1C, "rw", 1, "Tiles of tokens in the job, 1 to 255 (bits 7:0)."),
    Register("WATCHDOG", 0x20, "rw", 0, "Cycles without progress that raise an error; 0: never."),
    Register("CYCLES_LOW", 0x28, "ro", 0, "Busy cycles of the last job; reading holds the rest."),
    Register("CYCLES_HIGH", 0x2C, "ro", 0, "Upper half, as held by the last read of CYCLES_LOW."),
    Register("EVENTS_LOW", 0x30, "ro", 0, "Valued events of the last job; reading holds the rest."),
    Register("EVENTS_HIGH", 0x34, "ro", 0, "Upper half, as held by the last read of EVENTS_LOW."),
)

_Q88 = "unsigned Q8.8"

SELECTOR_REGISTERS = (
    Register(
        "SELECTOR_ALPHA",
        0x40,
        "rw",
        0xFFFF_0100,
        f"Weight of a candidate's error, {_Q88}. Wants SELECTOR_CONTROL.restart.",
        (
            ("rest", 15, 0, "Where it begins and returns to."),
            ("most", 31, 16, "How far it may rise, at least rest."),
        ),
    ),
    Register(
        "SELECTOR_BETA",
        0x44,
        "rw",
        0x0000_0100,
        f"Weight of a candidate's cycles, {_Q88}. Wants SELECTOR_CONTROL.restart.",
        (
            ("rest", 15, 0, "Where it begins and returns to."),
            ("least", 31, 16, "How far it may fall, at most rest."),
        ),
    ),
    Register(
        "SELECTOR_BUDGET",
        0x48,
        "rw",
        0x8000_FFFF,
        "What the weights adapt to.",
        (
            ("error", 15, 0, "Running error that they hold, Q16; bits 30:16 must be 0."),
            ("adapt", 31, 31, "They adapt."),
        ),
    ),
    Register(
        "SELECTOR_CONTROL",
        0x4C,
        "rw",
        0,
        "Commands; reads as 0. Only while no block is on its way.",
        (("restart", 0, 0, "Write 1: weights to rest, running error to 0."),),
    ),
    Register(
        "SELECTOR_ERROR", 0x50, "ro", 0, "Running error as the last choice left it, Q16 (15:0)."
    ),
    Register(
        "SELECTOR_WEIGHTS",
        0x54,
        "ro",
        0x0100_0100,
        f"Weights as the last choice left them, {_Q88}.",
        (("alpha", 15, 0, "Of errors."), ("beta", 31, 16, "Of cycles.")),
    ),
    Register("SELECTOR_CHOICES", 0x58, "ro", 0, "Choices taken since the last reset."),
    Register(
        "TABLE_ADDRESS",
        0x60,
        "rw",
        0,
        "Word of the performance table that TABLE_HIGH writes next; below the table's size.",
    ),
    Register("TABLE_LOW", 0x64, "rw", 0, "Lower half of that word."),
    Register(
        "TABLE_HIGH",
        0x68,
        "rw",
        0,
        "Upper half: stores the word and steps TABLE_ADDRESS, which ends behind the table. Only "
        "while no block is on its way. Reads as 0.",
    ),
    Register("OPERAND_ROWS", 0x70, "rw", 0, "Rows K of a run-time operand, 1 to 131072."),
    Register("OPERAND_COLUMNS", 0x74, "rw", 0, "Its columns N, 1 to 1048575."),
    Register(
        "OPERAND_SHARE",
        0x78,
        "rw",
        0,
        "Its columns per engine and pass, at most selector.columns of the manifest; 0: jobs take "
        "their weights from the weight streams. The three only while not busy.",
    ),
)
"""Only in arrays with the fuse selector; see `golden.selector.table` for the table's words."""


def registers_of(selector: bool) -> tuple[Register, ...]:
    """Registers of an array with or without the fuse selector."""
    return (*REGISTERS, *SELECTOR_REGISTERS) if selector else REGISTERS


def address_of(name: str, registers: Sequence[Register] | None = None) -> int:
    """Byte address of a register of ``registers``, by default of the array with all it can have."""
    known = registers_of(True) if registers is None else registers
    return next(r.address for r in known if r.name == name)
