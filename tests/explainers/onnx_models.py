"""Small torch models and their ONNX files, made by both of torch's exporters, and hostile files made by hand."""

from __future__ import annotations

import io
import warnings

import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from torch import Tensor, nn


class Residual(nn.Module):
    """Convolutions with batch norm, a residual sum, and every kind of pooling with padding or rounding up."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.widest = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.mean = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = x + torch.nn.functional.hardswish(self.second(x))
        both = torch.cat([self.widest(x), self.mean(x)], 1)
        return self.head(both.mean((2, 3))).softmax(-1)


class Sequence(nn.Module):
    """A bidirectional LSTM over time, then a GRU, then the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.lstm(x)[0])[0][:, -1])


class Encoder(nn.Module):
    """A transformer encoder layer over five moments, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1)).log_softmax(-1)


class Flattened(nn.Module):
    """Reshapes to a shape with the batch written into it when it is exported with a fixed batch."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return self.head(x.reshape(x.shape[0], 32).relu())


class Assorted(nn.Module):
    """Operators that the others leave out: resizing, padding, slicing, splitting, transposed convolution, clipping."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True))
        self.up = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)
        self.slope = nn.PReLU(2)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear") + nn.functional.interpolate(
            x, (8, 8)
        )
        left, right = nn.functional.pad(self.norms(x), (1, 2, 1, 1), mode="reflect").chunk(2, 1)
        x = torch.cat([left[:, :, ::2], right[:, :, 1::2]], 1)
        x = self.slope(self.up(x)).clamp(-0.5, 2.0) + torch.exp(
            -x[:, :2].square().sum((1, 2, 3), keepdim=True)
        )
        return nn.functional.elu(x).pow(2).flatten(1).amax(1, keepdim=True)


MODELS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (1, 9, 9)),
    "sequence": (Sequence, (6, 3)),
    "encoder": (Encoder, (5, 8)),
    "flattened": (Flattened, (1, 6, 6)),
    "assorted": (Assorted, (4, 4, 4)),
}


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2), nn.Sigmoid()
    )


def build(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A seeded model in evaluation mode (batch norm with statistics that are not 0 and 1) and its row shape."""
    torch.manual_seed(0)
    kind, shape = MODELS.get(name, (mlp, (6,)))
    model = kind().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]  # torch types it as optional
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model, shape


def export(model: nn.Module, shape: tuple[int, ...], *, default: bool, fixed_batch: bool = False) -> bytes:
    """The ONNX file, by torch's default exporter or the older one; the batch is open unless it is fixed to 1."""
    x = torch.randn(1 if fixed_batch else 3, *shape)
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        if default:
            dynamic = None if fixed_batch else ({0: torch.export.Dim("batch", min=1, max=64)},)
            program = torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=dynamic, verbose=False)
            program.save(target)
        else:
            axes = None if fixed_batch else {"x": {0: "batch"}, "y": {0: "batch"}}
            names = {"input_names": ["x"], "output_names": ["y"]}
            torch.onnx.export(model, (x,), target, dynamo=False, opset_version=17, dynamic_axes=axes, **names)
    return target.getvalue()


def file_of(
    *nodes: NodeProto,
    initializers: tuple[TensorProto, ...] = (),
    shape: tuple[int | str, ...] = ("batch", 4),
    output: int = TensorProto.FLOAT,
    opset: int = 17,
) -> bytes:
    """A file with the input x, float of this shape, and the output y with two axes."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", output, ("n", "m"))
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=initializers)
    imports = [
        helper.make_opsetid("", opset),
        helper.make_opsetid("ai.onnx.ml", 3),
        helper.make_opsetid("evil", 1),
    ]
    model: ModelProto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return bytes(model.SerializeToString())


def endless_loop() -> bytes:
    """A Loop without a trip count whose condition stays true."""
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    condition = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go_in", "go")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    states = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("s_in", "s")]
    steps = [helper.make_node("Identity", ["go_in"], ["go"]), helper.make_node("Identity", ["s_in"], ["s"])]
    body = helper.make_graph(steps, "body", [count, condition[0], states[0]], [condition[1], states[1]])
    return file_of(helper.make_node("Loop", ["", "true", "x"], ["y"], body=body), initializers=(true,))


def branch(hidden: TensorProto | None = None) -> bytes:
    """An If; the tensor, if given, hides in one of its branches."""
    value = hidden or helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    inner: GraphProto = helper.make_graph(
        [helper.make_node("Constant", [], ["v"], value=value)],
        "inner",
        [],
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, [1])],
    )
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["yes"], ["v"], then_branch=inner, else_branch=inner)
    return file_of(node, helper.make_node("Add", ["x", "v"], ["y"]), initializers=(yes,))


def external(name: str = "w") -> TensorProto:
    """A tensor that says its data is in /etc/hostname."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/hostname")
    return tensor
