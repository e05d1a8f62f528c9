"""Atomic writing and checked reading."""

import json
import os
import re
import stat

import numpy as np
import pytest

from flows import files
from flows.files import (
    MARKER,
    atomic_folder,
    check_outputs,
    load_npy,
    write_bytes,
    write_json,
    write_text,
)
from golden.errors import BadInput


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_are_written_and_replaced(tmp_path):
    write_text(tmp_path / "a.txt", "é\n")
    write_text(tmp_path / "a.txt", "second\n")
    write_bytes(tmp_path / "new" / "deep" / "b.bin", b"\0\1")
    write_json(tmp_path / "c.json", {"b": 1, "a": [2]})
    assert (tmp_path / "a.txt").read_text() == "second\n"
    assert (tmp_path / "new" / "deep" / "b.bin").read_bytes() == b"\0\1"
    assert (tmp_path / "c.json").read_text().startswith('{\n  "a"')
    assert json.loads((tmp_path / "c.json").read_text()) == {"a": [2], "b": 1}
    assert entries(tmp_path) == ["a.txt", "c.json", "new"]
    assert entries(tmp_path / "new" / "deep") == ["b.bin"]


@pytest.mark.parametrize(
    ("value", "error"), [(float("nan"), ValueError), ({1, 2}, TypeError)], ids=["nan", "set"]
)
def test_what_is_no_json_leaves_the_old_file(tmp_path, value, error):
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(error, match="JSON"):
        write_json(path, value)
    assert path.read_text() == "1\n"
    assert entries(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_while_writing_leaves_nothing(tmp_path, monkeypatch, error, step):
    write_text(tmp_path / "old.txt", "old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)) as raised:
        write_text(tmp_path / "old.txt", "new")
    if isinstance(error, OSError):
        assert raised.value.filename == str(tmp_path / "old.txt")
    with pytest.raises(type(error)):
        write_text(tmp_path / "made" / "new.txt", "new")
    assert entries(tmp_path) == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


def test_permissions_follow_the_mask_or_the_old_file(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o600)
    write_text(tmp_path / "new", "again")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_links_are_followed_and_devices_written(tmp_path):
    write_text(tmp_path / "real", "1")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "2"
    write_text("/dev/null", "gone")
    assert not os.path.isfile("/dev/null")


def test_output_that_can_not_be_a_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="must not be a folder"):
        write_text(tmp_path, "x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInput, match="usable path"):
        write_text(tmp_path / "loop", "x")
    with pytest.raises(BadInput, match="usable path"):
        write_text("a\0b", "x")


def build(path, names, text="x"):
    with atomic_folder(path) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def build_and_raise(path, error):
    with atomic_folder(path) as folder:
        (folder / "b").write_text("half")
        raise error


def test_a_folder_is_built_and_replaced(tmp_path):
    out = tmp_path / "new" / "out"
    build(out, ["a", "sub/b"])
    assert entries(out) == [MARKER, "a", "sub"]
    build(out, ["sub/c"], "second")
    assert entries(out) == [MARKER, "sub"]
    assert entries(out / "sub") == ["c"]
    assert (out / "sub" / "c").read_text() == "second"
    assert entries(out.parent) == ["out"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(143)])
def test_an_error_while_building_changes_nothing(tmp_path, error):
    build(tmp_path / "out", ["a"])
    for target in ("out", "made/deep"):
        with pytest.raises(type(error)):
            build_and_raise(tmp_path / target, error)
    assert entries(tmp_path) == ["out"]
    assert entries(tmp_path / "out") == [MARKER, "a"]


def test_a_failed_swap_restores_the_old_folder(tmp_path, monkeypatch):
    build(tmp_path / "out", ["a"])
    rename, calls = os.rename, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(files.os, "rename", second_fails)
    with pytest.raises(OSError, match="No space"):
        build(tmp_path / "out", ["b"])
    assert len(calls) == 3
    assert entries(tmp_path) == ["out"]
    assert entries(tmp_path / "out") == [MARKER, "a"]


def test_files_of_others_are_kept(tmp_path):
    out = tmp_path / "out"
    build(out, ["a", "sub/b"])
    (out / "notes.md").write_text("mine")
    (out / "sub" / "waves").mkdir()
    (out / "sub" / "waves" / "w.vcd").write_text("mine too")
    (out / "link").symlink_to("notes.md")
    for _ in range(2):
        build(out, ["c"])
        assert entries(out) == [MARKER, "c", "link", "notes.md", "sub"]
        assert (out / "notes.md").read_text() == "mine"
        assert (out / "link").is_symlink()
        assert (out / "sub" / "waves" / "w.vcd").read_text() == "mine too"


@pytest.mark.parametrize("name", ["c", "c/d"])
def test_a_file_of_others_is_never_overwritten(tmp_path, name):
    out = tmp_path / "out"
    build(out, ["a"])
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(BadInput, match="must not hold a file of others"):
        build(out, ["c"])
    assert (out / name).read_text() == "mine"
    assert entries(tmp_path) == ["out"]


def test_folders_that_are_not_ours_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="must not be a file"):
        build(tmp_path / "file", ["a"])
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(BadInput, match=r"holds thesis\.tex"):
        build(tmp_path / "home", ["a"])
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(BadInput, match="working folder"):
        build(".", ["a"])
    with pytest.raises(BadInput, match="working folder"):
        build("..", ["a"])
    monkeypatch.chdir(tmp_path)
    build(tmp_path / "empty", ["a"])
    assert entries(tmp_path) == ["empty", "file", "home"]


@pytest.mark.parametrize("dtype", ["int8", "int32"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_are_read_in_any_layout(tmp_path, rng, dtype, order, version):
    array = np.asarray(rng.integers(-128, 128, (5, 7)), dtype=dtype, order=order)
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array(stream, array, version=version)
    read = load_npy(tmp_path / "a.npy", dtype=dtype)
    assert read.dtype == np.dtype(dtype)
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, array)


def header(text):
    body = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


class Trap:
    """An object whose unpickling would be noticed."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def bad_npy(tmp_path):
    path = tmp_path / "a.npy"
    good = np.ones((4, 4), np.int8)

    def saved(array, **options):
        def write():
            np.save(path, array, **options)

        return write

    def raw(data):
        return lambda: path.write_bytes(data)

    def zipped():
        with path.open("wb") as stream:
            np.savez(stream, good)

    np.save(path, good)
    whole = path.read_bytes()
    shape = "{'descr': '|i1', 'fortran_order': False, 'shape': %s, }"
    return path, {
        "missing": (lambda: path.unlink(), "must be an existing .npy file"),
        "folder": (lambda: (path.unlink(), path.mkdir()), "must be a .npy file, got a folder"),
        "empty": (raw(b""), "must be a .npy file"),
        "text": (raw(b"1,2\n3,4\n"), "must be a .npy file"),
        "zip": (zipped, "must be a .npy file"),
        "pickle": (saved(np.array([[Trap()]]), allow_pickle=True), "never unpickled"),
        "record": (saved(np.zeros((2, 2), [("a", "i1")])), "must have dtype int8"),
        "uint8": (saved(good.astype(np.uint8)), "must have dtype int8, got uint8"),
        "int64": (saved(good.astype(np.int64)), "must have dtype int8, got int64"),
        "float": (saved(good.astype(float)), "must have dtype int8, got float64"),
        "bool": (saved(good.astype(bool)), "must have dtype int8, got bool"),
        "flat": (saved(good.ravel()), "must have 2 dimensions, got shape (16,)"),
        "cube": (saved(good.reshape(2, 2, 4)), "must have 2 dimensions"),
        "scalar": (saved(np.int8(3)), "must have 2 dimensions, got shape ()"),
        "no rows": (saved(good[:0]), "must not be empty, got shape (0, 4)"),
        "no columns": (saved(good[:, :0]), "must not be empty, got shape (4, 0)"),
        "cut": (raw(whole[:-1]), "must hold 16 bytes of data for shape (4, 4), got 15"),
        "cut header": (raw(whole[:20]), "must be a .npy file"),
        "version": (raw(whole[:6] + b"\x09" + whole[7:]), "must be a .npy file"),
        "huge": (raw(header(shape % "(1000000000, 1000000000)")), "must hold 10000000000"),
        "negative": (raw(header(shape % "(-1, 4)")), "must not be empty"),
        "no dict": (raw(header("[1, 2]")), "must be a .npy file"),
        "code": (raw(header("__import__('os').abort()")), "must be a .npy file"),
    }


@pytest.mark.parametrize("kind", [
    "missing", "folder", "empty", "text", "zip", "pickle", "record", "uint8", "int64", "float",
    "bool", "flat", "cube", "scalar", "no rows", "no columns", "cut", "cut header", "version",
    "huge", "negative", "no dict", "code",
])  # fmt: skip
def test_a_file_that_is_not_the_array_is_refused(tmp_path, kind):
    path, kinds = bad_npy(tmp_path)
    prepare, expected = kinds[kind]
    prepare()
    with pytest.raises(BadInput) as refusal:
        load_npy(path, field="weights")
    message = str(refusal.value)
    assert message.startswith(f"{path}: weights: must ")
    assert expected in message
    assert ", got " in message
    assert "\n" not in message
    # In our own words, whatever numpy's parser says.
    assert not re.search(r"magic|pickle\b|parse|literal|ast|EOF|header is", message), message


def paths_to_one_file(folder):
    """Pairs of paths that name the same file, by how."""
    (folder / "deep").mkdir()
    (folder / "real").write_text("x")
    (folder / "soft").symlink_to("real")
    (folder / "dangling").symlink_to("absent")
    (folder / "around").symlink_to("deep")
    os.link(folder / "real", folder / "hard")
    return {
        "the same": ("a", "a"),
        "another way": ("deep/../a", "a"),
        "link": ("soft", "real"),
        "dangling link": ("dangling", "absent"),
        "linked folder": ("around/a", "deep/a"),
        "hard link": ("hard", "real"),
    }


@pytest.mark.parametrize(
    "how", ["the same", "another way", "link", "dangling link", "linked folder", "hard link"]
)
def test_one_file_is_not_written_twice_nor_over_what_is_read(tmp_path, how):
    pair = [tmp_path / name for name in paths_to_one_file(tmp_path)[how]]
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for one, other in (pair, pair[::-1]):
        message = f"{other}: --report: must be another file than --out, got the same"
        with pytest.raises(BadInput) as refusal:
            check_outputs({"--out": one, "--scales": None, "--report": other}, {})
        assert str(refusal.value) == message
        with pytest.raises(BadInput) as refusal:
            check_outputs({"--out": one}, {"CONFIG": "edge", "--weights": str(other)})
        message = f"{one}: --out: must not be a file that is read, got that of --weights"
        assert str(refusal.value) == message
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_names_that_differ_in_case_alone_may_be_one_file(tmp_path):
    with pytest.raises(BadInput, match="must be another file than --out"):
        check_outputs({"--out": tmp_path / "O.npy", "--report": tmp_path / "o.npy"}, {})
    (tmp_path / "A.npy").write_text("x")
    insensitive = (tmp_path / "a.npy").exists()
    if not insensitive:
        check_outputs({"--out": tmp_path / "a.npy"}, {"--weights": tmp_path / "A.npy"})


def test_a_file_is_not_written_into_a_folder_that_appears_whole(tmp_path):
    for outputs in (
        {"--pictures": tmp_path / "p", "--report": tmp_path / "p" / "r.json"},
        {"--report": tmp_path / "p" / "r.json", "--pictures": tmp_path / "p"},
    ):
        with pytest.raises(BadInput, match="--report: must not lie in what --pictures writes"):
            check_outputs(outputs, {})


def test_different_files_presets_and_devices_are_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edge").write_text("not the preset")
    check_outputs({"--out": "edge", "--report": "r.json"}, {"CONFIG": "edge", "--table": None})
    with pytest.raises(BadInput, match=r"\./edge: --out: must not be .* got that of CONFIG"):
        check_outputs({"--out": "./edge"}, {"CONFIG": "./edge"})
    check_outputs({"--out": "/dev/null", "--report": "/dev/null"}, {"--weights": "/dev/null"})
    check_outputs({"--out": None, "--report": tmp_path / "new" / "r.json"}, {"CONFIG": "absent"})
