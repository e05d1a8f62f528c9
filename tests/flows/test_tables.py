"""Performance tables on disk: computed once, never trusted when broken."""

import pytest

from flows import tables
from flows.tables import kept_table
from golden.planner.model_table import computed_table
from rtl_gen.config import derive, load

TEST = derive(load("test"))


@pytest.fixture(autouse=True)
def forgetful():
    """Each test as a process of its own."""
    kept_table.cache_clear()
    yield
    kept_table.cache_clear()


def table():
    kept_table.cache_clear()
    return kept_table(TEST.shape, TEST.config_hash)


def test_a_table_is_computed_once(cache, monkeypatch):
    first = table()
    assert first == computed_table(TEST.shape, TEST.config_hash)
    assert len(list((cache / "tables").iterdir())) == 1
    monkeypatch.setattr(tables, "computed_table", None)
    assert table() == first


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\x00"])
def test_a_broken_file_is_computed_anew(cache, damage):
    first = table()
    (path,) = (cache / "tables").iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage or whole[: len(whole) // 2])
    assert table() == first
    assert path.read_bytes() == whole


def test_other_models_other_tables(cache, monkeypatch):
    table()
    monkeypatch.setattr(tables, "_models", lambda: b"another source")
    table()
    kept_table(TEST.shape, TEST.config_hash, block=(16, 4))
    assert len(list((cache / "tables").iterdir())) == 3


def test_where_nothing_can_be_written_nothing_is_kept(cache):
    (cache / "tables").write_text("no folder")
    assert table() == computed_table(TEST.shape, TEST.config_hash)
