"""What the validator of ONNX files refuses before onnxruntime sees them: loops, bombs, other files, other formats."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from onnx_models import branch, external, file_of

from explainers import load_model
from explainers.errors import UnsupportedModel
from explainers.loading.limits import Limits
from explainers.onnx import OnnxModule, UnsafeOnnx, UnsupportedOnnx, read_graph, runtime_session


def constant(name: str, *values: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def loop(turns: int | None, steps: list[Any] | None = None) -> bytes:
    """y = x after `turns` turns of the steps, by default + x each; None: the number of turns comes from the data."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_in"], ["go"]), *(steps or [helper.make_node("Add", ["s_in", "x"], ["s"])])],
        "body",
        [info("i", TensorProto.INT64, []), info("go_in", TensorProto.BOOL, []), info("s_in", TensorProto.FLOAT, None)],
        [info("go", TensorProto.BOOL, []), info("s", TensorProto.FLOAT, None)],
    )  # fmt: skip
    count = [helper.make_node("Size", ["x"], ["n"])] if turns is None else []
    held = () if turns is None else (helper.make_tensor("n", TensorProto.INT64, [], [turns]),)
    return file_of(*count, helper.make_node("Loop", ["n", "", "x"], ["y"], body=body), initializers=held)


def scan(inside: list[Any] | None = None) -> bytes:
    """Running sums along the axis of x whose length is open."""
    info = helper.make_tensor_value_info
    steps = inside or [helper.make_node("Add", ["s_in", "row"], ["s"])]
    body = helper.make_graph(
        [*steps, helper.make_node("Identity", ["s"], ["out"])],
        "body",
        [info("s_in", TensorProto.FLOAT, [4]), info("row", TensorProto.FLOAT, [4])],
        [info("s", TensorProto.FLOAT, [4]), info("out", TensorProto.FLOAT, [4])],
    )
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [4], [0.0] * 4)
    node = helper.make_node("Scan", ["zero", "x"], ["", "y"], body=body, num_scan_inputs=1)
    return file_of(node, initializers=(zero,))


def test_a_loop_whose_turns_are_written_in_the_file_is_followed() -> None:
    content, x = loop(3), torch.randn(2, 4)
    torch.testing.assert_close(OnnxModule(read_graph(content))(x), 4 * x)
    model = load_model(content)
    np.testing.assert_allclose(model.predict(x.numpy()), 4 * x, rtol=1e-6)
    assert model.module is not None


def test_loops_over_rows_and_branches_are_followed_with_gradients() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    sums = OnnxModule(read_graph(scan()))(x)
    torch.testing.assert_close(sums, x.cumsum(0))
    sums.sum().backward()
    assert x.grad is not None
    assert x.grad[:, 0].tolist() == [3, 2, 1]
    torch.testing.assert_close(OnnxModule(read_graph(branch()))(x), x + 1)


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        (loop(None), Limits(), "may never end: how often it runs is not written in the file"),
        (loop(1 << 62), Limits(), "(setting limits.iterations)"),
        (loop(11), Limits(iterations=10), "run 11 times; the limit is 10 (setting limits.iterations)"),
        (scan(), Limits(iterations=999), "run 1,000 times"),
        (
            loop(40, [helper.make_node("Concat", ["s_in", "s_in"], ["s"], axis=0)]),
            Limits(tensor_bytes=1 << 20),
            "over the limit of",
        ),
        (
            loop(2, [helper.make_node("Shrink", ["s_in"], ["s"])]),
            Limits(),
            "What the model's Loop reads cannot be followed",
        ),
    ],
    ids=["data decide", "endless", "too many", "open scan", "doubling", "not evaluated"],
)
def test_a_loop_that_cannot_be_bounded_is_refused(content: bytes, limits: Limits, message: str) -> None:
    with pytest.raises(UnsafeOnnx, match=re.escape(message)):
        load_model(content, limits=limits)


def test_loops_inside_loops_count_together() -> None:
    inner = ModelProto.FromString(loop(20)).graph.node[0]
    inner.input[:] = ["m", "", "row"]
    inner.output[:] = ["s"]
    inner.attribute[0].g.node[1].input[:] = ["s_in", "row"]
    content = ModelProto.FromString(scan([inner]))
    content.graph.initializer.append(helper.make_tensor("m", TensorProto.INT64, [], [200]))
    with pytest.raises(UnsafeOnnx, match="run 201,000 times"):
        read_graph(content.SerializeToString())


# Files beside the file


def sparse() -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(external("values"), constant("places", 0), [4])


def hidden_in(place: str) -> bytes:
    """A tensor whose data is in another file, in every place of a model that can hold a tensor."""
    model = ModelProto.FromString(file_of(helper.make_node("Relu", ["x"], ["y"])))
    stray, graph = external(), helper.make_graph([], "inner", [], [], initializer=[external()])
    if place == "initializer":
        model.graph.initializer.append(stray)
    elif place == "sparse initializer":
        model.graph.sparse_initializer.append(sparse())
    elif place == "training":
        model.training_info.add().initialization.CopyFrom(graph)
    elif place == "function":
        function = model.functions.add(name="f", domain="", output=["z"])
        function.node.append(helper.make_node("Constant", [], ["z"], value=stray))
    elif place == "function default":
        model.functions.add(name="f", domain="").attribute_proto.append(helper.make_attribute("a", stray))
    else:
        kinds = {
            "attribute": stray,
            "tensors": [stray],
            "graph": graph,
            "graphs": [graph],
            "sparse": sparse(),
        }
        model.graph.node[0].attribute.append(helper.make_attribute("a", kinds[place]))
    return model.SerializeToString()


@pytest.mark.parametrize(
    "place",
    [
        *("initializer", "sparse initializer", "training", "function", "function default"),
        *("attribute", "tensors", "graph", "graphs", "sparse"),
    ],
)
def test_data_in_another_file_is_refused_wherever_it_stands(place: str) -> None:
    with pytest.raises(UnsafeOnnx, match=r"kept in another file|holds a sparse tensor"):
        read_graph(hidden_in(place))


def test_functions_are_refused_so_none_can_call_itself() -> None:
    model = ModelProto.FromString(file_of(helper.make_node("Relu", ["x"], ["y"])))
    model.functions.append(
        helper.make_function("", "f", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)])
    )  # fmt: skip
    with pytest.raises(UnsafeOnnx, match="brings its own functions"):
        read_graph(model.SerializeToString())


# Other readings of the same bytes


def test_bytes_that_onnxruntime_would_read_as_its_own_format_are_read_as_onnx() -> None:
    model = ModelProto.FromString(file_of(helper.make_node("Relu", ["x"], ["y"])))
    model.producer_name = "ORTMxxxx"  # bytes 4 to 7 are the mark of onnxruntime's own format
    content = model.SerializeToString()
    assert content[4:8] == b"ORTM"
    session = runtime_session(content, threads=1)
    assert session.run(None, {"x": -np.ones((1, 4), np.float32)})[0].tolist() == [[0, 0, 0, 0]]


def test_fields_that_are_not_onnx_are_refused() -> None:
    content = file_of(helper.make_node("Relu", ["x"], ["y"])) + b"\xfa\x7f\x01a"
    with pytest.raises(UnsafeOnnx, match="fields that are not in the ONNX format"):
        read_graph(content)


@pytest.mark.parametrize("operator", ["RandomNormalLike", "ImageDecoder", "Multinomial", "RandomUniformLike"])
def test_an_operator_that_is_not_listed_is_refused(operator: str) -> None:
    with pytest.raises(UnsafeOnnx, match=f"operator\\(s\\) {operator}, which are not on the list"):
        read_graph(file_of(helper.make_node(operator, ["x"], ["y"])))


# Sizes

SHAPED = (constant("s", 1 << 18, 1 << 18),)
ONE = helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0])
BOMBS: dict[str, tuple[list[Any], tuple[TensorProto, ...]]] = {
    "Tile": ([helper.make_node("Tile", ["one", "s"], ["a"])], (*SHAPED, ONE)),
    "Expand": ([helper.make_node("Expand", ["one", "s"], ["a"])], (*SHAPED, ONE)),
    "Pad": ([helper.make_node("Pad", ["one", "p"], ["a"])], (constant("p", 0, 0, 1 << 18, 1 << 18), ONE)),
    "Resize": ([helper.make_node("Resize", ["one", "", "", "s"], ["a"])], (*SHAPED, ONE)),
    "OneHot": (
        [helper.make_node("OneHot", ["i", "d", "v"], ["a"])],
        (constant("i", 0), helper.make_tensor("d", TensorProto.INT64, [], [1 << 40]), helper.make_tensor("v", 1, [2], [0, 1])),
    ),
    "Gather": (
        [
            helper.make_node("Expand", ["z", "t"], ["i"]),
            helper.make_node("Gather", ["wide", "i"], ["a"]),
        ],
        (constant("t", 1 << 24), constant("z", 0), helper.make_tensor("wide", 1, [1, 4096], [0.0] * 4096)),
    ),
    "outer sum": (
        [
            helper.make_node("Expand", ["one", "t"], ["r"]),
            helper.make_node("Transpose", ["r"], ["c"]),
            helper.make_node("Add", ["r", "c"], ["a"]),
        ],
        (constant("t", 1, 1 << 20), ONE),
    ),
    "an element type that torch lacks": (
        [
            helper.make_node("ConstantOfShape", ["s"], ["a8"], value=helper.make_tensor("v", TensorProto.FLOAT8E4M3FN, [1], [1.0])),
            helper.make_node("Cast", ["a8"], ["a"], to=TensorProto.FLOAT),
        ],
        SHAPED,
    ),
    "hidden behind an operator that is only unsupported": (
        [helper.make_node("Shrink", ["one"], ["h"]), helper.make_node("Cast", ["h"], ["k"], to=TensorProto.INT64),
         helper.make_node("Mul", ["k", "s"], ["big"]), helper.make_node("ConstantOfShape", ["big"], ["a"])],
        (constant("s", 1 << 18, 1 << 18), ONE),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_few_bytes_cannot_ask_for_gigabytes(bomb: str) -> None:
    nodes, held = BOMBS[bomb]
    total = helper.make_node("ReduceSum", ["a"], ["t_"], keepdims=0)
    content = file_of(*nodes, total, helper.make_node("Add", ["x", "t_"], ["y"]), initializers=held)
    with pytest.raises(UnsafeOnnx, match=r"over the limit of|size cannot be checked|not a valid ONNX"):
        read_graph(content)


def test_a_shape_that_the_file_claims_is_not_believed() -> None:
    nodes = [
        *BOMBS["hidden behind an operator that is only unsupported"][0],
        helper.make_node("Add", ["x", "a"], ["y"]),
    ]
    model = ModelProto.FromString(file_of(*nodes, initializers=(*SHAPED, ONE)))
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4]))
    with pytest.raises(UnsafeOnnx, match="size cannot be checked"):
        read_graph(model.SerializeToString())


def test_limits_have_names() -> None:
    content = file_of(*[helper.make_node("Exp", [a], [b]) for a, b in ("xa", "ab", "by")])
    assert len(read_graph(content, Limits(operators=3)).nodes) == 3
    wide = file_of(
        helper.make_node("Expand", ["x", "s"], ["y"]), initializers=(constant("s", 64, 4),), shape=(1, 4)
    )
    for content_, limits, message in (
        (content, Limits(operators=2), "3 operators; the limit is 2 (setting limits.operators)"),
        (content, Limits(model_bytes=20), "the limit is 20 (setting limits.model_bytes)"),
        (branch(), Limits(json_depth=0), "setting limits.json_depth"),
        (wide, Limits(tensor_bytes=64), "over the limit of 64 bytes (setting limits.tensor_bytes)"),
    ):
        with pytest.raises(UnsafeOnnx, match=re.escape(message)):
            read_graph(content_, limits)
    for content_ in (content, branch(), wide):
        assert load_model(content_).family == "ONNX network"


def test_computed_constants_are_limited_together() -> None:
    nodes = [helper.make_node("Tile", ["w", "r"], [f"a{i}"]) for i in range(4)]
    held = (helper.make_tensor("w", 1, [1, 4], [1.0] * 4), constant("r", 100, 1))
    content = file_of(
        *nodes, helper.make_node("Sum", ["x", "a0", "a1", "a2", "a3"], ["y"]), initializers=held
    )
    assert len(read_graph(content).constants) == 6
    with pytest.raises(UnsafeOnnx, match=re.escape("(setting limits.unpacked_bytes)")):
        read_graph(content, Limits(unpacked_bytes=5000))


def test_weights_of_eight_bits_still_predict() -> None:
    weight = helper.make_tensor("q", TensorProto.INT8, [4, 2], range(8))
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5])
    content = file_of(
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        initializers=(weight, scale),
    )
    assert load_model(content).predict(np.ones((1, 4))).tolist() == [[6, 8]]


def test_a_file_that_is_only_unsupported_still_predicts() -> None:
    content = file_of(helper.make_node("Shrink", ["x"], ["y"], lambd=0.5))
    with pytest.raises(UnsupportedOnnx):
        read_graph(content)
    model = load_model(content)
    assert model.module is None
    assert model.predict(np.full((1, 4), 2.0)).tolist() == [[2, 2, 2, 2]]
    assert issubclass(UnsafeOnnx, UnsupportedModel)
