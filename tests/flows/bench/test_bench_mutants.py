"""Mutants: a small run of the whole, and each of its judges by itself."""

import json
from pathlib import Path

import pytest
import yaml

from flows import cli
from flows.bench import judged, mutants
from flows.bench.judged import change_of, judged_mutants
from flows.bench.miter import proved_equal
from flows.yosys import run as run_yosys

MODULE = """module counter(input clk, input en, output [3:0] y);
  reg [3:0] count = 4'h0;
  wire [7:0] sum;
  assign sum = {4'h0, count} + {7'h00, en};
  always @(posedge clk) count <= sum[3:0];
  assign y = count;
endmodule
"""


@pytest.mark.slow
def test_two_mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path):
    monkeypatch.setattr(mutants, "_ORDER", ("registers", "cycle_count"))
    report = tmp_path / "r.json"
    status = cli.main(["bench", "mutants", "--count", "2", "--report", str(report)])
    figures = json.loads(report.read_text())
    found = figures["figures"]
    assert len(found) == 2
    assert figures["killed"] + figures["equivalent"] + figures["survived"] == 2
    assert figures["killed"] >= 1, "both benches together must notice one of two at least"
    for mutant in found:
        assert mutant["change"]
        assert (mutant["state"] == "killed") == bool(mutant["by"])
        assert mutant["by"].split(".")[0] in ("registers", "cycle_count", "")
    assert status == (0 if all(bar["met"] for bar in figures["bars"]) else 1)
    # What is known is not run again.
    kept = list((cache / "mutants").rglob("*.json"))
    assert {path.stem for path in kept} == {"1", "2"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mutants", "--count", "0"], "--count: must be at least 1, got 0"),
        (["mutants", "--block", "sf_nothing"], "--block: must be one of sf_array"),
        (["area", "--count", "3"], "bench area: --count: must not be given"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], words: str, capsys):
    assert cli.main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "equal"),
    [
        # Nothing reads the upper half of the sum.
        ("mutate -mode inv -module counter -cell sum_$add_Y -port Y -portbit 6", True),
        ("mutate -mode inv -module counter -cell sum_$add_Y -port Y -portbit 2", False),
    ],
)
def test_a_proof_tells_what_nothing_reads(command: str, equal: bool, tmp_path: Path):
    (tmp_path / "counter.v").write_text(MODULE)
    commands = ["read_verilog counter.v", "proc", "opt_clean", "autoname"]
    run_yosys([*commands, "write_rtlil prepared.il"], tmp_path)
    assert proved_equal(tmp_path / "prepared.il", "counter", command, tmp_path) == equal


def test_judgements_follow_the_lines_that_change(tmp_path: Path, monkeypatch):
    after = MODULE.replace("{7'h00, en}", "{7'h01, en}")
    change = change_of(MODULE, after)
    assert change == [
        "- assign sum = {4'h0, count} + {7'h00, en};",
        "+ assign sum = {4'h0, count} + {7'h01, en};",
    ]
    entry = {"module": "counter", "change": change, "reason": "for the test"}
    (tmp_path / "judged.yaml").write_text(yaml.safe_dump([entry]))
    monkeypatch.setattr(judged, "files", lambda _: tmp_path)
    module = tmp_path / "counter.v"
    module.write_text(MODULE)
    found = judged_mutants([module])
    assert found.reason("counter", change) == "for the test"
    assert found.reason("other", change) is None
    assert found.reason("counter", change[:1]) is None
    assert found.stale == []
    module.write_text(after)
    assert judged_mutants([module]).stale == [entry]


def test_the_judgements_in_force_have_reasons():
    for entry in judged_mutants([]).entries:
        assert set(entry) == {"module", "change", "reason"}
        assert all(line[:2] in ("- ", "+ ") for line in entry["change"])
        assert len(entry["reason"]) > 20
