"""Room in a memory that one side fills in beats while the other reads on from a base."""

from amaranth.hdl import Module, Mux, Signal

__all__ = ["beat_counter"]


def beat_counter(m: Module, write: Signal, tail: Signal, space: Signal) -> Signal:
    """Count the beats written; keep one beat free for what is under way.

    Two comparisons of counters take half of the look-up tables of a count of the beats in use.

    Args:
        m: the module; gains the counter.
        write: a beat is written in this cycle.
        tail: oldest beat that must stay, modulo twice the memory's beats.
        space: driven low while at most one beat is free; a beat is free a cycle after ``tail``
            left it.

    Returns:
        Beats written so far, modulo twice the memory's beats.
    """
    written = Signal.like(tail)
    beat_after = Signal.like(tail, init=1)
    full = Signal.like(tail)
    following = Signal.like(tail)
    free = Signal(init=1)
    m.d.comb += [
        full.eq(tail ^ (1 << (len(tail) - 1))),
        following.eq(beat_after + 1),
        space.eq(free),
    ]
    # A register: the write of this cycle counts at once, what is freed a cycle later.
    m.d.sync += free.eq((beat_after != full) & (Mux(write, following, written) != full))
    with m.If(write):
        m.d.sync += [written.eq(beat_after), beat_after.eq(following)]
    return written
