"""Event detection: loops against numpy, and the cycle model against counts done by hand."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.operators.detection import (
    CLUSTER,
    WIDTHS,
    array_cycles,
    check_detector,
    detect,
    detect_naive,
    raw_words,
    unit_cycles,
)

CORNERS = {
    "all zero": [0] * 37,
    "one zero": [0],
    "one element": [5],
    "nothing": [],
    "dense": list(range(1, 128)),
    "extremes": [-128, 127, -127, 0, 126, -126, 1, -1],
    "first only": [-128] + [0] * 30,
    "last only": [0] * 30 + [127],
}


def operand(rng: np.random.Generator, count: int, density: float) -> list[np.ndarray]:
    vectors = []
    for _ in range(count):
        size = int(rng.choice([0, 1, 2, 7, 13, 31, 64, 97]))
        values = rng.integers(-128, 128, size)
        vectors.append(np.where(rng.random(size) < density, values, 0).astype(np.int8))
    return vectors


def as_tuples(vectors: list[np.ndarray], threshold: int, width: int) -> list[tuple]:
    events = detect(raw_words(vectors, width), threshold)
    fields = (events.k, events.value, events.valued, events.last)
    return list(zip(*(field.tolist() for field in fields), strict=True))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("threshold", [0, 1, 64, 126, 127, 128])
def test_numpy_equals_the_loops(width: int, threshold: int, rng: np.random.Generator):
    vectors = [np.array(values, np.int8) for values in CORNERS.values()]
    vectors += [v for density in (0.02, 0.3, 1.0) for v in operand(rng, 20, density)]
    assert as_tuples(vectors, threshold, width) == detect_naive(vectors, threshold, width)


def test_the_magnitude_of_the_least_number_is_128():
    vector = [np.array([-128, 127, -127], np.int8)]
    assert as_tuples(vector, 126, 4) == [
        (0, -128, True, False),
        (1, 127, True, False),
        (2, -127, True, True),
    ]
    assert as_tuples(vector, 127, 4) == [(0, -128, True, True)]
    assert as_tuples(vector, 128, 4) == [(0, 0, False, True)]


def test_a_vector_closes_with_its_last_word():
    vector = [np.array([3, 0, 0, 0, 0, 0, 0], np.int8)]
    assert as_tuples(vector, 0, 8) == [(0, 3, True, True)]
    assert as_tuples(vector, 0, 4) == [(0, 3, True, False), (4, 0, False, True)]
    assert as_tuples(vector, 0, 1) == [(0, 3, True, False), (6, 0, False, True)]


def cycles_of(values: list[int], width: int) -> int:
    return unit_cycles([np.array(values, np.int8)], 0, width=width).cycles


def test_cycles_counted_by_hand():
    # Accepted in cycle 0, next 1, held 2, taken 3: four cycles for one event.
    assert cycles_of([1], 4) == 4
    assert cycles_of([0], 4) == 4
    # One cycle more per further event, whatever the word boundaries.
    assert cycles_of([1] * 8, 4) == 4 + 7
    assert cycles_of([1] * 8, 1) == 4 + 7
    # Empty words hide behind the four events of the first word: three follow it for free.
    assert cycles_of([1] * 4 + [0] * 12 + [1], 4) == 4 + 4
    # The fifth event waits for its word, which is the tenth; 3 cycles of latency behind it.
    assert cycles_of([1] * 4 + [0] * 32 + [1], 4) == 9 + 4


def test_a_slow_output_holds_the_unit():
    vectors = [np.ones(40, np.int8)]
    quarter = np.array([False, False, False, True])
    # The first event is there in cycle 3, and one is taken every four cycles from then on.
    assert unit_cycles(vectors, 0, width=4, ready=quarter).cycles == 4 * 40
    assert unit_cycles(vectors, 0, width=4, queue=2, ready=quarter).cycles == 4 * 40


@pytest.mark.parametrize("width", WIDTHS)
def test_cycles_lie_between_their_bounds(width: int, rng: np.random.Generator):
    vectors = operand(rng, 60, 0.2)
    count = unit_cycles(vectors, 10, width=width)
    events = detect(raw_words(vectors, width), 10)
    slots = len(events.k)
    assert int(count.events[0]) == int(events.valued.sum())
    assert int(count.tokens[0]) == int((~events.valued).sum())
    words = int(count.words[0])
    assert words == len(raw_words(vectors, width).last)
    hidden = int(count.empty_words[0] - count.tokens[0])
    assert max(slots, words) + 3 <= count.cycles <= slots + hidden + 3


def test_an_array_is_its_units(rng: np.random.Generator):
    lists = [operand(rng, int(rng.integers(0, 6)), 0.3) for _ in range(CLUSTER + 9)]
    count = array_cycles(lists, 3, width=4)
    alone = [unit_cycles(vectors, 3, width=4).cycles for vectors in lists]
    assert count.unit_cycles.tolist() == alone
    assert count.cluster_cycles.tolist() == [max(alone[:CLUSTER]), max(alone[CLUSTER:])]
    assert count.cycles == max(alone)
    block = rng.integers(-3, 4, (5, 3, 29)).astype(np.int8)
    both = array_cycles(block, 2, width=8), array_cycles([list(unit) for unit in block], 2, width=8)
    assert both[0].unit_cycles.tolist() == both[1].unit_cycles.tolist()


def test_many_units(rng: np.random.Generator):
    block = np.where(rng.random((65536, 1, 64)) < 0.1, 9, 0).astype(np.int8)
    count = array_cycles(block, 0, width=8)
    assert count.cluster_cycles.size == 1024
    assert int(count.events.sum()) == int(np.count_nonzero(block))
    sample = int(rng.integers(65536))
    assert count.unit_cycles[sample] == unit_cycles(block[sample], 0, width=8).cycles


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 3}, "width: must be one of 1, 2, 4, 8, 16, got 3"),
        ({"width": 16, "k_bits": 3}, "k_bits: must be an integer, 4 to 16, got 3"),
        ({"width": 4, "queue": 3}, "queue: must be a power of two, 2 to 64, got 3"),
        ({"width": 4, "units": 65}, "units: must be an integer, 1 to 64, got 65"),
    ],
)
def test_bad_parameters(fields: dict, message: str):
    with pytest.raises(BadInput, match=message):
        check_detector(**fields)


def test_bad_operands():
    vector = [np.zeros(3, np.int8)]
    with pytest.raises(BadInput, match="threshold: must be an integer, 0 to 128, got 129"):
        unit_cycles(vector, 129, width=4)
    with pytest.raises(BadInput, match="ready: must be 1-D and true somewhere"):
        unit_cycles(vector, 0, width=4, ready=np.zeros(4, bool))
    with pytest.raises(BadInput, match=r"vectors\[0\]: must be int8 of 1 dimension"):
        raw_words([np.zeros(3, np.int16)], 4)
    with pytest.raises(BadInput, match="operand: must be int8 of 3 dimensions"):
        array_cycles(np.zeros((2, 3), np.int8), 0, width=4)
