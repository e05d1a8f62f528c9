"""Matrices through the event-detection array: cut, dealt, packed and joined again."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.operators.detection import DetectorShape, Events, array_cycles, detect
from golden.operators.detection_job import (
    DetectionJob,
    found,
    found_naive,
    pack_events,
    unpack_events,
)

SIZES = [(1, 1), (1, 7), (3, 16), (2, 33), (17, 5), (40, 1), (1, 1000), (9, 257)]


def random_shape(rng: np.random.Generator) -> DetectorShape:
    width = int(rng.choice([1, 2, 4, 8, 16]))
    k_bits = int(rng.integers(max(1, width.bit_length() - 1), 9))
    queue = int(rng.choice([2, 8]))
    return DetectorShape(units=int(rng.integers(1, 12)), width=width, k_bits=k_bits, queue=queue)


def random_operand(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    operand = rng.integers(-128, 128, size).astype(np.int8)
    operand[rng.random(size) < rng.choice([0.0, 0.5, 0.95, 1.0])] = 0
    operand[rng.random(size) < 0.1] = -128
    return operand


def as_tuples(events) -> list[tuple[int, int, int]]:
    columns = (events.row, events.column, events.value)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("threshold", [0, 1, 126, 127, 128])
def test_found_as_specified(threshold: int, rng: np.random.Generator):
    operand = random_operand(rng, (11, 23))
    operand[0, :4] = [-128, 127, -127, 0]
    assert as_tuples(found(operand, threshold)) == found_naive(operand, threshold)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_units_find_is_what_the_matrix_holds(size, rng: np.random.Generator):
    for _ in range(10):
        shape = random_shape(rng)
        job = DetectionJob(shape, random_operand(rng, size))
        threshold = int(rng.choice([0, 3, 127, 128]))
        events = [detect(words, threshold) for words in job.words()]
        joined = job.gather(events)
        assert as_tuples(joined) == found_naive(job.operand, threshold)
        assert joined.value.dtype == np.int8


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_element_is_dealt_once_and_no_unit_idles_for_want_of_cutting(
    size, rng: np.random.Generator
):
    for _ in range(10):
        shape = random_shape(rng)
        job = DetectionJob(shape, random_operand(rng, size))
        dealt = job.dealt()
        assert sum(map(len, dealt)) == job.vectors
        assert max(vector.size for vectors in dealt for vector in vectors) <= shape.rows
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
        turns = [dealt[i % shape.units][i // shape.units] for i in range(job.vectors)]
        assert np.array_equal(np.concatenate(turns), job.operand.reshape(-1))
        words = size[0] * -(-size[1] // shape.width)
        # Equal lengths, in whole words, may leave up to half of the units out.
        assert job.vectors >= min(shape.units, words) / 2


def test_counts_are_those_of_the_array(rng: np.random.Generator):
    shape = DetectorShape(units=3, width=4, k_bits=5, queue=4)
    job = DetectionJob(shape, random_operand(rng, (7, 90)))
    count = job.count(2)
    again = array_cycles(job.dealt(), 2, width=4, queue=4)
    assert count.cycles == again.cycles > 0
    assert count.events.sum() == len(found_naive(job.operand, 2))


def test_events_pack_into_their_fields():
    events = Events(
        np.array([0, 65535, 4]),
        np.array([-128, 127, 0], np.int8),
        np.array([True, True, False]),
        np.array([False, True, True]),
    )
    packed = pack_events(events)
    assert [f"{word:#010x}" for word in packed] == ["0x01800000", "0x017fffff", "0x00000004"]
    back = unpack_events(packed, events.last)
    for name in ("k", "value", "valued", "last"):
        assert np.array_equal(getattr(back, name), getattr(events, name))
    with pytest.raises(ValueError, match="bits outside its fields"):
        unpack_events(np.array([1 << 25], np.uint32), np.array([True]))


def test_gathering_notices_what_is_missing_or_wrong(rng: np.random.Generator):
    shape = DetectorShape(units=2, width=4, k_bits=4, queue=4)
    job = DetectionJob(shape, np.full((6, 10), 9, np.int8))
    events = [detect(words, 0) for words in job.words()]

    def changed(unit: int, **fields) -> list[Events]:
        return [
            Events(**{**vars(mine), **(fields if number == unit else {})})
            for number, mine in enumerate(events)
        ]

    open_ended = events[1].last.copy()
    open_ended[-1] = False
    with pytest.raises(ValueError, match="unit 1: 3 vectors sent, 2 closed"):
        job.gather(changed(1, last=open_ended))
    twice = events[0].last.copy()
    twice[0] = True
    with pytest.raises(ValueError, match="unit 0: 3 vectors sent, 4 closed"):
        job.gather(changed(0, last=twice))
    beyond = events[0].k.copy()
    beyond[3] = 10
    with pytest.raises(ValueError, match="unit 0: an event has a row number outside its vector"):
        job.gather(changed(0, k=beyond))


@pytest.mark.parametrize(
    "operand", [np.zeros((0, 3), np.int8), np.zeros((2, 2), np.int16), np.zeros(4, np.int8)]
)
def test_other_operands_are_refused(operand: np.ndarray):
    shape = DetectorShape(units=2, width=4, k_bits=4, queue=4)
    with pytest.raises(BadInput, match="operand: must be int8 of 2 dimensions and not empty"):
        DetectionJob(shape, operand)


def test_a_shape_has_the_rules_of_a_detector():
    with pytest.raises(BadInput, match="units: must be an integer, 1 to 64, got 65"):
        DetectorShape(units=65, width=4, k_bits=4, queue=4)
    assert DetectorShape(units=64, width=16, k_bits=16, queue=64).rows == 65536
