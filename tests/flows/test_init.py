"""``sparsefuse init``: what it writes loads back, and what it refuses stays as it was."""

import errno

import pytest
import yaml

from constraints.presets import preset_names
from flows.commands import init as init_command
from flows.commands.init import commented
from rtl_gen.config import Config, config_hash, load, parse
from rtl_gen.schema_common import Section
from rtl_gen.tops import TOPS


@pytest.mark.parametrize("preset", preset_names())
def test_init_writes_what_loads_back(run, tmp_path, preset):
    path = tmp_path / "mine.yaml"
    status, out, err = run("init", path, "--preset", preset)
    assert (status, err) == (0, "")
    assert str(path) in out
    assert load(path, Config) == load(preset, Config)
    assert config_hash(load(path, Config)) == config_hash(load(preset, Config))


def test_init_leaves_out_what_could_change_nothing(run, tmp_path):
    text = commented(load("edge"))
    assert "accumulator_bits" not in text
    assert yaml.safe_load(text)["numerics"] == {"sum_bits": 21}
    intent = {**yaml.safe_load(text), "numerics": {"rounding": "half_away"}}
    # What the user chose is kept, and so is what a switch makes matter.
    kept = commented(parse(intent))
    assert yaml.safe_load(kept)["numerics"] == {"sum_bits": "auto", "rounding": "half_away"}
    intent = yaml.safe_load(text)
    intent["schedule"]["fusion"] = True
    assert yaml.safe_load(commented(parse(intent)))["numerics"]["rounding"] == "half_even"


@pytest.mark.parametrize("top", TOPS)
def test_init_names_every_field_of_its_top_with_its_description(run, tmp_path, top):
    path = tmp_path / "mine.yaml"
    assert run("init", path, "--top", top)[0] == 0
    text = path.read_text()

    joined = " ".join(line.strip().lstrip("# ") for line in text.splitlines())
    seen = []

    def walk(section, data):
        assert set(type(section).model_fields) - set(data) <= {"accumulator_bits", "rounding"}
        for name in data:
            field = type(section).model_fields[name]
            assert " ".join(str(field.description).split()) in joined
            seen.append(name)
            if isinstance(getattr(section, name), Section):
                walk(getattr(section, name), data[name])

    walk(load(TOPS[top].preset, TOPS[top].configuration), yaml.safe_load(text))
    assert len(seen) >= {"array": 28, "detect": 11}[top]
    assert max(map(len, text.splitlines())) <= 100


def test_init_writes_an_array_unless_told(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("init")[0] == 0
    assert load("./sparsefuse.yaml") == load("edge")


@pytest.mark.parametrize(("top", "preset"), [("array", "detect"), ("detect", "edge")])
def test_init_refuses_a_preset_of_another_top(run, tmp_path, top, preset):
    path = tmp_path / "mine.yaml"
    status, _, err = run("init", path, "--top", top, "--preset", preset)
    assert status == 2
    assert f"{preset}: interface.top: must be {top}" in err
    assert not path.exists()


def test_a_plain_word_that_yaml_would_misread_is_quoted(tmp_path):
    for word in ("yes", "null", "On"):
        config = load("edge").model_copy(update={"name": word})
        (tmp_path / "a.yaml").write_text(commented(config))
        assert load(tmp_path / "a.yaml").name == word


def test_init_overwrites_only_when_told(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    status, _, err = run("init", path)
    assert status == 2
    assert err.startswith(f"error: {path}: output file: must not exist unless --force")
    assert path.read_text() == "precious"
    assert run("init", path, "--force")[0] == 0
    assert load(path) == load("edge")


@pytest.mark.parametrize(
    ("preset", "named"),
    [("edgy", "did you mean edge"), ("", "configuration"), ("./absent.yaml", "absent.yaml")],
)
def test_init_from_an_unknown_preset_writes_nothing(run, tmp_path, preset, named):
    path = tmp_path / "mine.yaml"
    status, _, err = run("init", path, "--preset", preset)
    assert status == 2
    assert err.startswith("error: ")
    assert named in err
    assert not path.exists()


def test_init_reports_what_the_file_system_refuses(run, tmp_path, monkeypatch):
    def full(path, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(init_command, "write_text", full)
    status, _, err = run("init", tmp_path / "a.yaml")
    assert status == 2
    assert err == f"error: {tmp_path / 'a.yaml'}: can't be read or written: the disk is full\n"
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    status, _, err = run("init", tmp_path / "file" / "a.yaml")
    assert status == 2
    assert str(tmp_path / "file" / "a.yaml") in err
    status, _, err = run("init", tmp_path, "--force")
    assert status == 2
    assert "must not be a folder" in err


BAD_FILES = {
    "unknown key": ("name: a\nlanes: 4\n", "lanes", "schedule.unroll.m"),
    "wrong type": ("name: 3\n", "name", "letter"),
    "twice": ("name: a\nname: b\n", "name", "once"),
    "empty": ("", "configuration", "mapping"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_broken_configuration_is_status_2(run, tmp_path, kind):
    text, field, rule = BAD_FILES[kind]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    status, out, err = run("init", tmp_path / "new.yaml", "--preset", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {path}: ")
    assert field in err
    assert rule in err
    assert not (tmp_path / "new.yaml").exists()
