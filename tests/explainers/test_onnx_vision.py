"""What pictures and transformers ask of the evaluator: their operators, half precision, files made for one case."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import export
from torch import nn

import explainers as ex
from explainers.onnx import (
    OnnxModule,
    UnsupportedOnnx,
    check_against_runtime,
    read_graph,
    require_gradient,
    runtime_session,
)
from explainers.onnx.widening import in_half, widened
from tests.cases import VisionTransformer, network, pictures

SLOW = pytest.mark.slow  # an export takes seconds
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def node(kind: str, given: str, made: str, **attributes: Any) -> Any:
    """One operator; names are separated by blanks, ``-`` leaves an input out."""
    return helper.make_node(
        kind, [name.replace("-", "") for name in given.split()], made.split(), **attributes
    )


def file(nodes: list[Any], shape: tuple[Any, ...], opset: int = 23, kind: int = FLOAT, **held: Any) -> bytes:
    """From x of this shape to y, with constants by name."""
    ends = [helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", kind, None)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)  # the file must say how many axes y has
    assert model.graph.output[0].type.tensor_type.HasField("shape")
    return bytes(model.SerializeToString())


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def runtime_answer(content: bytes, x: torch.Tensor) -> np.ndarray:
    answer: np.ndarray = runtime_session(content, threads=1).run(None, {"x": x.numpy()})[0]
    return answer


PICTURE = ("n", 2, 6, 6)
TOKENS = ("n", 4, 6)
ANGLES = np.linspace(0, 2, 8).reshape(1, 4, 2).repeat(4, 0).astype(np.float32)
OPERATORS = {
    "Attention": file([node("Attention", "x k x mask", "y", q_num_heads=2, kv_num_heads=2, is_causal=1)], (4, *TOKENS[1:]),
                      k=normal(4, 4, 6), mask=normal(4, 4)),
    "Attention with shared heads": file(
        [node("Attention", "q x x", "y", scale=0.7, softcap=2.0)], (4, 1, 4, 6), q=normal(4, 2, 4, 6)),
    "RotaryEmbedding": file([node("RotaryEmbedding", "x c s", "y", num_heads=1, rotary_embedding_dim=4)], (4, *TOKENS[1:]),
                            c=np.cos(ANGLES), s=np.sin(ANGLES)),
    "GridSample": file([node("Tanh", "x", "t"), node("GridSample", "p t", "y", mode="linear", padding_mode="border")], (4, 3, 3, 2),
                       p=normal(4, 1, 5, 5)),
    "AffineGrid": file([node("AffineGrid", "x size", "y", align_corners=1)], (4, 2, 3), size=np.array([4, 1, 3, 5])),
    "CenterCropPad": file([node("CenterCropPad", "x size", "y", axes=[-2, 3])], PICTURE, size=np.array([3, 9])),
    "LpNormalization": file([node("LpNormalization", "x", "y", axis=1, p=1)], PICTURE),
    "MeanVarianceNormalization": file([node("MeanVarianceNormalization", "x", "y", axes=[2, 3])], PICTURE),
    "LpPool": file([node("LpPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 0], p=3)], PICTURE),
    "GlobalLpPool": file([node("GlobalLpPool", "x", "y", p=2)], PICTURE, 17),
    "IsInf": file([node("Log", "zero", "l"), node("Add", "x l", "a"), node("IsInf", "a", "b"), node("Where", "b x a", "y")], ("n", 2),
                  zero=np.array([0, 2], np.float32)),
    "BitwiseAnd": file([node("Sign", "x", "s"), node("Cast", "s", "i", to=TensorProto.INT32), node("BitwiseAnd", "i m", "b"),
                        node("BitwiseXor", "b m", "v"), node("BitwiseOr", "v b", "o"), node("BitwiseNot", "o", "z"),
                        node("Cast", "z", "f", to=FLOAT), node("Mul", "x f", "y")], ("n", 3), m=np.array([1, 2, 3], np.int32)),
    "EyeLike": file([node("EyeLike", "x", "e", k=1), node("MatMul", "x e", "y")], (4, 4)),
    "DequantizeLinear": file([node("DequantizeLinear", "w s z", "d", axis=0), node("Mul", "x d", "y")], ("n", 3),
                             w=np.array([-6, 4, 90], np.int8), s=np.array([0.5, 0.1, 0.02], np.float32), z=np.array([0, 1, 2], np.int8)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_answers_as_onnxruntime_and_its_slope_is_that_of_the_answer(name: str) -> None:
    content = OPERATORS[name]
    module = OnnxModule(read_graph(content))
    assert check_against_runtime(module, content) <= 1e-5
    require_gradient(module)
    rows = module.declared_batch or 2
    x = torch.randn(
        rows, *[side or 4 for side in module.input_shape[1:]], generator=torch.Generator().manual_seed(1)
    )
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)) * 1e-3
    x.requires_grad_()
    weights = torch.from_numpy(normal(*module(x).shape, seed=3))
    (module(x) * weights).sum().backward()
    assert x.grad is not None
    with torch.no_grad():
        ahead, behind = (runtime_answer(content, x + sign * way) for sign in (1, -1))
    slope = float(((ahead.astype(np.float64) - behind) / 2 * weights.numpy()).sum())
    assert abs(slope) > 1e-6
    assert float((x.grad * way).sum()) == pytest.approx(slope, rel=0.02, abs=2e-5)


def quantized() -> list[Any]:
    return [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]


STAIRS = {
    "QuantizeLinear": file(quantized(), ("n", 3), s=np.float32(0.25), z=np.int8(3)),
    "Hardmax": file([node("Hardmax", "x", "y", axis=-1)], ("n", 3)),
}


@pytest.mark.parametrize("name", STAIRS)
def test_a_staircase_is_evaluated_and_named_as_what_stops_gradients(name: str) -> None:
    module = OnnxModule(read_graph(STAIRS[name]))
    assert check_against_runtime(module, STAIRS[name]) <= 1e-6
    with pytest.raises(UnsupportedOnnx, match=f"no gradient .*passes through {name}"):
        require_gradient(module)
    model = ex.load_model(STAIRS[name])
    assert model.module is None
    assert any(name in note for note in model.notes)
    table = ex.Dataset.from_frame(pd.DataFrame(normal(4, 3), columns=list("abc")))
    assert name in str(ex.why_not(ex.Saliency, model, table))
    assert ex.explain(model, table, ex.KernelShap(background=4), target=0).values.shape == (4, 3)


# Half precision


def half_network(kind: int = HALF) -> tuple[bytes, nn.Sequential]:
    """A small CNN with its weights in 16 bits, and the same in 32."""
    net = network(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2), seed=3
    ).half()
    held = {name.replace(".", "_"): value.numpy() for name, value in net.state_dict().items()}
    nodes = [
        *[node("Cast", "x", "h", to=HALF), node("Conv", "h 0_weight 0_bias", "a"), node("Relu", "a", "b")],
        *[node("GlobalAveragePool", "b", "c"), node("Flatten", "c", "d")],
        node("Gemm", "d 4_weight 4_bias", "e", transB=1),
        node("Cast", "e", "y", to=kind),
    ]
    return file(nodes, ("n", 1, 8, 8), 17, kind, **held), net.float()


@pytest.mark.parametrize("kind", [HALF, FLOAT], ids=["half at the ends", "half within"])
def test_a_file_in_half_precision_has_the_gradients_of_single_precision(kind: int) -> None:
    content, net = half_network(kind)
    model = ex.load_model(content, classes=("a", "b"))
    assert model.module is not None
    assert model.module.is_half
    assert all(p.dtype == torch.float32 for p in model.module.parameters())
    data = ex.Dataset.from_images(pictures(3))
    found = ex.explain(model, data, ex.Saliency("raw"), target="b")
    wanted = ex.explain(ex.Model.wrap(net, classes=("a", "b")), data, ex.Saliency("raw"), target="b")
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.raw(data.X)[:, 1], wanted.output, atol=5e-3)  # onnxruntime, in 16 bits


def test_the_difference_to_half_precision_is_stated() -> None:
    content, _ = half_network()
    notes = ex.load_model(content, classes=("a", "b")).notes
    (note,) = [text for text in notes if "half precision" in text]
    module = OnnxModule(read_graph(content))
    difference = check_against_runtime(module, content)
    assert 0 < difference < 0.02
    assert f"differs from the file's own by at most {difference:.1g} " in note
    with pytest.raises(UnsupportedOnnx, match="differs from onnxruntime"):
        check_against_runtime(module, content, tolerance=difference / 2)


def test_small_gradients_do_not_vanish() -> None:
    small = np.full(3, 1e-4, np.float16)
    nodes = [node("Mul", "x a", "b"), node("Mul", "b a", "y")]
    content = file(nodes, ("n", 3), 17, HALF, a=small)
    x = torch.ones(1, 3, requires_grad=True)
    OnnxModule(read_graph(content))(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, np.float32(small[0]) ** 2, rtol=1e-5)
    assert np.float16(small[0]) * np.float16(small[0]) == 0


def test_widening_reaches_branches_and_attributes() -> None:
    inner = helper.make_graph(
        [node("Constant", "", "v", value=numpy_helper.from_array(np.ones(3, np.float16))), node("Add", "h v", "w")],
        "inner", [], [helper.make_tensor_value_info("w", HALF, ["n", 3])],
    )  # fmt: skip
    nodes = [
        node("Cast", "x", "h", to=HALF),
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s zero", "yes"),
        node("If", "yes", "w", then_branch=inner, else_branch=inner),
        node("Cast", "w", "y", to=FLOAT),
    ]
    graph = read_graph(file(nodes, ("n", 3), 17, zero=np.float32(0)))
    assert in_half(graph)
    assert not in_half(widened(graph))
    x = torch.tensor([[1.0, 2.0, 1e-5]])
    np.testing.assert_allclose(OnnxModule(graph)(x), x + 1, rtol=1e-6)


@SLOW
def test_a_transformer_in_half_precision_opens_with_gradients() -> None:
    """onnxruntime's last level of optimisation ends the process on this file."""
    import io
    import warnings

    net = network(VisionTransformer(), seed=6).eval().half()
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}}}
        torch.onnx.export(
            net, (torch.zeros(2, 1, 8, 8).half(),), target, dynamo=False, opset_version=17, **names
        )
    model = ex.load_model(target.getvalue(), classes=tuple("abc"))
    data = ex.Dataset.from_images(pictures(3))
    found, wanted = (
        ex.explain(m, data, ex.Saliency(), target="a")
        for m in (model, ex.Model.wrap(net.float(), classes=tuple("abc")))
    )
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-5)
    assert np.abs(wanted.values).max() > 1e-3


# Files made for one case


def for_one_case() -> bytes:
    """A class token of a fixed batch of one is joined to the steps: the batch is written into the file."""
    nodes = [
        node("Concat", "token x", "t", axis=1),
        node("Tanh", "t", "u"),
        node("Conv", "u w", "v"),
        node("Flatten", "v", "y"),
    ]
    return file(nodes, (1, 2, 3), 17, token=normal(1, 1, 3), w=normal(2, 3, 1))


def test_a_file_for_one_case_is_run_case_by_case_and_says_so() -> None:
    model = ex.load_model(for_one_case())
    assert model.module is not None
    assert model.module.one_at_a_time
    assert any("exported for one case" in note for note in model.notes)
    data = ex.Dataset.from_sequences(normal(4, 2, 3))
    result = ex.explain(model, data, ex.Saliency(), target=1)
    np.testing.assert_allclose(result.output, model.predict(data.X)[:, 1], atol=1e-6)
    single = ex.explain(model, data, ex.Saliency(), target=1, rows=[2])
    np.testing.assert_allclose(result.values[2], single.values[0], atol=1e-6)
    assert np.abs(result.values).max() > 0.1


def test_who_looks_inside_is_asked_for_one_case_at_a_time() -> None:
    module = ex.load_model(for_one_case()).module
    x = torch.from_numpy(normal(3, 2, 3))
    handle = next(iter(module.children())).register_forward_hook(lambda *_: None)
    with pytest.raises(MemoryError, match="one case at a time"):
        module(x)
    assert module(x[:1]).shape == (1, 6)
    handle.remove()
    assert module(x).shape == (3, 6)
    with torch.device("cpu"):
        assert module(x).shape == (3, 6)
    with torch.overrides.BaseTorchFunctionMode(), pytest.raises(MemoryError):
        module(x)


def test_a_method_with_hooks_has_the_maps_of_the_right_case() -> None:
    """Portions are halved until there is one case in each."""
    net = network(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2), seed=4)
    model = ex.load_model(one_picture(net), classes=("a", "b"))
    assert model.module is not None
    assert model.module.one_at_a_time
    data = ex.Dataset.from_images(pictures(3))
    found = ex.explain(model, data, ex.GradCam(), target="b")
    wanted = ex.explain(ex.Model.wrap(net, classes=("a", "b")), data, ex.GradCam(), target="b")
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-6)
    assert wanted.values.max() > 1e-4


def one_picture(net: nn.Sequential) -> bytes:
    """The network with the batch of one in a shape that our reading of shapes cannot know for one."""
    held = {name.replace(".", "_"): value.numpy() for name, value in net.state_dict().items()}
    nodes = [
        *[node("Conv", "x 0_weight 0_bias", "a"), node("Relu", "a", "b"), node("Reshape", "b s", "c")],
        *[node("Concat", "c none", "d", axis=1), node("Gemm", "d 3_weight 3_bias", "y", transB=1)],
    ]
    return file(nodes, (1, 1, 8, 8), 17, s=np.array([1, 72]), none=np.zeros((1, 0), np.float32), **held)


# Exports


@SLOW
@pytest.mark.parametrize("default", [True, False], ids=["default", "legacy"])
def test_a_vision_transformer_has_its_gradients_by_both_exporters(default: bool) -> None:
    net = network(VisionTransformer(), seed=6).eval()
    content = export(net, (1, 8, 8), default=default)
    module = OnnxModule(read_graph(content))
    assert check_against_runtime(module, content) <= 1e-5
    ours, theirs = (torch.from_numpy(pictures(3)).requires_grad_() for _ in range(2))
    module(ours)[:, 0].sum().backward()
    net(theirs)[:, 0].sum().backward()
    assert theirs.grad is not None
    assert theirs.grad.abs().max() > 1e-3
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-5)
