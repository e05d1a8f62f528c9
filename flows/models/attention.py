"""Run-time operands of attention, as the array would meet them."""

import math

import numpy as np

from flows.models.base import softmax
from flows.models.minilm import MiniLM
from golden.numerics.quantise import quantise_activations

__all__ = ["attention_operands"]


def attention_operands(model: MiniLM, text: str, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Softmax probabilities and values of every head of one layer, INT8, 1.0 at 127.

    Returns:
        int8 (heads, tokens, tokens) and int8 (heads, tokens, d / heads).
    """
    prefix = f"encoder.layer.{layer}.attention.self."
    data = model.calibrate([text], [prefix + part for part in ("query", "key", "value")])
    query, key, value = (
        (layer.activations @ layer.weight + layer.bias)
        .reshape(len(layer.activations), model.heads, -1)
        .transpose(1, 0, 2)
        for layer in data.values()
    )
    scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(query.shape[2]))
    probabilities = np.round(127 * softmax(scores)).astype(np.int8)
    values = np.stack([quantise_activations(head, per="tensor")[0] for head in value])
    return probabilities, values
