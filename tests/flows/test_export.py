"""``matmul --export``: its files alone are enough to run the product and to read the weights."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from constraints.presets import preset_text
from flows.build import open_device
from flows.cli import main
from golden.formats import KERNELS
from golden.formats.block_header import BlockHeader
from golden.operators.matmul import matmul_naive
from rtl_gen.config import derive, load
from sim.benches.model import ArrayModel

# Rows, depth, outputs, share of zeros; engines that a column's rows are cut among.
PRODUCTS = {
    "padding": (6, 37, 11, 0.6, 1),
    "one of each": (1, 1, 1, 0.0, 1),
    "several segments": (9, 100, 90, 0.3, 1),
    "weights streamed": (9, 700, 12, 0.0, 1),
    "k parts": (5, 130, 6, 0.5, 2),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "design.yaml"
    path.write_text(preset_text("test"))
    return path


def export(folder: Path, config: Path, case: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Write the operands of a case and export their product; the operands."""
    rows, depth, outputs, zeros, parts = PRODUCTS[case]
    document = yaml.safe_load(config.read_text())
    document["schedule"]["unroll"]["k"] = parts
    config.write_text(yaml.safe_dump(document))
    rng = np.random.default_rng(seed)
    a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < zeros] = 0
    w[rng.random(depth) < zeros / 2] = 0
    np.save(folder / "a.npy", a)
    np.save(folder / "w.npy", w)
    files = ["--activations", str(folder / "a.npy"), "--weights", str(folder / "w.npy")]
    out = ["--engine", "golden", "--export", str(folder / "export")]
    assert main(["matmul", str(config), *files, *out]) == 0
    return a, w


def hex_beats(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Data, uint8 (beats, bytes), and the side bands of a file for `$readmemh`."""
    lines = [line.split("_") for line in path.read_text().splitlines()]
    data = np.array([list(bytes.fromhex(line[-1])[::-1]) for line in lines], np.uint8)
    sides = [np.array([int(line[i], 16) for line in lines]) for i in range(len(lines[0]) - 1)]
    return data, sides


class Exported:
    """What a testbench makes of the folder: streams to send, and results by their tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = json.loads((folder / "plan.json").read_text())
        self.registers: list[list[tuple[int, int]]] = []
        self.segments = 1  # the file has the tiles of all segments
        self.jobs = [range(job["m_tiles"]) for job in self.about["jobs"]]
        self._sent = 0
        self._done = 0

    def weight_beats(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        data, (target,) = hex_beats(self.folder / f"weights_{group}.hex")
        return data, target.astype(np.uint8)

    def activation_beats(self, _: object, job: range) -> tuple[np.ndarray, np.ndarray]:
        data, (last,) = hex_beats(self.folder / f"job_{self._sent:03}" / "activations.hex")
        self._sent += 1
        return data, last.astype(bool)

    @property
    def streams(self) -> list[SimpleNamespace]:
        """How many columns to expect of each engine, for the device's buffers."""
        found, job = [], self.about["jobs"][self._done]
        for result in job["results"]:
            tids = np.load(self.folder / f"{result['file']}_columns.npy")[:, 0]
            counts = np.bincount(tids, minlength=self.about["group"]) // job["m_tiles"]
            found += [SimpleNamespace(columns=[range(count)]) for count in counts]
        return found

    def collect(self, _: range, results: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Check every column of a job against its file; the job's rows of the product."""
        job = self.about["jobs"][self._done]
        self._done += 1
        out = np.zeros((self.about["outputs"], job["m_tiles"] * self.about["lanes"]), np.uint32)
        for (data, engines), result in zip(results, job["results"], strict=True):
            beats, (tid, last) = hex_beats(self.folder / f"{result['file']}.hex")
            columns = np.load(self.folder / f"{result['file']}_columns.npy")
            per = self.about["beats_per_column"]
            assert len(beats) == result["beats"] == per * result["columns"]
            assert np.array_equal(np.flatnonzero(last), np.arange(per - 1, len(beats), per))
            expected = beats.reshape(len(columns), -1).view("<i4")
            assert np.array_equal(expected, np.load(self.folder / f"{result['file']}.npy"))
            assert np.array_equal(tid[::per], columns[:, 0])
            for engine in range(self.about["group"]):
                mine = columns[:, 0] == engine
                assert np.array_equal(data[engines == engine], expected[mine])
            for value, (_, m_tile, column) in zip(expected, columns, strict=True):
                if column >= 0:
                    low = m_tile * self.about["lanes"]
                    out[column, low : low + self.about["lanes"]] += value.view(np.uint32)
        return np.ascontiguousarray(out.view(np.int32).T[: job["rows"]])


@pytest.mark.parametrize("case", PRODUCTS)
def test_the_generated_verilog_computes_the_product_from_the_files(case, tmp_path, config, seed):
    a, w = export(tmp_path, config, case, seed)
    wanted = matmul_naive(a, w)
    exported = Exported(tmp_path / "export")
    written = []
    with open_device(derive(load(config)), level="-O1") as device:
        registers = {0x1C: "M_TILES", 0x10: "CONTROL"}
        for job in exported.about["jobs"]:
            lines = (tmp_path / "export" / job["folder"] / "registers.hex").read_text().split()
            written.append([[int(part, 16) for part in line.split("_")] for line in lines])
            assert [registers[address] for address, _ in written[-1]] == ["M_TILES", "CONTROL"]
            assert written[-1][0][1] == job["m_tiles"]
            assert [[r["address"], r["value"]] for r in job["registers"]] == written[-1]
        output = device.matmul(exported, np.empty(0))  # pyright: ignore[reportArgumentType]
    assert np.array_equal(output, wanted)
    assert np.array_equal(np.load(tmp_path / "export" / "product.npy"), wanted)
    words = (tmp_path / "export" / "product.hex").read_text().split()
    assert np.array_equal(
        np.array([int(x, 16) for x in words], np.uint32), wanted.ravel().view("<u4")
    )
    for job in exported.about["jobs"]:
        rows = np.load(tmp_path / "export" / job["folder"] / "product.npy")
        assert np.array_equal(rows, wanted[job["first_row"] : job["first_row"] + job["rows"]])


def test_the_cases_are_what_their_names_say(tmp_path, config, seed):
    about = {}
    for case in PRODUCTS:
        (tmp_path / case).mkdir()
        export(tmp_path / case, config, case, seed)
        about[case] = json.loads((tmp_path / case / "export" / "plan.json").read_text())
    assert about["several segments"]["segments"] > 1
    assert len(about["weights streamed"]["jobs"]) > 1
    assert len(about["padding"]["jobs"]) == 1
    assert about["padding"]["depth_sent"] < 37


@pytest.mark.parametrize("case", PRODUCTS)
def test_weights_and_results_are_decoded_from_the_files(case, tmp_path, config, seed):
    """By the storage formats alone: headers, index words and values of every engine."""
    _, w = export(tmp_path, config, case, seed)
    shape = derive(load(config)).shape
    exported = Exported(tmp_path / "export")
    rows = np.load(tmp_path / "export" / "rows.npy")
    kernel_of = {kernel.code: kernel.configured(shape) for kernel in KERNELS.values()}
    decoded = np.zeros(w.shape, np.int64)
    for group in range(shape.groups):
        data, target = exported.weight_beats(group)
        columns = np.load(tmp_path / "export" / "job_000" / f"results_{group}_columns.npy")
        for engine in range(shape.group):
            index, values = (
                np.ascontiguousarray(data[target == 2 * engine + ring]).view("<u8").reshape(-1)
                for ring in (0, 1)
            )
            mine = columns[(columns[:, 0] == engine) & (columns[:, 1] == 0)][:, 2]
            at = value_at = first_column = row = 0
            ended = False
            while not ended:
                header = BlockHeader.unpack(int(index[at]))
                kernel = kernel_of[header.kernel]
                raw = values.view(np.int8)[value_at:]
                block = kernel.decode(index[at + 1 :], raw, header.depth, header.columns)
                words, bytes_ = kernel.encode(block)
                at += 1 + len(words)
                value_at += len(bytes_)
                places = mine[first_column : first_column + header.columns]
                real = places >= 0
                place = np.ix_(rows[row : row + header.depth], places[real])
                # An engine may hold several parts of a column.
                np.add.at(decoded, place, block[:, real])
                row += header.depth * header.tile_end
                if header.segment_end:
                    # Value words are not shared between segments.
                    first_column, row, value_at = (
                        first_column + header.columns,
                        0,
                        -(-value_at // 8) * 8,
                    )
                ended = bool(header.job_end)
    wanted = np.zeros(w.shape, np.int64)
    wanted[rows] = w[rows]
    assert np.array_equal(wanted, w)
    assert np.array_equal(decoded, w)
    # The bench's own model of the array, fed with the beats, gives the columns of the files.
    model = ArrayModel(shape)
    for number, job in enumerate(exported.about["jobs"]):
        data, last = exported.activation_beats(None, exported.jobs[number])
        for beat, end in zip(data, last, strict=True):
            model.activation_beat(int.from_bytes(beat.tobytes(), "little"), bool(end))
        for group in range(shape.groups):
            beats, target = exported.weight_beats(group)
            for beat, place in zip(beats, target, strict=True):
                model.weight_beat(group, int(place), int.from_bytes(beat.tobytes(), "little"))
        expected = model.finish(job["m_tiles"])
        for engine, found in enumerate(expected.columns):
            group, place = divmod(engine, shape.group)
            name = tmp_path / "export" / job["folder"] / f"results_{group}"
            tids = np.load(f"{name}_columns.npy")[:, 0]
            assert np.array_equal(found, np.load(f"{name}.npy")[tids == place])


def test_arrays_hold_what_the_text_holds(tmp_path, config, seed):
    export(tmp_path, config, "padding", seed)
    folder = tmp_path / "export"
    for name, side in (("weights_1", "tdest"), ("job_000/activations", "tlast")):
        data, (band,) = hex_beats(folder / f"{name}.hex")
        assert np.array_equal(data, np.load(folder / f"{name}.npy"))
        assert np.array_equal(band, np.load(folder / f"{name}_{side}.npy"))
    guide = (folder / "README.md").read_text()
    about = json.loads((folder / "plan.json").read_text())
    assert f"| job_000 | {about['jobs'][0]['m_tiles']} | 0 to 5 " in guide
    for path in folder.rglob("*.hex"):
        stem = path.name.replace("0", "<g>").replace("1", "<g>")
        assert stem in guide or f"job_<j>/{stem}" in guide, stem


def test_the_folder_is_new_or_empty_and_whole(tmp_path, config, seed, capsys, monkeypatch):
    (tmp_path / "export").mkdir()
    export(tmp_path, config, "one of each", seed)
    before = sorted(path.name for path in (tmp_path / "export").rglob("*"))
    files = ["--activations", str(tmp_path / "a.npy"), "--weights", str(tmp_path / "w.npy")]
    command = ["matmul", str(config), *files, "--engine", "golden"]
    capsys.readouterr()
    assert main([*command, "--export", str(tmp_path / "export"), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'export'}: --export: must be a new or empty folder, got one" in error
    assert sorted(path.name for path in (tmp_path / "export").rglob("*")) == before
    assert not (tmp_path / "o").exists()
    (tmp_path / "file").write_text("mine")
    assert main([*command, "--export", str(tmp_path / "file")]) == 2
    assert "must be a new or empty folder, got a file" in capsys.readouterr().err
    inside = tmp_path / "new" / "o.npy"
    assert main([*command, "--export", str(tmp_path / "new"), "--out", str(inside)]) == 2
    assert "--out: must not lie in what --export writes" in capsys.readouterr().err

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flows.export.expected_results", full)
    assert main([*command, "--export", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()
