"""What docs/array.md says of the streams, as naive loops."""

from __future__ import annotations

import numpy as np
import pytest

from golden.formats import KERNELS
from golden.program.plan import Plan
from golden.program.results import expected_results
from golden.program.streams import Part, encode_stream
from golden.shape import ArrayShape
from tests.golden.plans import widths

SHAPE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=16, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=128, kernels=tuple(KERNELS), mac="packed",
)  # fmt: skip


def _plan(rng: np.random.Generator, shape: ArrayShape) -> tuple[Plan, np.ndarray, np.ndarray]:
    """Two segments by hand: 7 columns on 4 engines, of which two stay without work in the second.

    Returns:
        the plan, activations (9, 40) and weights (40, 7).
    """
    weights = rng.integers(-128, 128, (40, 7)).astype(np.int8)
    weights[rng.random(weights.shape) < 0.6] = 0
    activations = rng.integers(-128, 128, (9, 40)).astype(np.int8)
    dealt = [[[0, 4], [1]], [[5], [6]], [[2], []], [[3], []]]
    bounds = np.array([0, 16, 32, 40])
    formats = {name: KERNELS[name].configured(shape) for name in shape.kernels}
    streams = []
    for engine, segments in enumerate(dealt):
        names = ("bitmap", "band", "runlength") if engine % 2 else ("dense", "raw", "block")
        encoded, columns = [], []
        for own in segments:
            held = weights[:, own] if own else np.zeros((40, 1), np.int8)
            tiles = zip(names, bounds, bounds[1:], strict=False)
            encoded.append([[Part(name, held[low:high])] for name, low, high in tiles])
            columns.append(np.array(own or [-1]))
        streams.append(encode_stream(formats, encoded, columns))
    plan = Plan(
        shape=shape, rows=9, depth=40, outputs=7, kept=np.arange(40), bounds=bounds,
        streams=streams, segments=2, replay=True,
    )  # fmt: skip
    return plan, activations, weights


WIDTHS = [SHAPE, *(ArrayShape(**{**SHAPE.__dict__, **sizes}) for sizes in (
    {"lanes": 16, **widths(64)}, widths(64), {"lanes": 2, **widths(512)},
    {"activation_bits": 64, "result_bits": 64}, {"activation_bits": 256},
))]  # fmt: skip


def _name(shape: ArrayShape) -> str:
    bits = f"{shape.activation_bits}, {shape.data_bits} and {shape.result_bits} bits"
    return f"{bits}, {shape.lanes} lanes"


@pytest.mark.parametrize("shape", WIDTHS, ids=_name)
def test_weight_beats(shape: ArrayShape, rng: np.random.Generator):
    plan, _, _ = _plan(rng, shape)
    for group in range(2):
        data, targets = plan.weight_beats(group)
        rings: dict[int, list[int]] = {}
        for beat, target in zip(data, targets, strict=True):
            words = [
                int.from_bytes(beat[i : i + 8].tobytes(), "little") for i in range(0, len(beat), 8)
            ]
            assert len(words) == shape.data_bits // 64
            rings.setdefault(int(target), []).extend(words)
        for engine in range(2):
            stream = plan.streams[2 * group + engine]
            for ring, words in enumerate((stream.index.tolist(), stream.values.tolist())):
                got = rings.pop(2 * engine + ring, [])
                assert got[: len(words)] == words
                assert not any(got[len(words) :])
                assert len(got) - len(words) < shape.data_bits // 64
        assert not rings


@pytest.mark.parametrize("shape", WIDTHS, ids=_name)
def test_activation_beats(shape: ArrayShape, rng: np.random.Generator):
    plan, activations, _ = _plan(rng, shape)
    (job,) = plan.jobs
    data, last = plan.activation_beats(activations, job)
    tiles = np.split(data, np.flatnonzero(last) + 1)
    assert not len(tiles.pop())
    for m_tile in range(len(job)):
        for low, high in ((0, 16), (16, 32), (32, 40)):
            stream = [int(byte) for byte in tiles.pop(0).reshape(-1).view(np.int8)]
            at = 0
            for k in range(low, high):
                for lane in range(shape.lanes):
                    token = m_tile * shape.lanes + lane
                    assert stream[at] == (int(activations[token, k]) if token < 9 else 0)
                    at += 1
            assert not any(stream[at:])
            assert len(stream) - at < shape.activation_bits // 8
    assert not tiles


@pytest.mark.parametrize("shape", WIDTHS, ids=_name)
def test_results(shape: ArrayShape, rng: np.random.Generator):
    plan, activations, weights = _plan(rng, shape)
    (job,) = plan.jobs
    exact = activations.astype(int) @ weights.astype(int)
    arrived = []
    idle = 0
    for group, found in enumerate(expected_results(plan, activations, job)):
        arrived.append((found.data, found.engines))
        at = 0
        for engine in range(2):
            for columns in plan.streams[2 * group + engine].columns:
                for m_tile in range(len(job)):
                    for column in columns:
                        assert found.engines[at] == engine
                        for lane in range(shape.lanes):
                            token = m_tile * shape.lanes + lane
                            real = column >= 0 and token < 9
                            assert found.data[at, lane] == (exact[token, column] if real else 0)
                        idle += column < 0
                        at += 1
        assert at == len(found.data)
    assert idle == 2 * len(job)
    assert np.array_equal(plan.collect(job, arrived), exact)
