"""The float vision transformer against onnx's own interpreter, on a tiny graph."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

from flows.models.fetch import cached, load_model, read_member
from flows.models.photos import load_photos, prepare_photo
from flows.models.registry import REGISTRY
from flows.models.vit import ViT, resize_cubic
from golden.errors import BadInput

FILE = REGISTRY["ViT-S14-saliency"].files["weights"]
LAYERS, HEADS, HEAD, FFN, PATCH, SIDE, GRID = 2, 2, 3, 10, 3, 13, 5
WIDTH, PATCHES = HEADS * HEAD, (SIDE // PATCH) ** 2


class Builder:
    """A pre-norm ViT with LayerScale as the PyTorch exporter writes it, names without meaning."""

    def __init__(self, seed: int, eps: float = 1e-5, shared: bool = True, resize: str = "cubic"):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.eps, self.shared, self.resize = eps, shared, resize

    def store(self, value) -> str:
        name = f"t{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def draw(self, *shape: int) -> str:
        return self.store(self.rng.normal(size=shape).astype(np.float32))

    def const(self, value) -> str:
        tensor = numpy_helper.from_array(np.asarray(value))
        return self.op("Constant", value=tensor)

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def norm(self, x: str) -> str:
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        square = self.op("Pow", centred, self.const(np.float32(2)))
        variance = self.op("ReduceMean", square, axes=[-1])
        root = self.op("Sqrt", self.op("Add", variance, self.const(np.float32(self.eps))))
        scaled = self.op("Mul", self.op("Div", centred, root), self.draw(WIDTH))
        return self.op("Add", scaled, self.draw(WIDTH))

    def linear(self, x: str, k: int, n: int) -> str:
        return self.op("Add", self.draw(n), self.op("MatMul", x, self.draw(k, n)))

    def heads(self, x: str, perm: list[int]) -> str:
        shape = np.array([1, -1, HEADS, HEAD])
        linear = self.linear(x, WIDTH, WIDTH)
        return self.op("Transpose", self.op("Reshape", linear, self.const(shape)), perm=perm)

    def embedding(self) -> str:
        conv = self.op(
            "Conv",
            *("photo", self.draw(WIDTH, 3, PATCH, PATCH), self.draw(WIDTH)),
            strides=[PATCH, PATCH],
        )
        flat = self.op("Reshape", conv, self.const(np.array([1, WIDTH, PATCHES])))
        tokens = self.op("Transpose", flat, perm=[0, 2, 1])
        shape = self.const(np.array([1, 1, WIDTH]))
        left = self.op("Concat", self.op("Expand", self.draw(1, 1, WIDTH), shape), tokens, axis=1)
        grid = self.op(
            "Reshape", self.draw(1, GRID**2, WIDTH), self.const(np.array([1, GRID, GRID, WIDTH]))
        )
        grid = self.op("Transpose", grid, perm=[0, 3, 1, 2])
        sizes = self.const(np.array([1, WIDTH, SIDE // PATCH, SIDE // PATCH]))
        grid = self.op("Resize", grid, "", "", sizes, mode=self.resize, cubic_coeff_a=-0.75)
        grid = self.op("Transpose", grid, perm=[0, 2, 3, 1])
        grid = self.op("Reshape", grid, self.const(np.array([1, PATCHES, WIDTH])))
        return self.op("Add", left, self.op("Concat", self.draw(1, 1, WIDTH), grid, axis=1))

    def layer(self, x: str) -> str:
        normal = self.norm(x)
        # The exporter computes K first and V second: only the structure tells them apart.
        key = self.heads(normal, [0, 2, 3, 1])
        value = self.heads(normal if self.shared else x, [0, 2, 1, 3])
        query = self.heads(normal, [0, 2, 1, 3])
        half = np.float32(HEAD**-0.25)
        scores = self.op(
            "MatMul",
            self.op("Mul", query, self.const(half)),
            self.op("Mul", key, self.const(half)),
        )
        context = self.op("MatMul", self.op("Softmax", scores, axis=-1), value)
        joined = self.op("Transpose", context, perm=[0, 2, 1, 3])
        joined = self.op("Reshape", joined, self.const(np.array([1, -1, WIDTH])))
        branch = self.op("Mul", self.linear(joined, WIDTH, WIDTH), self.draw(WIDTH))
        x = self.op("Add", branch, x)
        hidden = self.linear(self.norm(x), WIDTH, FFN)
        error = self.op("Erf", self.op("Div", hidden, self.const(np.float32(2**0.5))))
        product = self.op("Mul", hidden, self.op("Add", error, self.const(np.float32(1))))
        half = self.op("Mul", product, self.const(np.float32(0.5)))
        branch = self.op("Mul", self.linear(half, FFN, WIDTH), self.draw(WIDTH))
        return self.op("Add", branch, x)

    def model(self) -> onnx.ModelProto:
        x = self.embedding()
        for _ in range(LAYERS):
            x = self.layer(x)
        # What follows the last norm is not part of the backbone.
        out = self.op("Mul", self.norm(x), self.const(np.float32(1)))
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
            self.stored,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])


def build_wheel(folder: Path, data: bytes) -> Path:
    wheel = folder / "tiny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(FILE, data)
    return wheel


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture
def model() -> onnx.ModelProto:
    return Builder(seed=7).model()


@pytest.fixture
def tiny(model, tmp_path: Path) -> ViT:
    return ViT.load(build_wheel(tmp_path, model.SerializeToString()))


def test_sizes_are_read_from_the_structure(tiny):
    assert (tiny.layers, tiny.heads, tiny.patch, tiny.side) == (LAYERS, HEADS, PATCH, SIDE)
    assert tiny.scale == pytest.approx(HEAD**-0.5)
    assert tiny.epsilon == pytest.approx(1e-5)
    assert tiny.tensors["positions"].shape == (GRID**2, WIDTH)
    assert len(tiny.linear_names) == 6 * LAYERS
    assert tiny.linear("layer.1.mlp.fc1")[0].shape == (WIDTH, FFN)


def test_forward_pass_equals_the_interpreter(model, tiny):
    print("seeds 7, 8, 9")
    # Every value of the graph is an output, so what enters the linear layers can be compared.
    interpreter = ReferenceEvaluator(model)
    data = tiny.calibrate([photo(8), photo(9)], tiny.linear_names)
    for position, number in enumerate((8, 9)):
        (expected,) = interpreter.run(None, {"photo": photo(number)[None]})
        np.testing.assert_allclose(tiny.run(photo(number)), expected[0], atol=2e-4)
        for product in (n for n in model.graph.node if n.op_type == "MatMul"):
            weight = stored(model, product.input[1])
            if weight is None:
                continue
            (name,) = [n for n, d in data.items() if np.array_equal(d.weight, weight)]
            extended = onnx.ModelProto()
            extended.CopyFrom(model)
            extended.graph.output.append(
                helper.make_tensor_value_info(product.input[0], TensorProto.FLOAT, None)
            )
            _, entering = ReferenceEvaluator(extended).run(None, {"photo": photo(number)[None]})
            rows = data[name].activations.reshape(2, 1 + PATCHES, -1)[position]
            np.testing.assert_allclose(rows, entering[0], atol=2e-4)


def stored(model: onnx.ModelProto, name: str) -> np.ndarray | None:
    found = [t for t in model.graph.initializer if t.name == name]
    return numpy_helper.to_array(found[0]) if found else None


def test_every_linear_layer_can_be_replaced(tiny):
    base = tiny.run(photo(8))
    for name in tiny.linear_names:
        weight, _ = tiny.linear(name)
        assert np.abs(tiny.with_weight(name, -weight).run(photo(8)) - base).max() > 1e-3
    np.testing.assert_array_equal(tiny.run(photo(8)), base)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 5), (5, 5), (7, 3), (11, 13)])
def test_cubic_resize_equals_the_interpreter(sizes, rng):
    grid = rng.normal(size=(5, 4, 2)).astype(np.float32)
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode="cubic", cubic_coeff_a=-0.75
    )
    graph = helper.make_graph(
        [node],
        "resize",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, None),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    resize = ReferenceEvaluator(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    )
    inputs = {"x": grid.transpose(2, 0, 1)[None], "sizes": np.array([1, 2, *sizes])}
    expected = resize.run(None, inputs)[0][0].transpose(1, 2, 0)
    np.testing.assert_allclose(resize_cubic(grid, sizes), expected, atol=1e-5)


def test_photos_of_another_shape_are_refused(tiny):
    with pytest.raises(BadInput, match=r"must have shape \(3, 13, 13\), but has \(3, 12, 12\)"):
        tiny.calibrate([np.zeros((3, 12, 12), np.float32)], tiny.linear_names)


def drop(kind: str):
    def damage(model):
        node = next(n for n in model.graph.node if n.op_type == kind)
        node.op_type = "Tanh"

    return damage


def wide_photo(model):
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = SIDE + 1


def overlapping_patches(model):
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    conv.attribute[0].ints[:] = [1, 1]


@pytest.mark.parametrize(
    ("options", "damage", "message"),
    [
        ({}, drop("Erf"), "must use '.*' in a Erf"),
        ({}, drop("Sqrt"), "by Sqrt, but Tanh makes it"),
        ({}, drop("Conv"), "but Tanh makes it"),
        ({}, wide_photo, r"take square photos of three colours, but takes \[1, 3, 13, 14\]"),
        ({}, overlapping_patches, "cut a photo into square patches"),
        ({"shared": False}, None, "compute Q, K and V of attention 0 from one norm"),
        ({"resize": "linear"}, None, "resize positions as"),
    ],
)
def test_other_graphs_are_refused(tmp_path, options, damage, message):
    model = Builder(seed=7, **options).model()
    if damage:
        damage(model)
    wheel = build_wheel(tmp_path, model.SerializeToString())
    with pytest.raises(BadInput, match=message) as caught:
        ViT.load(wheel)
    assert str(wheel) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"), [(b"junk", "must be an ONNX file"), (b"", "must hold a Softmax")]
)
def test_other_files_are_refused(tmp_path, data, message):
    with pytest.raises(BadInput, match=message):
        ViT.load(build_wheel(tmp_path, data))


def test_a_photo_is_cut_to_its_centre_and_normalised():
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[:, 2:8] = (255, 0, 51)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    found = prepare_photo("photo.png", file.getvalue(), 4)
    assert found.shape == (3, 4, 4)
    assert found.dtype == np.float32
    # (value - mean) / deviation with ImageNet's figures, by hand.
    expected = ((1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225)
    for plane, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(plane, value, atol=1e-5)
    with pytest.raises(BadInput, match=r"photo\.png: must be an image file"):
        prepare_photo("photo.png", b"junk", 4)


@pytest.mark.network
def test_the_real_backbone_equals_the_interpreter():
    model = load_model("ViT-S14-saliency")
    photos = load_photos(model.side)
    assert set(photos) == {"astronaut", "chelsea", "coffee"}
    graph = onnx.load_from_string(read_member(cached("ViT-S14-saliency"), FILE)).graph
    # The pinned file's own names, which the loader never reads. The embedding is left out: the
    # interpreter resizes one number at a time.
    begin, end = "/backbone/embeddings/Add_output_0", "/backbone/layernorm/Add_1_output_0"
    places = {out: place for place, node in enumerate(graph.node) for out in node.output}
    piece = helper.make_graph(
        graph.node[places[begin] + 1 : places[end] + 1],
        "backbone",
        [helper.make_tensor_value_info(begin, TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(end, TensorProto.FLOAT, None)],
        graph.initializer,
    )
    interpreter = ReferenceEvaluator(
        helper.make_model(piece, opset_imports=[helper.make_opsetid("", 14)])
    )
    tokens = model.embed(photos["chelsea"])
    assert tokens.shape == (257, 384)
    # The interpreter is slow; every eighth token is enough to pass through every weight.
    (expected,) = interpreter.run(None, {begin: tokens[None, ::8]})
    np.testing.assert_allclose(model.encode(tokens[::8]), expected[0], atol=1e-3)
