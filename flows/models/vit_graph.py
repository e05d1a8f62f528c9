"""The weights of a vision transformer, found in an ONNX graph by what the graph does with them.

Names of nodes and tensors mean nothing here. A backbone is a Conv whose stride is its kernel,
then per layer, as exporters write it (c: constant, W, b, g: stored tensors)::

    norm1   = x' / sqrt(mean(x'^2) + c) * g + b      where x' = x - mean(x)
    q, k, v = norm1 @ W + b, reshaped to heads, transposed; q and k times c
    x       = x + (Reshape(Transpose(Softmax(q @ k) @ v)) @ W + b) * g
    norm2   = the same on x
    x       = x + (GELU(norm2 @ W + b) @ W + b) * g

and one more norm. A class token stands before the patches; a position is added to each, the
patches' own ones resized from the grid that they were trained on.
"""

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from flows.models.base import F32
from golden.errors import BadInput

__all__ = ["LINEARS", "Backbone", "read_backbone"]

LINEARS = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "mlp.fc1",
    "mlp.fc2",
)
"""Linear layers of one layer, in the order of the mathematics."""

_PASSING = ("Transpose", "Reshape", "Cast", "Identity")
_RESIZE = {
    "mode": b"cubic",
    "coordinate_transformation_mode": b"half_pixel",
    "cubic_coeff_a": -0.75,
}


class Backbone(NamedTuple):
    """Tensors and sizes that `flows.models.vit.ViT` is made of."""

    tensors: dict[str, F32]
    layers: int
    heads: int
    scale: float
    epsilon: float
    patch: int
    side: int


class _Linear(NamedTuple):
    weight: F32
    bias: F32
    source: str  # what enters the layer
    target: str  # what leaves it
    factor: float  # constant that it is multiplied by on the way to the attention
    head: int  # features of a head, 0 where it isn't reshaped


class _Norm(NamedTuple):
    weight: F32
    bias: F32
    epsilon: float
    source: str
    target: str


class _Graph:
    """Who makes and who takes each value; every look-up raises BadInput if it fails."""

    def __init__(self, graph: onnx.GraphProto, where: str) -> None:
        self.where = where
        self.nodes = list(graph.node)
        self.stored = {t.name: t for t in graph.initializer}
        self.maker = {out: node for node in self.nodes for out in node.output}
        self.takers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.takers.setdefault(name, []).append(node)

    def fail(self, rule: str) -> BadInput:
        return BadInput(f"{self.where}: the graph must {rule}.")

    def made_by(self, name: str, *kinds: str) -> onnx.NodeProto:
        """The node of one of `kinds` that makes a value."""
        node = self.maker.get(name)
        if node is None or node.op_type not in kinds:
            found = "nothing" if node is None else node.op_type
            raise self.fail(f"make '{name}' by {' or '.join(kinds)}, but {found} makes it")
        return node

    def taken_by(self, name: str, kind: str) -> onnx.NodeProto:
        """The node of `kind` that takes a value, through nodes that only rearrange it."""
        for node in self.takers.get(name, ()):
            if node.op_type == kind:
                return node
        for node in self.takers.get(name, ()):
            if node.op_type in _PASSING and node.input[0] == name:
                return self.taken_by(node.output[0], kind)
        raise self.fail(f"use '{name}' in a {kind}")

    def constant(self, name: str) -> np.ndarray | None:
        """A stored tensor or the value of a Constant node; None for anything computed."""
        if name in self.stored:
            return numpy_helper.to_array(self.stored[name])
        node = self.maker.get(name)
        if node is not None and node.op_type == "Identity":
            return self.constant(node.input[0])
        if node is None or node.op_type != "Constant" or node.attribute[0].name != "value":
            return None
        return numpy_helper.to_array(node.attribute[0].t)

    def split(self, node: onnx.NodeProto) -> tuple[np.ndarray, str]:
        """The constant operand of a node with two, and the name of the computed one."""
        for constant, computed in (node.input[:2], node.input[1::-1]):
            value = self.constant(constant)
            if value is not None and self.constant(computed) is None:
                return value, computed
        raise self.fail(f"give '{node.output[0]}' one constant operand and one computed")

    def linear_before(self, name: str) -> _Linear:
        """The linear layer that a value comes from, through reshapes and constant factors."""
        factor, head = 1.0, 0
        while True:
            node = self.made_by(name, "Mul", "Add", *_PASSING)
            if node.op_type == "Add":
                bias, product = self.split(node)
                source, stored = self.made_by(product, "MatMul").input
                weight = self.constant(stored)
                if weight is None or weight.ndim != 2 or bias.shape != weight.shape[1:]:
                    raise self.fail(f"make '{product}' with a stored matrix and add a bias to it")
                return _Linear(weight, bias, source, node.output[0], factor, head)
            if node.op_type == "Mul":
                value, name = self.split(node)
                if value.size != 1:
                    raise self.fail(f"multiply '{name}' by a number, not by {value.shape}")
                factor *= float(value.ravel()[0])
            else:
                head = self.last_size(node.input[1]) if node.op_type == "Reshape" else head
                name = node.input[0]

    def last_size(self, shape: str) -> int:
        """The last entry of a shape, which is constant even where the others are computed."""
        value = self.constant(shape)
        if value is None:
            value = self.constant(self.made_by(shape, "Concat").input[-1])
        if value is None:
            raise self.fail(f"have a constant number of features in the shape '{shape}'")
        return int(value.ravel()[-1])

    def linear_after(self, name: str) -> _Linear:
        """The linear layer that takes a value, through nodes that only rearrange it."""
        product = self.taken_by(name, "MatMul")
        return self.linear_before(self.taken_by(product.output[0], "Add").output[0])

    def norm_before(self, name: str) -> _Norm:
        """The norm that makes a value."""
        bias, product = self.split(self.made_by(name, "Add"))
        weight, quotient = self.split(self.made_by(product, "Mul"))
        centred, root = self.made_by(quotient, "Div").input
        epsilon, _ = self.split(self.made_by(self.made_by(root, "Sqrt").input[0], "Add"))
        source = self.made_by(centred, "Sub").input[0]
        return _Norm(weight, bias, float(epsilon.ravel()[0]), source, name)

    def norm_after(self, name: str) -> _Norm:
        """The norm of a value."""
        return self.norm_before(self.chain(name, "Sub", "Div", "Mul", "Add"))

    def chain(self, name: str, *kinds: str) -> str:
        """What leaves the last of several nodes, each of which takes what the one before makes."""
        for kind in kinds:
            name = self.taken_by(name, kind).output[0]
        return name

    def scaled_sum(self, name: str) -> tuple[F32, str]:
        """LayerScale of a branch's end, and what leaves the residual Add behind it."""
        scale = self.taken_by(name, "Mul")
        return self.split(scale)[0], self.chain(scale.output[0], "Add")

    def origin(self, name: str) -> onnx.NodeProto | np.ndarray:
        """The Conv or stored tensor that a value is a rearranged, resized, repeated form of."""
        while (value := self.constant(name)) is None:
            node = self.made_by(name, "Conv", "Resize", "Expand", *_PASSING)
            if node.op_type == "Conv":
                return node
            wrong = {k: v for k, v in attributes(node).items() if _RESIZE.get(k, v) != v}
            if node.op_type == "Resize" and wrong:
                raise self.fail(f"resize positions as {_RESIZE}, but has {wrong}")
            name = node.input[0]
        return value


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def read_backbone(graph: onnx.GraphProto, where: str) -> Backbone:
    """Find the backbone; raises BadInput beginning with `where` for a graph of another kind."""
    g = _Graph(graph, where)
    attentions = [node for node in g.nodes if node.op_type == "Softmax"]
    if not attentions:
        raise g.fail("hold a Softmax")
    tensors: dict[str, np.ndarray] = {}
    kinds: set[tuple[float, float, int]] = set()  # epsilon, scale, features of a head

    def store(name: str, layer: _Linear | _Norm) -> None:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = layer.weight, layer.bias

    begin = end = ""
    for i, attention in enumerate(attentions):
        at = f"layer.{i}."
        query, key = (
            g.linear_before(name) for name in g.made_by(attention.input[0], "MatMul").input
        )
        context = g.taken_by(attention.output[0], "MatMul")
        value = g.linear_before(context.input[1])
        output = g.linear_after(context.output[0])
        norm1 = g.norm_before(query.source)
        tensors[f"{at}scale1"], middle = g.scaled_sum(output.target)
        norm2 = g.norm_after(middle)
        first = g.linear_after(norm2.target)
        # x / sqrt(2), erf, + 1, times x, times 1/2
        second = g.linear_after(g.chain(first.target, "Div", "Erf", "Add", "Mul", "Mul"))
        tensors[f"{at}scale2"], last = g.scaled_sum(second.target)
        if {query.source, key.source, value.source} != {norm1.target} or end not in (
            "",
            norm1.source,
        ):
            raise g.fail(f"compute Q, K and V of attention {i} from one norm of the layer before")
        begin, end = begin or norm1.source, last
        linears = (query, key, value, output, first, second)
        for part, linear in zip(LINEARS, linears, strict=True):
            store(at + part, linear)
        for part, norm in (("norm1", norm1), ("norm2", norm2)):
            store(at + part, norm)
            kinds.add((norm.epsilon, query.factor * key.factor, query.head))
    if len(kinds) != 1:
        raise g.fail(f"have one epsilon, scale and size of heads, but has {sorted(kinds)}")
    ((epsilon, scale, head),) = kinds
    store("norm", g.norm_after(end))
    patch, side = _read_embedding(g, begin, graph, tensors)
    width = tensors["layer.0.attention.query.weight"].shape[1]
    if head < 1 or width % head:
        raise g.fail(f"split the {width} features of Q into heads, but has heads of {head}")
    found = {name: np.array(array, np.float32) for name, array in tensors.items()}
    return Backbone(found, len(attentions), width // head, scale, epsilon, patch, side)


def _read_embedding(
    g: _Graph, begin: str, graph: onnx.GraphProto, tensors: dict[str, np.ndarray]
) -> tuple[int, int]:
    """Add the tensors of the embedding to `tensors`; return the sides of a patch and a photo."""
    patch = 0
    for name in g.made_by(begin, "Add").input:
        first, rest = (g.origin(part) for part in g.made_by(name, "Concat").input)
        if not isinstance(first, np.ndarray):
            raise g.fail(f"begin '{name}' with a stored token")
        if isinstance(rest, np.ndarray):
            tensors["class_position"] = first.reshape(1, -1)
            tensors["positions"] = rest.reshape(-1, first.size)
            continue
        weight, bias = (g.constant(stored) for stored in rest.input[1:3])
        if weight is None or bias is None or weight.ndim != 4:
            raise g.fail("make the patches by a Conv with stored weights and bias")
        patch = weight.shape[2]
        if attributes(rest).get("strides") != [patch, patch] or weight.shape[1:] != (
            3,
            patch,
            patch,
        ):
            raise g.fail(f"cut a photo into square patches, but the Conv has {weight.shape}")
        tensors["class_token"] = first.reshape(1, -1)
        tensors["patch.weight"] = weight.reshape(len(weight), -1).T
        tensors["patch.bias"] = bias
    if not patch or "positions" not in tensors:
        raise g.fail("add positions to the patches")
    if round(len(tensors["positions"]) ** 0.5) ** 2 != len(tensors["positions"]):
        raise g.fail(f"hold a square of positions, but has {len(tensors['positions'])}")
    sizes = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    if len(sizes) != 4 or sizes[1] != 3 or sizes[2] != sizes[3] or sizes[2] < patch:
        raise g.fail(f"take square photos of three colours, but takes {sizes}")
    return patch, sizes[2]
