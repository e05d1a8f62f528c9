"""Register map of the detect top; hardware, C header and documentation all come from it."""

from .registers import REGISTERS, Register

__all__ = ["DETECT_ERRORS", "DETECT_IDENTITY", "DETECT_REGISTERS", "DETECT_VERSION"]

DETECT_IDENTITY = int.from_bytes(b"SFED", "big")
DETECT_VERSION = 0x0001_0000
"""Interface version, major << 16 | minor."""

_OF_ARRAY = {register.name: register for register in REGISTERS}
"""What means the same in both tops is described once."""

DETECT_ERRORS = (
    ("long_vector", 0, 0, "A vector had more rows than row numbers can count; they have wrapped."),
    ("surplus", 1, 1, "Words beyond those of the job's last vector were taken."),
    ("watchdog", 2, 2, "Nothing moved for WATCHDOG cycles while busy."),
    (
        "bad_start",
        3,
        3,
        "Start while busy, with VECTORS 0 or with THRESHOLD above 128; the start was ignored.",
    ),
)

DETECT_REGISTERS = (
    Register("IDENTITY", 0x00, "ro", DETECT_IDENTITY, 'ASCII "SFED".'),
    _OF_ARRAY["VERSION"],
    _OF_ARRAY["CONFIG_HASH"],
    Register(
        "GEOMETRY",
        0x0C,
        "ro",
        0,
        "Size of the event-detection array.",
        (
            ("units", 7, 0, "Units, each with a stream of words and a stream of events."),
            ("width", 15, 8, "W, bytes of a word."),
            ("row_bits", 20, 16, "A vector has at most 2 to the power of this many rows."),
            ("queue", 31, 24, "Events that a unit's queue holds."),
        ),
    ),
    Register(
        "CONTROL",
        0x10,
        "rw",
        0,
        "Commands; reads as 0.",
        (
            ("start", 0, 0, "Write 1: begin a job with VECTORS and THRESHOLD as they stand."),
            ("reset", 1, 1, "Write 1: reset the units, the counters and all errors."),
        ),
    ),
    Register(
        "STATUS",
        0x14,
        "ro",
        0,
        "State.",
        (
            ("busy", 0, 0, "A job is running; words are taken only then."),
            ("done", 1, 1, "The last job has ended without an error; cleared by start."),
            (
                "error",
                2,
                2,
                "A bit of ERROR other than bad_start is set: words are discarded and events "
                "withheld until CONTROL.reset.",
            ),
        ),
    ),
    Register("ERROR", 0x18, "ro", 0, "Sticky errors; cleared by CONTROL.reset.", DETECT_ERRORS),
    Register("VECTORS", 0x1C, "rw", 1, "Vectors of the next job, over all units, at least 1."),
    _OF_ARRAY["WATCHDOG"],
    Register(
        "THRESHOLD",
        0x24,
        "rw",
        0,
        "Of the next job, 0 to 128 (bits 7:0): an element is an event if its magnitude is larger.",
    ),
    Register(
        "CYCLES_LOW",
        0x28,
        "ro",
        0,
        "Cycles of the last job, from the first that could take a word to the one that took its "
        "last event; reading holds the rest.",
    ),
    _OF_ARRAY["CYCLES_HIGH"],
    Register(
        "EVENTS_LOW",
        0x30,
        "ro",
        0,
        "Events of the last job, close tokens not counted; reading holds the rest.",
    ),
    _OF_ARRAY["EVENTS_HIGH"],
    Register("WORDS_LOW", 0x38, "ro", 0, "Words of the last job; reading holds the rest."),
    Register("WORDS_HIGH", 0x3C, "ro", 0, "Upper half, as held by the last read of WORDS_LOW."),
    Register(
        "EMPTY_WORDS_LOW",
        0x40,
        "ro",
        0,
        "Those of them that held no event; reading holds the rest.",
    ),
    Register(
        "EMPTY_WORDS_HIGH", 0x44, "ro", 0, "Upper half, as held by the last read of its lower one."
    ),
)
