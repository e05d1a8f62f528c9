"""Objects of Verilator's library kept between builds, and the lock around a build."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.verilator import find_compiler
from sim.verilator.runtime import bundled, keep_objects, lend_objects, locked, object_folder
from tests.bins import draws


def test_whole_objects_are_lent_and_truncated_ones_are_not(tmp_path: Path):
    made, kept, lent = (tmp_path / name for name in ("made", "kept", "lent"))
    made.mkdir()
    lent.mkdir()
    for name, size in (("a.o", 100), ("b.o", 7)):
        (made / name).write_bytes(os.urandom(size))
    assert lend_objects(kept, lent) == []
    keep_objects(kept, [made / "a.o", made / "b.o"])
    (kept / "b.o.7").write_bytes(b"cut")
    assert lend_objects(kept, lent) == [lent / "a.o"]
    assert (lent / "a.o").read_bytes() == (made / "a.o").read_bytes()
    # What was cut short is replaced by the next that is kept.
    keep_objects(kept, [made / "b.o"])
    assert lend_objects(kept, lent) == [lent / "a.o", lent / "b.o"]
    assert (lent / "b.o").read_bytes() == (made / "b.o").read_bytes()
    assert sorted(path.name for path in kept.iterdir()) == ["a.o.100", "b.o.7"]


def test_other_options_have_objects_of_their_own(tmp_path: Path):
    compiler = find_compiler()
    first, again, other = (
        object_folder(tmp_path, compiler, o) for o in (["-O1"], ["-O1"], ["-O2"])
    )
    assert first == again != other


@pytest.mark.parametrize(("most", "files"), [(1, 1), (2, 2), (9, 5)])
def test_each_unit_is_in_one_bundle(tmp_path: Path, most: int, files: int):
    units = [tmp_path / f"u{number}.cpp" for number in range(5)]
    for number, unit in enumerate(units):
        unit.write_text("x" * 10 * (number + 1))
    joined = bundled(units, tmp_path, "fast", most)
    assert len(joined) == files
    lines = [line for path in joined for line in path.read_text().splitlines()]
    assert sorted(lines) == [f'#include "{unit.name}"' for unit in units]


def test_one_process_at_a_time_holds_the_lock(tmp_path: Path):
    script = (
        "import sys, time; from pathlib import Path; from sim.verilator.runtime import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    Path(sys.argv[1]).write_text('built')"
    )
    library = tmp_path / "cache" / "array.so"
    with locked(library):
        other = subprocess.Popen([sys.executable, "-c", script, str(library)])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(2)
        assert not library.exists()
    assert other.wait(60) == 0
    assert library.read_text() == "built"


def test_draws_go_on_until_the_bins_are_filled_and_no_further():
    seen: list[int] = []
    for number in draws(3, lambda: len(seen) > 4):
        seen.append(number)
    assert seen == [0, 1, 2, 3, 4]
    assert list(draws(3, lambda: True)) == [0, 1, 2]
    with pytest.raises(AssertionError, match="a bin stayed empty in 6 draws"):
        list(draws(3, lambda: False, most=6))
