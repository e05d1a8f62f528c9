"""The bench of the performance table: its report is one."""

from flows.arrays import kernels_config
from flows.bench import BENCHES
from flows.bench.kernels import run
from flows.files import write_json
from flows.measure import measure_table
from golden.formats import STORED
from golden.selector.table import BINS, load_table

PLACES = ((64, 16), (16, 4))


def quiet(*_: object) -> None:
    pass


def test_the_report_holds_a_table(monkeypatch, tmp_path):
    table = measure_table(kernels_config(), quiet, PLACES, rtl=False)
    assert BENCHES["kernels"] is run
    monkeypatch.setattr("flows.bench.kernels.measure_table", lambda *_: table)
    report = run(quiet)
    assert len(report["rows"]) == len(STORED) * len(PLACES) * BINS
    assert all(len(row) == len(report["header"]) for row in report["rows"])
    assert report["figures"]
    write_json(tmp_path / "r.json", {"table": report["table"]})
    assert load_table(tmp_path / "r.json", kernels_config().config_hash) == table
