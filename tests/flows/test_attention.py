"""Operands of attention against the model that they come from."""

import numpy as np
import pytest

from flows.models.attention import attention_operands
from flows.models.fetch import fetch
from flows.models.minilm import MiniLM


@pytest.mark.network
def test_attention_operands_are_those_of_the_model():
    model = MiniLM.load(fetch("MiniLM-L6-v2"))
    text = "An event is a single scalar."
    probabilities, values = attention_operands(model, text, 2)
    tokens = len(model.tokens(text))
    assert probabilities.shape == (12, tokens, tokens)
    assert values.shape == (12, tokens, 32)
    assert probabilities.min() >= 0
    # Rows sum to one, up to rounding.
    assert np.abs(probabilities.sum(axis=2) - 127).max() <= tokens / 2
    # Against the model itself: what enters the layer behind the attention is P V.
    out = model.layer_data([text], "encoder.layer.2.attention.output.dense").activations
    scale = np.abs(values).max(axis=(1, 2), keepdims=True)
    product = (probabilities @ (values / scale)).transpose(1, 0, 2).reshape(tokens, -1)
    assert np.corrcoef(product.ravel(), out.ravel())[0, 1] > 0.9
