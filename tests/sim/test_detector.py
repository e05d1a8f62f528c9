"""The verilated detect top against golden and cycle model, on random arrays and matrices."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flows.build import open_detector
from golden.errors import CheckFailed
from golden.operators.detection import CLUSTER, WIDTHS
from golden.operators.detection_job import DetectionJob, found
from rtl_gen.config import DerivedDetector, DetectConfig, derive, parse
from sim.verilator import DetectorDevice

FIXED = {
    "bytes": {"data_bits": 8, "units": 2, "rows": 16, "event_queue": 2},
    "words": {"data_bits": 64, "units": 5, "rows": 64, "event_queue": 8},
}


def design(*, data_bits: int, units: int, rows: int, event_queue: int) -> DerivedDetector:
    intent = {
        "name": "detector",
        "target": {"device": "generic"},
        "interface": {"top": "detect", "data_bits": data_bits},
        "detect": {"units": units, "rows": rows, "event_queue": event_queue},
    }
    return derive(parse(intent, "test", DetectConfig))


@pytest.fixture(scope="module", params=sorted(FIXED))
def device(request: pytest.FixtureRequest) -> Iterator[DetectorDevice]:
    with open_detector(design(**FIXED[request.param]), level="-O1") as opened:
        yield opened


def assert_as_models(device: DetectorDevice, operand: np.ndarray, threshold: int) -> None:
    job = DetectionJob(device.shape, operand)
    events = device.detect(job, threshold)
    wanted = found(operand, threshold)
    for name in ("row", "column", "value"):
        assert np.array_equal(getattr(events, name), getattr(wanted, name)), name
    count = job.count(threshold)
    assert device.counters == {
        "CYCLES": count.cycles,
        "EVENTS": count.events.sum(),
        "WORDS": count.words.sum(),
        "EMPTY_WORDS": count.empty_words.sum(),
    }
    assert device.tokens == count.tokens.sum()


def random_operand(rng: np.random.Generator) -> np.ndarray:
    size = (int(rng.integers(1, 20)), int(rng.integers(1, 300)))
    operand = rng.integers(-128, 128, size).astype(np.int8)
    operand[rng.random(size) < rng.choice([0.0, 0.5, 0.9, 0.99])] = 0
    operand[rng.random(size) < 0.05] = -128
    # Long runs of full and of empty rows.
    operand[rng.random(len(operand)) < 0.2] = 0
    return operand


def test_random_matrices_and_thresholds(device: DetectorDevice, rng: np.random.Generator):
    for number in range(40):
        threshold = (0, 1, 126, 127, 128, int(rng.integers(0, 129)))[number % 6]
        assert_as_models(device, random_operand(rng), threshold)


@pytest.mark.parametrize("value", [-128, 127, 0, 1])
def test_one_value_everywhere(device: DetectorDevice, value: int):
    for size in ((1, 1), (1, 17), (7, 3), (3, 129)):
        for threshold in (0, 126, 127, 128):
            assert_as_models(device, np.full(size, value, np.int8), threshold)


def test_random_arrays(rng: np.random.Generator):
    width = int(rng.choice(WIDTHS))
    shape = design(
        data_bits=8 * width,
        units=int(rng.choice([1, 3, 8])),
        rows=max(width, 1 << int(rng.integers(1, 17))),
        event_queue=int(rng.choice([2, 4, 64])),
    )
    print(shape.shape)
    with open_detector(shape, level="-O0") as opened:
        for _ in range(25):
            assert_as_models(opened, random_operand(rng), int(rng.integers(0, 129)))


def test_the_largest_array_is_emitted_and_simulated(rng: np.random.Generator):
    shape = design(data_bits=8, units=CLUSTER, rows=256, event_queue=2)
    with open_detector(shape, level="-O0") as opened:
        assert_as_models(opened, random_operand(rng), 10)


class _Claimed(DetectionJob):
    """A job that claims another number of vectors than it has."""

    claim = 0

    @property
    def vectors(self) -> int:
        return super().vectors + self.claim


@pytest.mark.parametrize(
    ("claim", "message"),
    [(1, "timeout: no stream moved for 200 cycles"), (-3, r"ERROR must be 0 .* \(surplus\)")],
)
def test_a_wrong_number_of_vectors_fails(
    device: DetectorDevice, claim: int, message: str, monkeypatch: pytest.MonkeyPatch
):
    job = _Claimed(device.shape, np.ones((6, 9), np.int8))
    monkeypatch.setattr(_Claimed, "claim", claim)
    with (
        DetectorDevice(device.shape, Path(device._library._name)) as fresh,
        pytest.raises(CheckFailed, match=message),
    ):
        fresh.detect(job, 0, limit=200)


def test_counters_must_agree_with_the_streams(
    device: DetectorDevice, monkeypatch: pytest.MonkeyPatch
):
    job = DetectionJob(device.shape, np.ones((6, 9), np.int8))
    with DetectorDevice(device.shape, Path(device._library._name)) as fresh:
        count = fresh.counter
        monkeypatch.setattr(fresh, "counter", lambda name: count(name) + (name == "EVENTS"))
        with pytest.raises(CheckFailed, match="EVENTS must count what the streams carried, 54"):
            fresh.detect(job, 0)
