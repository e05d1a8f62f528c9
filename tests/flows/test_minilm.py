"""The float encoder against scalar loops, on a tiny model with random weights."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import safetensors.numpy
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from flows.models.minilm import MiniLM, erf
from flows.models.registry import REGISTRY
from golden.errors import BadInput

FILES = REGISTRY["MiniLM-L6-v2"].files
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "cat", "sat", "on", "a", "mat"]
LAYERS, HEADS, WIDTH, FFN, POSITIONS = 2, 2, 8, 12, 7


def build_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    """As much of a wheel as the model reads: a zip file with its members."""
    wheel = folder / "tiny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return wheel


def tiny_members(seed: int) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": draw(len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": draw(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": draw(2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(LAYERS):
        at = f"encoder.layer.{i}."
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
        for part, n, k in (
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", FFN, WIDTH),
            ("output.dense", WIDTH, FFN),
        ):
            tensors[f"{at}{part}.weight"], tensors[f"{at}{part}.bias"] = draw(n, k), draw(n)
    for norm in norms:
        tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = draw(WIDTH), draw(WIDTH)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    # The real file does both as well; the model must undo them.
    tokenizer.enable_padding(length=6)
    tokenizer.enable_truncation(4)
    config = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "layer_norm_eps": 1e-12}
    return {
        FILES["config"]: json.dumps(config).encode(),
        FILES["tokenizer"]: tokenizer.to_str().encode(),
        FILES["weights"]: safetensors.numpy.save(tensors),
    }


def encode_naive(tensors: dict[str, np.ndarray], ids: list[int]) -> tuple[list, list]:
    """BERT with scalar loops in float64: (embedding, what enters each FFN1), the specification."""

    def linear(name, rows):
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return [
            [sum(float(w) * v for w, v in zip(line, row, strict=True)) + float(b)
             for line, b in zip(weight, bias, strict=True)]
            for row in rows
        ]  # fmt: skip

    def norm(name, rows):
        out = []
        for row in rows:
            mean = sum(row) / len(row)
            deviation = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row) + 1e-12)
            gamma, beta = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
            out.append([
                (v - mean) / deviation * float(g) + float(b)
                for v, g, b in zip(row, gamma, beta, strict=True)
            ])  # fmt: skip
        return out

    def add(left, right):
        return [
            [a + b for a, b in zip(x, y, strict=True)] for x, y in zip(left, right, strict=True)
        ]

    word, position, kind = (
        tensors[f"embeddings.{name}_embeddings.weight"].astype(float).tolist()
        for name in ("word", "position", "token_type")
    )
    tokens = range(len(ids))
    x = [[w + p + k for w, p, k in zip(word[i], position[t], kind[0], strict=True)]
         for t, i in enumerate(ids)]  # fmt: skip
    x = norm("embeddings.LayerNorm", x)
    captured = []
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        q, k, v = (linear(f"{at}attention.self.{part}", x) for part in ("query", "key", "value"))
        context = [[0.0] * WIDTH for _ in tokens]
        for head in range(HEADS):
            span = range(head * size, (head + 1) * size)
            for t in tokens:
                raw = [math.exp(sum(q[t][c] * k[u][c] for c in span) / math.sqrt(size))
                       for u in tokens]  # fmt: skip
                for c in span:
                    context[t][c] = sum(r * v[u][c] for u, r in enumerate(raw)) / sum(raw)
        attention = linear(f"{at}attention.output.dense", context)
        x = norm(f"{at}attention.output.LayerNorm", add(x, attention))
        captured.append(x)
        hidden = [[h * 0.5 * (1 + math.erf(h / math.sqrt(2))) for h in row]
                  for row in linear(f"{at}intermediate.dense", x)]  # fmt: skip
        x = norm(f"{at}output.LayerNorm", add(x, linear(f"{at}output.dense", hidden)))
    mean = [sum(row[c] for row in x) / len(x) for c in range(WIDTH)]
    length = math.sqrt(sum(v * v for v in mean))
    return [v / length for v in mean], captured


@pytest.fixture
def tiny(tmp_path: Path) -> MiniLM:
    return MiniLM.load(build_wheel(tmp_path, tiny_members(seed=7)))


SENTENCES = ["the cat sat on a mat", "a cat", ""]


def test_forward_pass_equals_its_specification(tiny):
    print("seed 7")
    members = tiny_members(seed=7)
    tensors = safetensors.numpy.load(members[FILES["weights"]])
    # Seven positions: the eight tokens of the first sentence lose "mat", never [SEP].
    ids = [[1, 4, 5, 6, 7, 8, 2], [1, 8, 5, 2], [1, 2]]
    assert [tiny.tokens(sentence) for sentence in SENTENCES] == ids
    naive = [encode_naive(tensors, line) for line in ids]
    np.testing.assert_allclose(tiny.encode(SENTENCES), [e for e, _ in naive], atol=2e-5)
    for layer in range(LAYERS):
        data = tiny.activations(SENTENCES, layer)
        rows = [row for _, captured in naive for row in captured[layer]]
        np.testing.assert_allclose(data.activations, rows, atol=2e-5)
        name = f"encoder.layer.{layer}.intermediate.dense"
        np.testing.assert_array_equal(data.weight, tensors[f"{name}.weight"].T)
        np.testing.assert_array_equal(data.bias, tensors[f"{name}.bias"])
        assert data.activations.dtype == data.weight.dtype == np.float32


def test_every_linear_layer_can_be_captured_and_replaced(tiny):
    assert len(tiny.linear_names) == 6 * LAYERS
    base = tiny.encode(SENTENCES)
    together = tiny.calibrate(SENTENCES, tiny.linear_names)
    for name in tiny.linear_names:
        data = tiny.layer_data(SENTENCES, name)
        assert data.activations.shape == (13, data.weight.shape[0])
        assert data.weight.shape == (data.weight.shape[0], len(data.bias))
        for one, all_ in zip(data, together[name], strict=True):
            np.testing.assert_array_equal(one, all_)
        np.testing.assert_array_equal(tiny.with_weight(name, data.weight).encode(SENTENCES), base)
        changed = tiny.with_weight(name, np.zeros_like(data.weight)).encode(SENTENCES)
        assert np.abs(changed - base).max() > 1e-3
    np.testing.assert_array_equal(tiny.encode(SENTENCES), base)


def test_no_sentences_give_empty_results(tiny):
    assert tiny.encode([]).shape == (0, WIDTH)
    assert tiny.activations([], 0).activations.shape == (0, WIDTH)


def test_bad_calls_are_refused(tiny):
    with pytest.raises(BadInput, match="must be a list of strings"):
        tiny.encode("one string")
    with pytest.raises(BadInput, match="must be a list of strings"):
        tiny.encode(cast(Any, [3]))
    for layer in (-1, LAYERS):
        with pytest.raises(BadInput, match=f"must be in 0..1, but is {layer}"):
            tiny.activations(SENTENCES, layer)
    with pytest.raises(BadInput, match="'pooler' is not a linear layer"):
        tiny.linear("pooler")
    with pytest.raises(BadInput, match=r"shape \(8, 12\), but has \(12, 8\)"):
        tiny.with_weight("encoder.layer.0.intermediate.dense", np.zeros((FFN, WIDTH)))


def drop_tensor(members):
    tensors = safetensors.numpy.load(members[FILES["weights"]])
    del tensors["encoder.layer.1.output.dense.bias"]
    members[FILES["weights"]] = safetensors.numpy.save(tensors)


def transpose_tensor(members):
    tensors = safetensors.numpy.load(members[FILES["weights"]])
    name = "encoder.layer.0.intermediate.dense.weight"
    tensors[name] = np.ascontiguousarray(tensors[name].T)
    members[FILES["weights"]] = safetensors.numpy.save(tensors)


def shrink_vocabulary(members):
    tensors = safetensors.numpy.load(members[FILES["weights"]])
    name = "embeddings.word_embeddings.weight"
    tensors[name] = tensors[name][:4].copy()
    members[FILES["weights"]] = safetensors.numpy.save(tensors)


def three_heads(members):
    members[FILES["config"]] = members[FILES["config"]].replace(b'heads": 2', b'heads": 3')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_tensor, "'encoder.layer.1.output.dense.bias' must be float32 of 8, but is missing"),
        (transpose_tensor, r"must be float32 of 12x8, but is float32 \(8, 12\)"),
        (shrink_vocabulary, "at most 4 tokens"),
        (lambda m: m.update({FILES["weights"]: b"junk"}), "must be a safetensors file"),
        (lambda m: m.update({FILES["tokenizer"]: b"{}"}), "must be a tokenizer file"),
        (lambda m: m.update({FILES["config"]: b"{}"}), "must give num_hidden_layers"),
        (lambda m: m.update({FILES["config"]: b"\xff"}), "must give num_hidden_layers"),
        (three_heads, "must divide the width 8, but is 3"),
        (lambda m: m.pop(FILES["config"]), "must hold"),
    ],
)
def test_damaged_models_are_refused(tmp_path, damage, message):
    members = tiny_members(seed=7)
    damage(members)
    wheel = build_wheel(tmp_path, members)
    with pytest.raises(BadInput, match=message) as caught:
        MiniLM.load(wheel)
    assert str(wheel) in str(caught.value)


def test_erf_holds_its_stated_error():
    x = np.concatenate([np.linspace(-7.0, 7.0, 20011), [0.0, -0.0, 6.0, -6.0, 1e300, -np.inf]])
    exact = np.array([math.erf(v) for v in x])
    assert np.abs(erf(x) - exact).max() < 3e-12
    assert erf(np.float32(0.5)).shape == ()
